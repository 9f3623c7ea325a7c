package main

import (
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestAVersionThatIsNotStampedIsWhatGoKnows(t *testing.T) {
	for known, want := range map[string]string{"v0.1.0": "v0.1.0", "v0.0.0-20261124170000-0294df0abcde+dirty": "v0.0.0-20261124170000-0294df0abcde+dirty", "(devel)": "dev", "": "dev"} {
		if got := versionOf(&debug.BuildInfo{Main: debug.Module{Version: known}}); got != want {
			t.Errorf("versionOf(%q) = %q, want %q", known, got, want)
		}
	}
	if got := versionOf(nil); got != "dev" {
		t.Errorf("versionOf(nil) = %q, want dev", got)
	}
}

func TestVersionPrintsTheVersion(t *testing.T) {
	_, printed, _ := parse("--version")
	if printed != "opencx-operator "+version+"\n" {
		t.Errorf("--version prints %q", printed)
	}
}

// Makefile and Dockerfile stamp the version by the name of a variable, which the linker
// does not check.
func TestAVersionCanBeStamped(t *testing.T) {
	for _, file := range []string{"Makefile", "Dockerfile"} {
		if !strings.Contains(read(t, file), "-X main.version=") {
			t.Errorf("%s does not stamp main.version", file)
		}
	}
	binary := filepath.Join(t.TempDir(), "manager")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version=v9.8.7", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	output, err := exec.CommandContext(t.Context(), binary, "--version").CombinedOutput()
	if string(output) != "opencx-operator v9.8.7\n" || err != nil {
		t.Errorf("--version prints %q, error = %v", output, err)
	}
}
