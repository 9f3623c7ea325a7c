package docs

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// generated is made from the texts of the types, which say what pages say, too.
const generated = "docs/api-reference.md"

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	sentence = regexp.MustCompile(`[.:;!?|]+(?:\s|$)|\n\s*\n|\n\s*[-*] |\n\|`)
	// flagTable is the table that another test compares with --help.
	flagTable = regexp.MustCompile(`(?s)<!-- flags: .*<!-- end of flags -->`)
	word      = regexp.MustCompile(`[\p{L}\p{N}]+`)
)

var _ = Describe("The pages", func() {
	It("say of every block of commands who runs it", func() {
		commands := 0
		for _, p := range pages {
			for _, b := range p.blocks {
				Expect(b.language).NotTo(BeElementOf("bash", "shell", "console"), "%s: commands stand in a block of sh", b)
				if b.language != "sh" {
					continue
				}
				commands++
				Expect(b.mark).To(BeElementOf("", runBy, notRun, background, fails), b.String())
				if b.mark == notRun {
					Expect(len(strings.Fields(b.about))).To(BeNumerically(">=", 4), "%s: why is it not run?", b)
				}
			}
		}
		Expect(commands).To(BeNumerically(">=", 30))
	})

	It("name packages of tests that are there and read the page", func() {
		for _, p := range pages {
			for _, b := range p.blocks {
				if b.mark != runBy {
					continue
				}
				Expect(b.about).To(HavePrefix("./test/"), b.String())
				files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(b.about), "*_test.go"))
				Expect(err).NotTo(HaveOccurred())
				sources := ""
				for _, file := range files {
					text, err := os.ReadFile(file)
					Expect(err).NotTo(HaveOccurred())
					sources += string(text)
				}
				Expect(sources).To(ContainSubstring(path.Base(p.path)), "%s: no test of %s names the page", b, b.about)
			}
		}
	})

	It("have commands that are run here only where there is a world for them", func() {
		for _, p := range pages {
			if len(commandsOf(p.path)) > 0 {
				Expect(run).To(HaveKey(p.path), "mark its commands, or describe where they are run")
			}
		}
	})

	It("link to what is there", func() {
		anchors := map[string]map[string]bool{}
		for _, p := range pages {
			anchors[p.path] = p.anchors()
		}
		links := 0
		for _, p := range pages {
			for _, found := range link.FindAllStringSubmatch(p.prose(), -1) {
				if strings.Contains(found[1], "://") || strings.HasPrefix(found[1], "mailto:") {
					continue
				}
				links++
				file, anchor, _ := strings.Cut(found[1], "#")
				target := p.path
				if file != "" {
					target = path.Join(path.Dir(p.path), file)
				}
				Expect(filepath.Join(root, filepath.FromSlash(target))).To(BeAnExistingFile(), "%s links to %s", p.path, found[1])
				if anchor != "" {
					Expect(anchors[target]).To(HaveKey(anchor), "%s links to %s", p.path, found[1])
				}
			}
		}
		Expect(links).To(BeNumerically(">=", 60))
	})

	It("do not say what another one says", func() {
		said := map[string]string{}
		for _, p := range pages {
			if p.path == generated {
				continue
			}
			own := page{path: p.path, text: flagTable.ReplaceAllString(p.text, "")} // which is what --help says
			for _, text := range sentence.Split(linkText.ReplaceAllString(own.prose(), "$1"), -1) {
				words := word.FindAllString(strings.ToLower(text), -1)
				if len(words) < 10 {
					continue
				}
				key := strings.Join(words, " ")
				Expect(said[key]).To(BeElementOf("", p.path), "%s repeats %q", p.path, key)
				said[key] = p.path
			}
		}
		Expect(len(said)).To(BeNumerically(">=", 300))
	})

	It("are each listed once in docs/README.md", func() {
		index, err := os.ReadFile(filepath.Join(root, "docs", "README.md"))
		Expect(err).NotTo(HaveOccurred())
		for _, p := range pages {
			name := strings.TrimPrefix(p.path, "docs/")
			if name != p.path && name != "README.md" {
				Expect(strings.Count(string(index), "("+name+")")).To(Equal(1), name)
			}
		}
	})
})
