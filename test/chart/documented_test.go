//go:build platforms

package chart

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// value is one that values.yaml documents.
type value struct{ name, preset, meaning string }

// documented reads the values of a values.yaml, each with the comment above it. What has
// no comment is a group, whose members have one.
func documented(text string) []value {
	GinkgoHelper()
	var values []value
	var comment, groups []string
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		key, preset, isKey := strings.Cut(trimmed, ": ")
		if !isKey {
			key, isKey = strings.CutSuffix(trimmed, ":")
		}
		level := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		switch {
		case strings.HasPrefix(trimmed, "# "):
			comment = append(comment, strings.TrimPrefix(trimmed, "# "))
			continue
		case !isKey || strings.HasPrefix(trimmed, "-") || level > len(groups):
			// An empty line, or a part of a value that is documented as a whole.
		case comment == nil:
			Expect(preset).To(BeEmpty(), "values.yaml does not document "+key)
			groups = append(groups[:level], key)
		default:
			groups = groups[:level]
			values = append(values, value{strings.Join(append(groups, key), "."), preset, strings.Join(comment, " ")})
		}
		comment = nil
	}
	return values
}

func tableOf(values []value) string {
	table := "| value | default | meaning |\n|---|---|---|\n"
	for _, v := range values {
		preset := "`" + v.preset + "`"
		if v.preset == "" {
			preset = "see values.yaml"
		}
		table += fmt.Sprintf("| `%s` | %s | %s |\n", v.name, preset, v.meaning)
	}
	return table
}
