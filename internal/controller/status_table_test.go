package controller

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// statusRow is one row of the table of docs/opencxcontact.md that says what status tells.
type statusRow struct{ ready, answer, next string }

// readStatusTable returns its rows by reason.
func readStatusTable(t *testing.T) map[string]statusRow {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "opencxcontact.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]statusRow{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) != 7 || !slices.Contains([]string{"True", "False", "Unknown"}, cells[1]) {
			continue
		}
		reason := strings.Trim(cells[2], "`")
		if _, twice := rows[reason]; twice {
			t.Errorf("docs/opencxcontact.md has two rows for %s", reason)
		}
		rows[reason] = statusRow{ready: cells[1], answer: cells[3], next: cells[5]}
	}
	return rows
}

// answersOf writes the status codes of meanings[i] as people do.
func answersOf(i int) string {
	m := meanings[i]
	switch {
	case m.from == m.to:
		return strconv.Itoa(m.from)
	case m.from%100 != 0 || m.to%100 != 99:
		var codes []string
		for code := m.from; code <= m.to; code++ {
			codes = append(codes, strconv.Itoa(code))
		}
		return strings.Join(codes, ", ")
	}
	var parts []string
	first, last := m.from/100, m.to/100
	if first == 0 { // no HTTP
		parts, first = append(parts, "none"), 1
	}
	hundreds := fmt.Sprintf("%dxx", first)
	if last > first {
		hundreds += fmt.Sprintf(" to %dxx", last)
	}
	for _, before := range meanings[:i] {
		if m.from <= before.from && before.to <= m.to {
			hundreds = "other " + hundreds
			break
		}
	}
	return strings.Join(append(parts, hundreds), ", ")
}

// spacing writes when the next attempts come, "" when they are not spaced.
func (b backoff) spacing() string {
	if b == (backoff{}) {
		return ""
	}
	return fmt.Sprintf("after %s, doubling to %s", inWords(b.first), inWords(b.limit))
}

func inWords(d time.Duration) string {
	for _, unit := range []struct {
		name   string
		length time.Duration
	}{{"h", time.Hour}, {"min", time.Minute}} {
		if d%unit.length == 0 {
			return fmt.Sprintf("%d %s", d/unit.length, unit.name)
		}
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

func TestTheTableOfContactsSaysWhatAnAnswerMeans(t *testing.T) {
	rows := readStatusTable(t)
	want := map[string]statusRow{}
	for i, m := range meanings {
		row, begun := want[m.reason]
		if begun && row.next != m.retry.spacing() {
			t.Fatalf("the rows of %s differ in more than their codes: a table by reason cannot tell them apart", m.reason)
		}
		row.ready = map[effect]string{accepted: "True", limited: "Unknown", soft: "False", hard: "False"}[m.effect]
		row.next = m.retry.spacing()
		if begun {
			row.answer += ", "
		}
		row.answer += answersOf(i)
		want[m.reason] = row
	}
	for reason, w := range want {
		got, found := rows[reason]
		if !found {
			t.Errorf("docs/opencxcontact.md has no row for %s", reason)
			continue
		}
		if got.ready != w.ready || got.answer != w.answer {
			t.Errorf("docs/opencxcontact.md says of %s: Ready %s for the answers %q; want %s for %q", reason, got.ready, got.answer, w.ready, w.answer)
		}
		if w.next == "" && strings.Contains(got.next, "doubling") || !strings.Contains(got.next, w.next) {
			t.Errorf("docs/opencxcontact.md says of %s that next %q; want %q in it", reason, got.next, w.next)
		}
	}
	for reason, row := range rows {
		if _, isAnswer := want[reason]; !isAnswer && (row.answer != "" || strings.Contains(row.next, "doubling")) {
			t.Errorf("docs/opencxcontact.md says that %s comes of an answer, which is in no row of meanings", reason)
		}
	}
}

func TestTheTableOfContactsHasEveryReason(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "api", "v1alpha1", "condition_types.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, declared := range file.Decls {
		constants, is := declared.(*ast.GenDecl)
		if !is || !strings.HasPrefix(constants.Doc.Text(), "Reasons of a contact's Ready condition") {
			continue
		}
		for _, spec := range constants.Specs {
			reason, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			reasons = append(reasons, reason)
		}
	}
	slices.Sort(reasons)
	if got := slices.Sorted(maps.Keys(readStatusTable(t))); !slices.Equal(got, reasons) {
		t.Errorf("docs/opencxcontact.md has rows for %v, want %v", got, reasons)
	}
}
