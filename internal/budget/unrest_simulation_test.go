// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"fmt"
	"testing"
	"time"
)

// OpenCX goes up and down every half minute, or fails half of all requests.
func TestAnOpenCXThatIsUpAndDown(t *testing.T) {
	t.Run("by turns of half a minute", func(t *testing.T) {
		for seed := range uint64(worlds) {
			inWorld(t, perMinute, seed, func(w *world) {
				w.says = func() answer {
					return []answer{accepts, fails}[time.Since(w.start)/(30*time.Second)%2]
				}
				w.allGetIn(accepts, 2*time.Hour) // who is unlucky nine times waits for 43 minutes
			})
		}
	})
	t.Run("at random", func(t *testing.T) {
		for seed := range uint64(worlds) {
			inWorld(t, perMinute, seed, func(w *world) { w.allGetIn(wavers, 30*time.Minute) })
		}
	})
}

func (w *world) allGetIn(says answer, most time.Duration) {
	w.t.Helper()
	org := crm(w.limit)
	all := w.many(300, 5, func(namespace, name string) *contact { return w.create(org, namespace, name, says) })
	took := w.untilDone(all, 2*most)
	w.t.Logf("%d of %d in after %.0f s, with %d requests", w.done(all), len(all), took.Seconds(), len(w.sent))
	if took > most {
		w.t.Errorf("%d of %d are in after %s, want all within %s", w.done(all), len(all), took, most)
	}
}

// The first import meets an outage, and from then on a tenant makes broken contacts.
// Nobody edits, so only first syncs can show that OpenCX works again.
func TestAnImportInAnOutageBesideATenantWithBrokenContacts(t *testing.T) {
	for _, namespaces := range []int{1, 5} {
		t.Run(fmt.Sprintf("%d namespaces", namespaces), func(t *testing.T) {
			for seed := range uint64(worlds) {
				inWorld(t, perMinute, seed, func(w *world) {
					org := crm(perMinute)
					w.outage(0, 10*time.Minute, fails)
					healthy := make([]*contact, 20)
					for i := range healthy {
						healthy[i] = w.create(org, "shop", fmt.Sprint(i), accepts)
					}
					w.breakNew(org, 20*time.Second, namespaces, fails)
					w.run(10 * time.Minute)
					took := w.untilDone(healthy, 4*time.Hour)
					t.Logf("%d of %d in %.0f s after the end", w.done(healthy), len(healthy), took.Seconds())
					if took > time.Hour {
						t.Errorf("%d of %d are in %s after the end, want all within an hour", w.done(healthy), len(healthy), took)
					}
				})
			}
		})
	}
}

// Floods of edits and resyncs together, of any namespaces, leave slots for first syncs.
func TestFloodsDoNotStarveFirstSyncs(t *testing.T) {
	for _, namespaces := range []int{1, 20} {
		t.Run(fmt.Sprintf("of %d namespaces", namespaces), func(t *testing.T) {
			for seed := range uint64(worlds) {
				inWorld(t, perMinute, seed, func(w *world) { w.floods(namespaces) })
			}
		})
	}
}

func (w *world) floods(namespaces int) {
	org := crm(w.limit)
	edited := w.many(1000, namespaces, func(namespace, name string) *contact { return w.know(org, namespace, name, accepts) })
	again := w.many(1000, namespaces, func(namespace, name string) *contact { return w.know(org, namespace, "again-"+name, accepts) })
	w.every(200*time.Millisecond, 0, func(i int) { // five times the limit, together
		w.edit(edited[i%len(edited)], accepts)
		again[i%len(again)].resync = true
		w.look(again[i%len(again)])
	})
	w.run(5 * time.Minute)
	var created []*contact
	w.every(time.Minute, 25, func(i int) { created = append(created, w.create(org, "shop", fmt.Sprint(i), accepts)) })
	w.run(30 * time.Minute)
	w.waited(created...).below(w.t, "first syncs", 30*time.Second, time.Minute)
}

// OpenCX is busy and says for how long.
func TestARetryAfter(t *testing.T) {
	const pause = 10 * time.Minute
	inWorld(t, perMinute, 1, func(w *world) {
		org := crm(perMinute)
		healthy := w.know(org, "ops", "healthy", accepts)
		broken := w.know(org, "ops", "broken", fails)
		broken.past, broken.wanted, broken.retryAfter = Failed, 2, pause
		w.look(broken)
		w.every(5*time.Second, 100, func(int) { w.edit(healthy, accepts) })
		w.run(9 * time.Minute)
		w.waited(healthy).below(t, "edits beside one that failed before", time.Second, 2*time.Second)
		if n := w.requests(0, pause, func(r request) bool { return r.contact == broken }); n != 1 {
			t.Errorf("the one that was told to wait sent %d requests meanwhile", n)
		}
	})
	inWorld(t, perMinute, 1, func(w *world) {
		org := crm(perMinute)
		healthy := w.know(org, "ops", "healthy", accepts)
		busy := w.know(org, "ops", "busy", accepts)
		busy.retryAfter = pause
		w.edit(busy, fails)
		w.every(5*time.Second, 200, func(int) { w.edit(healthy, accepts) })
		w.run(pause)
		if n := len(w.sent); n != 1 {
			t.Errorf("%d requests while OpenCX asked for silence, want the one that was answered so", n)
		}
		w.run(time.Minute)
		if healthy.applied != healthy.wanted {
			t.Error("an edit still waits after the silence")
		}
	})
}
