package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// workflow has what is looked at.
type workflow struct {
	Permissions map[string]string `json:"permissions"`
	Concurrency any               `json:"concurrency"`
	Jobs        map[string]struct {
		Permissions map[string]string `json:"permissions"`
		Timeout     int               `json:"timeout-minutes"`
		Uses        string            `json:"uses"`
		Steps       []struct {
			Name string         `json:"name"`
			Uses string         `json:"uses"`
			Run  string         `json:"run"`
			With map[string]any `json:"with"`
		} `json:"steps"`
	} `json:"jobs"`
}

// workflows returns those of .github, and their text.
func workflows(t *testing.T) (parsed map[string]workflow, texts map[string]string) {
	t.Helper()
	files, err := filepath.Glob(".github/workflows/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	parsed, texts = map[string]workflow{}, map[string]string{}
	for _, file := range files {
		var w workflow
		if err := yaml.Unmarshal([]byte(read(t, file)), &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		parsed[file], texts[file] = w, read(t, file)
	}
	return parsed, texts
}

// Whoever can move a tag of an action can otherwise run what they like with our rights.
func TestEveryActionIsPinnedByItsCommit(t *testing.T) {
	_, texts := workflows(t)
	uses, pinned := regexp.MustCompile(`(?m)\buses:(.*)$`), regexp.MustCompile(`^ (?:\./\S+|[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$`)
	found, commits := 0, map[string]string{}
	for file, text := range texts {
		for _, use := range uses.FindAllStringSubmatch(text, -1) {
			found++
			if !pinned.MatchString(use[1]) {
				t.Errorf("%s uses%s: name the 40 digits of a commit, with # and its version behind", file, use[1])
			}
			action, commit, _ := strings.Cut(use[1], "@")
			if other, seen := commits[action]; seen && other != commit {
				t.Errorf("%s uses%s, and elsewhere %s", file, use[1], other)
			}
			commits[action] = commit
		}
	}
	if found == 0 {
		t.Error("no workflow uses an action")
	}
}

func TestWorkflowsHaveNoMoreRightsThanTheyNeed(t *testing.T) {
	parsed, texts := workflows(t)
	for file, w := range parsed {
		if w.Permissions == nil || len(w.Permissions) != 0 || w.Concurrency == nil {
			t.Errorf("%s lacks permissions: {} or concurrency", file)
		}
		if strings.Contains(texts[file], "pull_request_target") {
			t.Errorf("%s runs code of strangers with our secrets", file)
		}
		for name, job := range w.Jobs {
			if len(job.Permissions) == 0 || (job.Timeout == 0) != (job.Uses != "") {
				t.Errorf("%s: job %s lacks permissions or timeout-minutes", file, name)
			}
			for _, step := range job.Steps {
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != false {
					t.Errorf("%s: job %s leaves a token in the checkout", file, name)
				}
				if strings.Contains(step.Run, "${{") {
					t.Errorf("%s: job %s puts an expression into a script, where it is code: use env", file, name)
				}
			}
		}
	}
}

func TestAReleaseWithoutSettingsSaysWhichAreMissing(t *testing.T) {
	parsed, _ := workflows(t)
	script := parsed[".github/workflows/release.yml"].Jobs["settings"].Steps[0].Run
	for _, test := range []struct {
		settings []string
		want     string
	}{
		{nil, "IMAGE_REPOSITORY: Set the repository variable"},
		{[]string{"IMAGE_REPOSITORY=registry.example.com/opencx-operator", "CHART_REPOSITORY="}, "CHART_REPOSITORY: Set the repository variable"},
		{[]string{"IMAGE_REPOSITORY=registry.example.com/opencx-operator", "CHART_REPOSITORY=registry.example.com/charts"}, ""},
	} {
		command := exec.CommandContext(t.Context(), "bash", "-eo", "pipefail", "-c", script)
		command.Env = append([]string{"PATH=" + os.Getenv("PATH")}, test.settings...)
		output, err := command.CombinedOutput()
		if (err == nil) != (test.want == "") || !strings.Contains(string(output), test.want) || strings.Count(string(output), "\n") > 1 {
			t.Errorf("with %v it prints %q, error = %v, want %q", test.settings, output, err, test.want)
		}
	}
}

// What is not listed there gets old.
func TestDependabotKnowsAllThatHasDependencies(t *testing.T) {
	var config struct {
		Updates []struct {
			Ecosystem   string   `json:"package-ecosystem"`
			Directory   string   `json:"directory"`
			Directories []string `json:"directories"`
		} `json:"updates"`
	}
	if err := yaml.Unmarshal([]byte(read(t, ".github/dependabot.yml")), &config); err != nil {
		t.Fatal(err)
	}
	listed := map[string][]string{}
	for _, update := range config.Updates {
		listed[update.Ecosystem] = append(listed[update.Ecosystem], append(update.Directories, update.Directory)...)
	}
	files, err := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for file := range strings.FieldsSeq(string(files)) {
		ecosystem, folder := map[string]string{"go.mod": "gomod", "Dockerfile": "docker"}[filepath.Base(file)], filepath.Dir("/"+file)
		if strings.HasPrefix(file, ".github/workflows/") {
			ecosystem, folder = "github-actions", "/"
		}
		if ecosystem == "" {
			continue
		}
		found[ecosystem]++
		if !slices.ContainsFunc(listed[ecosystem], func(pattern string) bool { matches, _ := filepath.Match(pattern, folder); return matches }) {
			t.Errorf(".github/dependabot.yml lists %v of %s, and not %s", listed[ecosystem], ecosystem, folder)
		}
	}
	if len(found) != 3 || len(listed) != 3 {
		t.Errorf("found %v, listed %v", found, listed)
	}
}
