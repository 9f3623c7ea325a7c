// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var updateTable = flag.Bool("update", false, "write the table of pacing policies into docs/rate-limits.md")

const tableFile, tableStart, tableEnd = "../../docs/rate-limits.md", "<!-- pacing: by TestPacingTable -update -->\n", "<!-- end of pacing -->\n"

// pacingResult is what some runs of a cell have shown.
type pacingResult struct {
	runs    int
	waits   []time.Duration // of the edits of all runs, ascending
	beyond  []float64       // of each run, ascending
	missed  []uint64        // seeds of the runs in which edits waited for too long
	refused []uint64        // and of those in which OpenCX refused a request
}

// simulatePacing runs a cell with the seeds from 0. Edits have waited for too long
// when not 95 % had their slot within a second, and all within five.
func simulatePacing(cell pacingCell, newPolicy func(*pacingRun) policy, runs int) pacingResult {
	result := pacingResult{runs: runs}
	for seed := range uint64(runs) {
		run := newPacingRun(cell, newPolicy, seed).run()
		slices.Sort(run.waits)
		if quantile(run.waits, 0.95) > time.Second || quantile(run.waits, 1) > 5*time.Second {
			result.missed = append(result.missed, seed)
		}
		if run.refused() > 0 {
			result.refused = append(result.refused, seed)
		}
		result.waits = append(result.waits, run.waits...)
		result.beyond = append(result.beyond, run.beyond())
	}
	slices.Sort(result.waits)
	slices.Sort(result.beyond)
	return result
}

// quantile is the value that such a share of the ascending values do not exceed.
func quantile[T any](values []T, share float64) (value T) {
	if len(values) == 0 {
		return value
	}
	return values[min(len(values)-1, int(share*float64(len(values))))]
}

func (r pacingResult) String() string {
	wait := func(share float64) string {
		return strings.TrimSuffix(fmt.Sprintf("%.1f", quantile(r.waits, share).Seconds()), ".0")
	}
	beyond := strings.Replace(fmt.Sprintf("%+.2f", quantile(r.beyond, 0.5)), "-0.00", "+0.00", 1)
	return fmt.Sprintf("%s / %s / %s s, %s", wait(0.5), wait(0.95), wait(1), beyond)
}

func TestEditsFindASlotBesideABacklog(t *testing.T) {
	for _, test := range []struct {
		cell   pacingCell
		runs   int
		beyond float64
	}{
		{pacingCell{10, 300, false, "empty"}, 1000, 0.2},
		{pacingCell{10, 300, true, "empty"}, 1000, 0.2},
		{pacingCell{10, 150, false, "empty"}, 300, 0.2},
		{pacingCell{10, 300, false, "even"}, 300, 0.2},
		{pacingCell{5, 300, false, "empty"}, 300, 0.2},
		{pacingCell{10, 1000, false, "empty"}, 300, 0.5},
		{pacingCell{10, 1000, true, "empty"}, 300, 0.5},
	} {
		t.Run(test.cell.String(), func(t *testing.T) {
			runs := test.runs
			result := simulatePacing(test.cell, pacingPolicies[0].make, runs)
			t.Logf("%d runs, %d in which edits waited for too long: %v", runs, len(result.missed), result)
			if len(result.missed) > (runs+99)/100 {
				t.Errorf("in %d of %d runs edits waited for too long, in those with the seeds %v", len(result.missed), runs, result.missed)
			}
			if longest := quantile(result.beyond, 1); longest > test.beyond {
				t.Errorf("a drain took %.2f windows longer than (backlog + edits) / limit, want no more than %.2f", longest, test.beyond)
			}
			if len(result.refused) > 0 {
				t.Errorf("OpenCX refused requests in the runs with the seeds %v", result.refused)
			}
		})
	}
}

func TestABatchOf80GoesAtOnce(t *testing.T) {
	run := newPacingRun(pacingCell{0, 80, false, "empty"}, pacingPolicies[0].make, 0).run()
	if took := run.lastAnswer.Sub(run.start); took > 300*time.Millisecond {
		t.Errorf("it took %s, want no longer than an answer takes", took)
	}
}

// Whatever the policy and the situation, the limit holds. With -v the test prints a
// larger table than the docs have.
func TestPacingKeepsTheLimitEverywhere(t *testing.T) {
	for _, cell := range everyCell() {
		for _, p := range pacingPolicies {
			result := simulatePacing(cell, p.make, 5)
			t.Logf("%s; %s: %s", cell, p.name, result)
			if len(result.refused) > 0 {
				t.Errorf("%s; %s: OpenCX refused requests in the runs with the seeds %v", cell, p.name, result.refused)
			}
		}
	}
}

func TestPacingDelaysNobodyForLongAnywhere(t *testing.T) {
	for _, cell := range everyCell() {
		result := simulatePacing(cell, pacingPolicies[0].make, 20)
		// A twentieth more, a fifth of a window, and the burst that found no room.
		allowed := 0.2 + float64(cell.backlog+5*cell.edits)/2000
		if cell.window == "most" {
			allowed++
		}
		if longest := quantile(result.beyond, 1); longest > allowed {
			t.Errorf("%s: a drain took %.2f windows longer than (backlog + edits) / limit, want no more than %.2f", cell, longest, allowed)
		}
		if longest := quantile(result.waits, 1); longest > pacingLimit.Window {
			t.Errorf("%s: an edit waited for %s", cell, longest)
		}
	}
}

func everyCell() (cells []pacingCell) {
	for _, edits := range []int{5, 10, 20, 30} {
		for _, backlog := range []int{50, 150, 300, 1000} {
			for _, window := range []string{"empty", "even", "lump", "most"} {
				cells = append(cells, pacingCell{edits, backlog, false, window}, pacingCell{edits, backlog, true, window})
			}
		}
	}
	return cells
}

// pacingTable is how the policies do in the situations that tell them apart.
func pacingTable() string {
	cells := []pacingCell{
		{10, 300, false, "empty"}, {10, 300, true, "empty"}, {10, 300, false, "even"},
		{20, 300, false, "empty"}, {30, 300, false, "empty"}, {10, 1000, false, "empty"},
	}
	var table strings.Builder
	table.WriteString("| policy |")
	for _, cell := range cells {
		fmt.Fprintf(&table, " %s |", cell)
	}
	table.WriteString(" 80 and no edits take |\n|---|" + strings.Repeat("---|", len(cells)+1) + "\n")
	for _, p := range pacingPolicies {
		fmt.Fprintf(&table, "| %s |", p.name)
		for _, cell := range cells {
			fmt.Fprintf(&table, " %s |", simulatePacing(cell, p.make, 120_000/cell.backlog))
		}
		batch := newPacingRun(pacingCell{0, 80, false, "empty"}, p.make, 0).run()
		fmt.Fprintf(&table, " %.1f s |\n", batch.lastAnswer.Sub(batch.start).Seconds())
	}
	return table.String()
}

func TestPacingTable(t *testing.T) {
	page, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, started := bytes.Cut(page, []byte(tableStart))
	old, after, ended := bytes.Cut(rest, []byte(tableEnd))
	if !started || !ended {
		t.Fatalf("%s has no place for the table between %q and %q", tableFile, tableStart, tableEnd)
	}
	table := pacingTable()
	if string(old) == table {
		return
	}
	if !*updateTable {
		t.Fatalf("%s shows other figures; go test ./internal/budget -run TestPacingTable -update writes these:\n%s", tableFile, table)
	}
	if err := os.WriteFile(tableFile, slices.Concat(before, []byte(tableStart+table+tableEnd), after), 0o644); err != nil {
		t.Fatal(err)
	}
}
