// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"fmt"
	"testing"
	"time"
)

// crm is an organization whose key OpenCX has accepted.
func crm(limit Limit) *tenant {
	return &tenant{name: orgA, limit: limit, key: Key{Version: "1", Content: "ocx_a", Proven: true}}
}

// Beside contacts that OpenCX never accepts, whatever it says, a healthy contact is
// edited as if they were not there; and they cost no more than their own backoffs allow.
func TestBrokenContactsDelayNobody(t *testing.T) {
	limit := Limit{Requests: 100, Window: 12 * time.Second}
	for _, says := range []answer{fails, forbids, knowsNot, rejects, hangs} {
		for _, n := range []int{5, 50, 300} {
			for _, namespace := range []string{"ops", "other"} {
				t.Run(fmt.Sprintf("%d that get %s in %s", n, says, namespace), func(t *testing.T) {
					t.Parallel()
					for seed := range uint64(worlds) {
						inWorld(t, limit, seed, func(w *world) { w.editsBesideBroken(says, n, namespace) })
					}
				})
			}
		}
	}
}

func (w *world) editsBesideBroken(says answer, n int, namespace string) {
	const lasts = 20 * time.Minute
	org := crm(w.limit)
	healthy := w.know(org, "ops", "healthy", accepts)
	for i := range n {
		w.after(w.upTo(time.Second), func() { w.create(org, namespace, fmt.Sprint("broken-", i), says) })
	}
	w.every(5*time.Second, 0, func(int) { w.edit(healthy, accepts) })
	w.run(lasts)
	w.waited(healthy).below(w.t, "edits", time.Second, 2*time.Second)
	broken := w.requests(0, lasts, func(r request) bool { return r.contact != healthy })
	if most := n * says.attempts(lasts); broken > most {
		w.t.Errorf("%d requests of broken contacts, whose backoffs allow %d", broken, most)
	}
}

// elsewhere are healthy contacts of two namespaces: some that are edited, if at all, and
// one that is new every two minutes.
type elsewhere struct{ edited, created []*contact }

const twoHours = 2 * time.Hour

func (w *world) elsewhere(org *tenant, edits bool) *elsewhere {
	e := &elsewhere{}
	for i := range 5 {
		e.edited = append(e.edited, w.know(org, "ops", fmt.Sprint("edited-", i), accepts))
	}
	if edits {
		w.every(30*time.Second+w.upTo(time.Second), 0, func(i int) { w.edit(e.edited[i%len(e.edited)], accepts) })
	}
	w.every(2*time.Minute+w.upTo(time.Second), 0, func(i int) {
		e.created = append(e.created, w.create(org, "shop", fmt.Sprint("new-", i), accepts))
	})
	return e
}

func (w *world) fine(e *elsewhere, edits bool) {
	w.t.Helper()
	if edits {
		w.waited(e.edited...).below(w.t, "edits", time.Second, 20*time.Second)
	}
	w.waited(e.created...).below(w.t, "first syncs", time.Second, 20*time.Second)
}

// Tenants do in their namespaces what they can to make OpenCX look broken. It delays
// healthy contacts of other namespaces by a moment.
func TestTenantsWhoMakeOpenCXLookBroken(t *testing.T) {
	attacks := map[string]func(w *world, org *tenant){
		"one new broken contact every two seconds": func(w *world, org *tenant) { w.breakNew(org, 2*time.Second, 1, fails) },
		"the same in three namespaces":             func(w *world, org *tenant) { w.breakNew(org, 2*time.Second, 3, fails) },
		"new ones that get no answer":              func(w *world, org *tenant) { w.breakNew(org, 2*time.Second, 1, hangs) },
		"new ones that get no answer in three":     func(w *world, org *tenant) { w.breakNew(org, 2*time.Second, 3, hangs) },
		"new ones that are forbidden":              func(w *world, org *tenant) { w.breakNew(org, 2*time.Second, 1, forbids) },
		"three that flap":                          func(w *world, org *tenant) { w.flap(org, 3) },
		"thirty that flap":                         func(w *world, org *tenant) { w.flap(org, 30) },
		"edits that break in one namespace":        func(w *world, org *tenant) { w.breakEdited(org, 1, fails) },
		"edits that break in three namespaces":     func(w *world, org *tenant) { w.breakEdited(org, 3, fails) },
		"edits that break in ten namespaces":       func(w *world, org *tenant) { w.breakEdited(org, 10, fails) },
		"edits that hang in three namespaces":      func(w *world, org *tenant) { w.breakEdited(org, 3, hangs) },
	}
	for name, attack := range attacks {
		for _, edits := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, people edit %t", name, edits), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(worlds) {
					inWorld(t, perMinute, seed, func(w *world) {
						org := crm(perMinute)
						e := w.elsewhere(org, edits)
						attack(w, org)
						w.run(twoHours)
						w.fine(e, edits)
					})
				}
			})
		}
	}
}

// breakNew makes broken contacts for ever.
func (w *world) breakNew(org *tenant, pause time.Duration, namespaces int, says answer) {
	w.every(pause, 0, func(i int) {
		w.create(org, fmt.Sprint("bad-", i%namespaces), fmt.Sprint("broken-", i), says)
	})
}

// flap edits contacts to what OpenCX takes and what it does not, in turns.
func (w *world) flap(org *tenant, n int) {
	var all []*contact
	for i := range n {
		all = append(all, w.create(org, "bad", fmt.Sprint("flaps-", i), accepts))
	}
	w.every(time.Second, 0, func(i int) { w.edit(all[i%n], []answer{fails, accepts}[i/n%2]) })
}

// breakEdited edits contacts that OpenCX accepted to what it does not take.
func (w *world) breakEdited(org *tenant, namespaces int, says answer) {
	const n = 200
	var all []*contact
	for i := range n {
		all = append(all, w.know(org, fmt.Sprint("bad-", i%namespaces), fmt.Sprint("breaks-", i), accepts))
	}
	w.every(5*time.Second, 0, func(i int) { w.edit(all[i%n], says) })
}
