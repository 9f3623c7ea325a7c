package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// page is a page of the documentation.
type page struct {
	path   string // from the root of the repository
	text   string
	blocks []block
}

// block is what stands between two fences of a page.
type block struct {
	page, language, text string
	line                 int
	// mark and about are of an HTML comment on the line above: <!-- mark: about -->
	mark, about string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// The marks of blocks of commands. Those without one, and the last two, are run here.
const (
	runBy      = "run by"     // the package of tests that runs these very lines
	notRun     = "not run"    // why not
	background = "background" // ends when the page does
	fails      = "fails"      // what is printed
)

var (
	pages  []*page
	fence  = regexp.MustCompile("^ *```([a-z]*)$")
	remark = regexp.MustCompile(`^ *<!-- ([a-z ]+): (.+) -->$`)
)

// readPages reads all pages.
func readPages() error {
	for _, pattern := range []string{"*.md", "docs/*.md", "charts/*/*.md", "config/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			path, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			p := &page{path: filepath.ToSlash(path), text: string(text)}
			p.blocks = blocksOf(p)
			pages = append(pages, p)
		}
	}
	return nil
}

func blocksOf(p *page) (blocks []block) {
	var open *block
	before := ""
	for number, line := range strings.Split(p.text, "\n") {
		found := fence.FindStringSubmatch(line)
		switch {
		case open == nil && found != nil:
			open = &block{page: p.path, language: found[1], line: number + 1}
			if mark := remark.FindStringSubmatch(before); mark != nil {
				open.mark, open.about = mark[1], mark[2]
			}
		case open != nil && found != nil:
			blocks, open = append(blocks, *open), nil
		case open != nil:
			open.text += line + "\n"
		}
		before = line
	}
	return blocks
}

// commandsOf are the blocks of commands of a page that are run here.
func commandsOf(path string) (commands []block) {
	for _, p := range pages {
		for _, b := range p.blocks {
			if p.path == path && b.language == "sh" && b.mark != runBy && b.mark != notRun {
				commands = append(commands, b)
			}
		}
	}
	return commands
}

// prose is a page without its fenced blocks and comments.
func (p *page) prose() string {
	var kept []string
	fenced := false
	for line := range strings.SplitSeq(p.text, "\n") {
		switch {
		case fence.MatchString(line):
			fenced = !fenced
		case !fenced && !strings.HasPrefix(strings.TrimSpace(line), "<!--"):
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

var (
	headingLine = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noAnchor    = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	linkText    = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
)

// anchors are those that a page's headings get, as GitHub makes them.
func (p *page) anchors() map[string]bool {
	anchors := map[string]bool{"": true}
	for _, heading := range headingLine.FindAllStringSubmatch(p.prose(), -1) {
		text := linkText.ReplaceAllString(heading[1], "$1")
		anchor := strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(text), ""), " ", "-")
		for n, free := 1, anchor; ; n++ {
			if !anchors[free] {
				anchors[free] = true
				break
			}
			free = fmt.Sprintf("%s-%d", anchor, n)
		}
	}
	return anchors
}
