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
	var comment []string
	group := ""
	for line := range strings.SplitSeq(text, "\n") {
		key, preset, isKey := strings.Cut(strings.TrimSpace(line), ":")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "# "):
			comment = append(comment, strings.TrimPrefix(strings.TrimSpace(line), "# "))
			continue
		case line == "":
			comment = nil
			continue
		case !isKey || strings.HasPrefix(strings.TrimSpace(line), "-"):
		case indent == 0 && comment == nil:
			Expect(preset).To(BeEmpty(), "values.yaml does not document "+key)
			group = key + "."
		case indent == 0:
			group = ""
			values = append(values, value{key, strings.TrimSpace(preset), strings.Join(comment, " ")})
		case group != "":
			Expect(comment).NotTo(BeEmpty(), "values.yaml does not document "+group+key)
			values = append(values, value{group + key, strings.TrimSpace(preset), strings.Join(comment, " ")})
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
