package operatortest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Page is a page of the documentation of which a suite runs commands, as its reader does.
type Page struct {
	Text string

	root string
	// unrun are the commands that the page says the suite runs, and nobody has run yet.
	unrun []string
}

// ReadPage reads a page, whose path is from root, the folder of the project. Blocks of
// commands below a comment <!-- run by: suite --> are to be run.
func ReadPage(root, path, suite string) (*Page, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(path)))
	if err != nil {
		return nil, err
	}
	p := &Page{Text: string(text), root: root}
	for _, rest := range strings.Split(p.Text, "\n<!-- run by: "+suite+" -->\n```sh\n")[1:] {
		block, _, ended := strings.Cut(rest, "\n```\n")
		if !ended {
			return nil, fmt.Errorf("%s: a block of %s has no end", path, suite)
		}
		p.unrun = append(p.unrun, commandsIn(block)...)
	}
	if len(p.unrun) == 0 {
		return nil, fmt.Errorf("%s has no commands that %s runs", path, suite)
	}
	return p, nil
}

// commandsIn are the commands of a text: a backslash at the end of a line goes on with
// the next.
func commandsIn(text string) []string {
	const goesOn = " \\\n"
	commands := strings.Split(strings.ReplaceAll(text, goesOn, "\x00"), "\n")
	for i := range commands {
		commands[i] = strings.ReplaceAll(commands[i], "\x00", goesOn)
	}
	return commands
}

// Take notes that commands are run, which is an error unless they stand in the page.
func (p *Page) Take(commands string) error {
	if !strings.Contains(p.Text, "\n"+commands+"\n") {
		return fmt.Errorf("the page does not have %q", commands)
	}
	taken := commandsIn(commands)
	p.unrun = slices.DeleteFunc(p.unrun, func(command string) bool { return slices.Contains(taken, command) })
	return nil
}

// Run runs commands that stand in the page, as an administrator, in the project's folder.
func (p *Page) Run(ctx context.Context, c *ControlPlane, commands string) (output string, err error) {
	if err := p.Take(commands); err != nil {
		return "", err
	}
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	shell.Dir = p.root
	shell.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig,
		"PATH="+filepath.Dir(c.KubectlPath)+string(os.PathListSeparator)+os.Getenv("PATH"))
	printed, err := shell.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("running %s: %w\n%s", commands, err, printed)
	}
	return string(printed), err
}

// Unrun are the commands that the page says the suite runs, and that it has not run.
func (p *Page) Unrun() []string { return p.unrun }
