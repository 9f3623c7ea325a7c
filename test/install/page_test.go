//go:build platforms

package install

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// page has the commands of docs/install.md by the heading that they stand under, and
// notes which ones were run.
type page struct {
	commands map[string][]string
	unrun    []string
}

func readPage() *page {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "install.md"))
	Expect(err).NotTo(HaveOccurred())
	p := &page{commands: map[string][]string{}}
	heading := ""
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			heading = strings.TrimSpace(title)
		}
		if line == "<!-- run by: ./test/install -->" {
			Expect(lines[i+1]).To(Equal("```sh"))
			end := slices.Index(lines[i+2:], "```")
			commands := strings.Join(lines[i+2:][:end], "\n")
			p.commands[heading] = append(p.commands[heading], commands)
			p.unrun = append(p.unrun, commands)
		}
	}
	return p
}

// block returns the commands that stand under a heading, the first or a later block, of
// which each must be asked for once at least.
func (p *page) block(heading string, i int) string {
	GinkgoHelper()
	Expect(len(p.commands[heading])).To(BeNumerically(">", i), "docs/install.md has no such commands under "+heading)
	commands := p.commands[heading][i]
	p.unrun = slices.DeleteFunc(p.unrun, func(one string) bool { return one == commands })
	return commands
}
