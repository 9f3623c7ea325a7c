// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"fmt"
	"testing"
	"time"
)

// What a contact of a long drain is told of its turn is right within a tenth.
func TestExpectedTimes(t *testing.T) {
	for _, namespaces := range []int{1, 5} {
		for _, apart := range []time.Duration{0, time.Second / 15} {
			for _, edits := range []int{0, 10} {
				for _, full := range []bool{false, true} {
					t.Run(fmt.Sprintf("1000 of %d namespaces, %s apart, %d edits in a window, which is full %t", namespaces, apart, edits, full), func(t *testing.T) {
						t.Parallel()
						inWorld(t, perMinute, 1, func(w *world) { w.expects(namespaces, apart, edits, full) })
					})
				}
			}
		}
	}
}

func (w *world) expects(namespaces int, apart time.Duration, edits int, full bool) {
	org := crm(w.limit)
	if edits > 0 {
		edited := w.know(org, "ops", "edited", accepts)
		w.every(w.limit.Window/time.Duration(edits), 0, func(int) { w.edit(edited, accepts) })
		w.run(w.limit.Window)
	}
	if full {
		for i := range w.limit.Requests {
			w.create(org, "before", fmt.Sprint(i), accepts)
		}
		w.run(50 * time.Second)
	}
	var all []*contact
	for i := range 1000 {
		w.after(time.Duration(i)*apart, func() {
			all = append(all, w.create(org, fmt.Sprint("ns-", i%namespaces), fmt.Sprint(i), accepts))
		})
	}
	w.run(20 * time.Minute)
	var worst, of time.Duration
	told, wrong := 0, 0
	for _, c := range all {
		if len(c.told) < 3 || c.told[2]-c.told[0] < 10*time.Second {
			continue
		}
		told++
		off, waited := (c.told[2] - c.told[1]).Abs(), c.told[2]-c.told[0]
		if off > waited/10 {
			wrong++
		}
		if off > worst {
			worst, of = off, waited
		}
	}
	w.t.Logf("%d were told, %d of them wrongly by more than a tenth; at worst by %.1f s of %.1f s", told, wrong, worst.Seconds(), of.Seconds())
	allowed := 0
	if edits > 0 { // they are no more even than what is told reckons with
		allowed = told / 10
	}
	if told < 800 || wrong > allowed {
		w.t.Errorf("of %d that were told %d were told wrongly by more than a tenth, want %d at most", told, wrong, allowed)
	}
}
