//go:build faults

package e2e

import (
	"context"
	"slices"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest/history"
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

// awaitAccepted waits until OpenCX has carried out n updates.
func (w *world) awaitAccepted(ctx SpecContext, n int) {
	GinkgoHelper()
	Eventually(ctx, w.accepted).WithTimeout(patience).WithPolling(20 * time.Millisecond).Should(BeNumerically(">=", n))
}

// hasNewest says that OpenCX has accepted what is declared of each of some contacts.
func (w *world) hasNewest(names []types.NamespacedName) bool {
	byContact, _ := w.requests()
	for _, name := range names {
		if !slices.ContainsFunc(byContact[contactID(name)], func(r history.Request) bool {
			return !r.AcceptedAt.IsZero() && r.Version.Manifest == w.manifest[name]
		}) {
			return false
		}
	}
	return true
}

// startTwo starts a replica that leads, and another one.
func (w *world) startTwo(ctx SpecContext) {
	GinkgoHelper()
	w.args = []string{"--leader-elect"}
	w.start(ctx, "a")
	w.leader(ctx)
	w.start(ctx, "b")
}

// again starts a replica of the kind of one that has ended.
func (w *world) again(ctx SpecContext, r *replica) {
	GinkgoHelper()
	w.start(ctx, r.sender[len(r.sender)-1:])
}

var _ = Describe("Two replicas", func() {
	It("drain 1 000 contacts though the leader is killed 20 times", func(ctx SpecContext) {
		const contacts, kills = 1000, 20
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.startTwo(ctx)
		w.declare(ctx, contacts)
		for kill := range kills {
			leader, _ := w.leader(ctx)
			next := w.accepted() + random.IntN(contacts/kills)
			Eventually(w.accepted).WithTimeout(patience).WithPolling(time.Duration(random.IntN(50)+1) * time.Millisecond).Should(BeNumerically(">=", min(next, contacts*(kill+1)/kills)))
			end := w.excuse()
			leader.Kill()
			w.again(ctx, leader)
			w.edit(ctx, w.any(random)) // which is to be sent by who comes next
			w.leader(ctx)
			end()
		}
		w.settle(ctx)
		w.check(ctx, allowances{repeats: kills * unnoted})
	})

	It("send nothing old when a leader goes on that stood still past its lease", func(ctx SpecContext) {
		const pauses = 3
		random := newRandom()
		w := newWorld(ctx, 2, opencxtest.Options{})
		w.startTwo(ctx)
		w.declare(ctx, 60)
		w.settle(ctx)
		for range pauses {
			leader, others := w.leader(ctx)
			edited := w.names[:30]
			// In the middle of them: some are under way, and others it knows of and has not sent.
			release := w.simulator.Hold()
			arrived := len(w.simulator.Journal())
			for _, name := range edited {
				w.edit(ctx, name)
			}
			Eventually(func() int { return len(w.simulator.Journal()) - arrived }).Should(BeNumerically(">=", 1+random.IntN(5)))
			end := w.excuse()
			leader.signal(syscall.SIGSTOP)
			release()
			Eventually(others[0].works).WithTimeout(patience).Should(BeTrue())
			for _, name := range edited {
				w.edit(ctx, name)
			}
			Eventually(func() bool { return w.hasNewest(edited) }).WithTimeout(patience).Should(BeTrue())
			end()
			leader.signal(syscall.SIGCONT)
			Eventually(leader.Exited()).WithTimeout(patience).Should(BeClosed(), "it goes on without the lease")
			w.again(ctx, leader)
		}
		w.settle(ctx)
		w.check(ctx, allowances{repeats: pauses * unnoted})
	})

	It("send exactly one request for each of the changes of ten minutes", func(ctx SpecContext) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.startTwo(ctx)
		changing, stop := context.WithTimeout(ctx, 10*time.Minute)
		defer stop()
		w.generate(changing, random, 80*time.Millisecond, 1000)
		w.settle(ctx)
		w.check(ctx, allowances{})
	})
})

var _ = Describe("Three shards", func() {
	It("keep the limit of their organization, of which each has a third, though one is killed", func(ctx SpecContext) {
		w := newWorld(ctx, 3, opencxtest.Options{Limit: 1000, Window: 6 * time.Second})
		w.declare(ctx, 10_000) // before anybody sends, so that a kill is in the middle
		shard := func(name string) *replica {
			return w.start(ctx, "a", "--watch-label-selector=shard="+name, "--budget-share=0.333", "--default-organization="+ownNamespace+"/default")
		}
		running := map[string]*replica{}
		for _, name := range []string{"a", "b", "c"} {
			// What it has reserved of the limit is kept in a namespace of its own.
			own := "shard-" + name
			Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: own}})).To(Succeed())
			kubectl("-n", own, "create", "role", "operator", "--verb=create,get,update", "--resource=configmaps")
			kubectl("-n", own, "create", "rolebinding", "operator", "--role=operator", "--serviceaccount="+ownNamespace+":opencx-controller-manager")
			w.env = []string{"POD_NAMESPACE=" + own}
			running[name] = shard(name)
		}
		w.awaitAccepted(ctx, 3000)
		running["b"].Kill()
		w.awaitAccepted(ctx, w.accepted()+2000)
		w.env = []string{"POD_NAMESPACE=shard-b"}
		shard("b")
		w.settle(ctx)
		w.check(ctx, allowances{repeats: unnoted})
	})
})
