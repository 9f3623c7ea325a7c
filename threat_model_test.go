package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Whoever reads the page runs the tests that it names.
func TestTheThreatModelNamesTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| [^-\n].*\\| `(\\.[\\w/]*)` `([^`]+)` \\|$").FindAllStringSubmatch(string(page), -1)
	lines := strings.Count(string(page), "\n| ") - strings.Count(string(page), "\n| attack |")
	if len(rows) == 0 || len(rows) != lines {
		t.Fatalf("%d of %d rows name a test as `./package` `name`", len(rows), lines)
	}
	for _, row := range rows {
		tests, name := "", row[2]
		files, _ := filepath.Glob(filepath.Join(row[1], "*_test.go")) // the pattern is fine
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests += string(text)
		}
		if !strings.Contains(tests, "func "+name+"(") && !strings.Contains(tests, `"`+name+`"`) {
			t.Errorf("there is no test %q in %s", name, row[1])
		}
	}
}
