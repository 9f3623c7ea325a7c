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
