package operatortest

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAPageKnowsWhatWasNotRun(t *testing.T) {
	root := t.TempDir()
	text := "# Page\n\n<!-- run by: ./test/x -->\n```sh\nkubectl create \\\n  one\nkubectl get two\n```\n\n" +
		"<!-- run by: ./test/other -->\n```sh\nkubectl get three\n```\n\n<!-- run by: ./test/x -->\n```sh\nkubectl get four\n```\n"
	if err := os.WriteFile(filepath.Join(root, "page.md"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPage(root, "page.md", "./test/x")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"kubectl create \\\n  one", "kubectl get two", "kubectl get four"}; !slices.Equal(p.Unrun(), want) {
		t.Errorf("it marks %q, want %q", p.Unrun(), want)
	}
	if err := p.Take("kubectl get five"); err == nil {
		t.Error("it has a command that does not stand in it")
	}
	for _, commands := range []string{"kubectl create \\\n  one\nkubectl get two", "kubectl get three"} {
		if err := p.Take(commands); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"kubectl get four"}; !slices.Equal(p.Unrun(), want) {
		t.Errorf("it says that %q were not run, want %q", p.Unrun(), want)
	}
	if _, err := ReadPage(root, "page.md", "./test/none"); err == nil {
		t.Error("a page without commands of the suite is read")
	}
}
