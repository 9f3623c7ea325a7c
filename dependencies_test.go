package main

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryDirectDependencyIsListedAndNothingElse(t *testing.T) {
	var required, listed, imported []string
	direct := regexp.MustCompile(`^(?:require )?\s*([A-Za-z0-9./_-]+\.[A-Za-z0-9./_-]+) v\S+$`) // with no comment behind
	for line := range strings.Lines(read(t, "go.mod")) {
		if found := direct.FindStringSubmatch(strings.TrimRight(line, "\n")); found != nil {
			required = append(required, found[1])
		}
	}
	row := regexp.MustCompile("^\\| `([^`]+)` \\| (yes|no) \\| [^|]+ \\| [^|]+ \\|$")
	for line := range strings.Lines(read(t, "docs/dependencies.md")) {
		if found := row.FindStringSubmatch(strings.TrimRight(line, "\n")); found != nil {
			listed = append(listed, found[1])
			if found[2] == "yes" {
				imported = append(imported, found[1])
			}
		}
	}
	slices.Sort(required)
	if !slices.Equal(listed, required) || len(required) == 0 {
		t.Errorf("docs/dependencies.md lists %q, go.mod requires %q", listed, required)
	}
	packages, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{join .Imports "\n"}}`, ".", "./api/...", "./internal/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	used := slices.DeleteFunc(required, func(module string) bool {
		return !slices.ContainsFunc(strings.Fields(string(packages)), func(name string) bool { return name == module || strings.HasPrefix(name, module+"/") })
	})
	if !slices.Equal(imported, used) {
		t.Errorf("docs/dependencies.md says that %q are imported, and it is %q", imported, used)
	}
}

func TestTheImageIsBuiltWithOneThatIsPinned(t *testing.T) {
	from := regexp.MustCompile(`(?m)^FROM .*$`).FindAllString(read(t, "Dockerfile"), -1)
	pinned := regexp.MustCompile(`^FROM --platform=\$BUILDPLATFORM golang:1\.[0-9]+\.[0-9]+@sha256:[0-9a-f]{64} AS build$`)
	if len(from) != 2 || !pinned.MatchString(from[0]) || from[1] != "FROM scratch" {
		t.Errorf("Dockerfile builds from %q: run make update-base-image", from)
	}
}
