package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// value is one measured value, and what it should be.
type value struct {
	Name string  `json:"name"`
	Got  float64 `json:"got"`
	Unit string  `json:"unit"`
	// AtMost or AtLeast is the goal; neither for what is told beside.
	AtMost  *float64 `json:"atMost,omitempty"`
	AtLeast *float64 `json:"atLeast,omitempty"`
}

func (v value) met() bool {
	return (v.AtMost == nil || v.Got <= *v.AtMost) && (v.AtLeast == nil || v.Got >= *v.AtLeast)
}

func (v value) goal() string {
	switch {
	case v.AtMost != nil && *v.AtMost == 0:
		return "0"
	case v.AtMost != nil && v.AtLeast != nil:
		return show(*v.AtMost, v.Unit)
	case v.AtMost != nil:
		return "≤ " + show(*v.AtMost, v.Unit)
	case v.AtLeast != nil:
		return "≥ " + show(*v.AtLeast, v.Unit)
	}
	return ""
}

func show(n float64, unit string) string {
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", n), "0"), ".") + " " + unit)
}

// result is what one case came to.
type result struct {
	Case   string  `json:"case"`
	Values []value `json:"values"`
}

func (r *result) told(name string, got float64, unit string) {
	r.Values = append(r.Values, value{Name: name, Got: got, Unit: unit})
}

func (r *result) atMost(name string, got, goal float64, unit string) {
	r.Values = append(r.Values, value{Name: name, Got: got, Unit: unit, AtMost: &goal})
}

func (r *result) atLeast(name string, got, goal float64, unit string) {
	r.Values = append(r.Values, value{Name: name, Got: got, Unit: unit, AtLeast: &goal})
}

func (r *result) exactly(name string, got, goal float64) {
	r.Values = append(r.Values, value{Name: name, Got: got, AtMost: &goal, AtLeast: &goal})
}

// printTable writes results as one Markdown table, and says whether all goals
// were met.
func printTable(out io.Writer, results []result) (met bool) {
	_, _ = fmt.Fprintln(out, "| case | measured | value | goal | met |\n|---|---|---:|---:|---|")
	met = true
	for _, r := range results {
		name := r.Case
		for _, v := range r.Values {
			verdict := "yes"
			switch {
			case v.goal() == "":
				verdict = ""
			case !v.met():
				verdict, met = "**no**", false
			}
			_, _ = fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", name, v.Name, show(v.Got, v.Unit), v.goal(), verdict)
			name = ""
		}
	}
	return met
}

// save writes results as JSON and in the format of Go benchmarks, which
// benchstat reads, to name.json and name.txt.
func save(folder, name string, results []result) error {
	data, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, name+".json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	var text strings.Builder
	for _, r := range results {
		_, _ = fmt.Fprintf(&text, "Benchmark%s 1", identifier(r.Case))
		for _, v := range r.Values {
			unit := identifier(v.Name)
			if v.Unit != "" {
				unit += "-" + strings.ReplaceAll(v.Unit, " ", "-")
			}
			_, _ = fmt.Fprintf(&text, "\t%g %s", v.Got, unit)
		}
		_, _ = fmt.Fprintln(&text)
	}
	return os.WriteFile(filepath.Join(folder, name+".txt"), []byte(text.String()), 0o644)
}

// identifier makes words one CamelCase word.
func identifier(words string) string {
	var text strings.Builder
	for _, word := range strings.FieldsFunc(words, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		_, _ = text.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return text.String()
}
