//go:build faults

package e2e

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// accepted counts the updates that OpenCX has carried out.
func (w *world) accepted() (n int) {
	for _, r := range w.simulator.Journal() {
		if !r.AppliedAt.IsZero() {
			n++
		}
	}
	return n
}

// replace kills a replica and starts another one of its kind.
func (w *world) replace(ctx SpecContext, r *replica) {
	GinkgoHelper()
	r.Kill()
	w.start(ctx, r.sender[len(r.sender)-1:])
}

var _ = Describe("Two replicas", func() {
	It("drain 1 000 contacts though the leader is killed 20 times", func(ctx SpecContext) {
		const contacts, kills = 1000, 20
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.args = []string{"--leader-elect"}
		w.start(ctx, "a")
		w.leader(ctx)
		w.start(ctx, "b")
		w.declare(ctx, contacts)
		for kill := range kills {
			leader, _ := w.leader(ctx)
			from := w.accepted()
			next := from + random.IntN(contacts/kills)
			Eventually(w.accepted).WithTimeout(patience).WithPolling(time.Duration(random.IntN(50)+1) * time.Millisecond).Should(BeNumerically(">=", min(next, contacts*(kill+1)/kills)))
			end := w.excuse()
			w.replace(ctx, leader)
			// An edit of that moment is to be sent by who comes next.
			w.edit(ctx, w.any(random))
			w.leader(ctx)
			end()
		}
		w.settle(ctx)
		w.check(ctx, allowances{repeats: kills * inFlight})
	})
})
