// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"fmt"
	"testing"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/operatortest/history"
)

// Organizations whose key OpenCX never accepts share a tenth of the limit, and the one
// among them whose key is good is not held up by the others, wherever they are and
// however often their Secrets change.
func TestAnOrganizationAmongBogusOnes(t *testing.T) {
	for _, namespaces := range []int{1, 3, 20} {
		for _, rotated := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprintf("in %d namespaces, rotated every %s", namespaces, rotated), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(worlds) {
					inWorld(t, perMinute, seed, func(w *world) { w.bogus(150, namespaces, rotated) })
				}
			})
		}
	}
}

func (w *world) bogus(n, namespaces int, rotated time.Duration) {
	var bogus []*tenant
	for i := range n {
		namespace, content := fmt.Sprint("bad-", i%namespaces), fmt.Sprint("bogus-", i)
		org := &tenant{name: fmt.Sprintf("%s/org-%d", namespace, i), limit: w.limit, key: Key{Version: "1", Content: content}}
		bogus = append(bogus, org)
		w.create(org, namespace, fmt.Sprint("one-of-", i), refuses)
		if rotated == 0 {
			w.create(org, namespace, fmt.Sprint("another-of-", i), refuses)
		}
	}
	if rotated > 0 {
		w.every(rotated, 0, func(i int) {
			for of, org := range bogus {
				w.rekey(org, Key{Version: fmt.Sprint("r", i), Content: fmt.Sprintf("rotated-%d-%d", of, i)})
			}
		})
	}
	w.run(2*time.Minute + w.upTo(time.Minute))
	genuine := &tenant{name: "crm/real", limit: w.limit, key: Key{Version: "1", Content: "ocx_real"}}
	came := time.Since(w.start)
	all := w.many(50, 1, func(_, name string) *contact { return w.create(genuine, "crm", name, accepts) })
	took := w.untilDone(all, 30*time.Minute)
	w.run(time.Minute)

	var first time.Duration
	var others []time.Time
	for _, r := range w.sent {
		if r.contact.tenant != genuine {
			others = append(others, r.at)
		} else if first == 0 {
			first = r.at.Sub(w.start) - came
		}
	}
	most := history.MostIn(others, w.limit.Window)
	w.t.Logf("the first request after %.1f s, all done after %.0f s; the others sent at most %d in a window", first.Seconds(), took.Seconds(), most)
	if first == 0 || first > time.Minute {
		w.t.Errorf("its first request went after %s, want within a minute", first)
	}
	if took > 2*time.Minute {
		w.t.Errorf("%d of %d contacts done after %s", w.done(all), len(all), took)
	}
	if most > w.limit.Requests/10 {
		w.t.Errorf("the others sent %d in a window, want a tenth of the limit at most", most)
	}
}
