package docs

import (
	"os/exec"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var (
	flagHelp  = regexp.MustCompile(`(?m)^  -([\w-]+)(?: [^\n]+)?\n    \t([^\n]+)$`)
	byDefault = regexp.MustCompile(` \(default "?([^")]+)"?\)$`)
)

// flagRows are the rows of the table of docs/operations.md that belong to --help.
func flagRows(help string) (rows []string) {
	for _, found := range flagHelp.FindAllStringSubmatch(help, -1) {
		name, meaning, value := found[1], found[2], ""
		if strings.HasPrefix(name, "zap-") || name == "kubeconfig" {
			continue
		}
		if number := byDefault.FindStringSubmatch(meaning); number != nil {
			meaning, value = strings.TrimSuffix(meaning, number[0]), "`"+number[1]+"`"
		}
		rows = append(rows, "| `--"+name+"` | "+value+" | "+strings.ReplaceAll(meaning, "|", "\\|")+" |")
	}
	return rows
}

var _ = Describe("docs/operations.md", func() {
	It("has the flags that --help prints", func(ctx SpecContext) {
		help, err := exec.CommandContext(ctx, binary, "--help").CombinedOutput()
		Expect(err).NotTo(HaveOccurred())
		_, table, _ := strings.Cut(pageOf("docs/operations.md").text, "<!-- flags: ")
		table, _, found := strings.Cut(table, "<!-- end of flags -->")
		Expect(found).To(BeTrue())
		var rows []string
		for line := range strings.SplitSeq(table, "\n") {
			if strings.HasPrefix(line, "| `--") {
				rows = append(rows, line)
			}
		}
		want := flagRows(string(help))
		Expect(len(want)).To(BeNumerically(">=", 14))
		Expect(strings.Join(rows, "\n")).To(Equal(strings.Join(want, "\n")))
	})
})
