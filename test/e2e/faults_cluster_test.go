//go:build faults

package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// awaitEdit edits a contact and waits until OpenCX receives that. It returns where in the
// journal. One watch tells of all contacts, in order: what was done to others before is
// known by then.
func (w *world) awaitEdit(ctx SpecContext, name types.NamespacedName) (at int) {
	GinkgoHelper()
	w.edit(ctx, name)
	Eventually(ctx, func() int {
		at = slices.IndexFunc(w.simulator.Journal(), func(r opencxtest.Request) bool {
			return r.Path == "/contacts/"+contactID(name) && versionIn(r.Body).Manifest == w.manifest[name]
		})
		return at
	}).WithTimeout(patience).Should(BeNumerically(">=", 0))
	return at
}

// refusing is an API server that is slow, and refuses what a busy one does: but nothing
// more than twice in a row, so that whoever goes on can write what is true in time.
func refusing() func(*http.Request) operatortest.APIFault {
	var mu sync.Mutex
	refused := map[string]int{} // in a row
	return func(r *http.Request) operatortest.APIFault {
		mu.Lock()
		defer mu.Unlock()
		fault := operatortest.APIFault{Delay: time.Duration(rand.IntN(300)) * time.Millisecond} //nolint:gosec // it is a fault
		what := r.Method + r.URL.Path
		chance := rand.IntN(100) //nolint:gosec // likewise
		var reason metav1.StatusReason
		var code int32
		var details *metav1.StatusDetails
		switch {
		case refused[what] == 2:
		case chance < 3:
			code, reason = http.StatusInternalServerError, metav1.StatusReasonInternalError
		case chance < 6:
			code, reason = http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
		case r.Method == http.MethodGet:
		case chance < 26:
			code, reason, details = http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, &metav1.StatusDetails{RetryAfterSeconds: 1}
		case chance < 46 && r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/status"):
			code, reason = http.StatusConflict, metav1.StatusReasonConflict
		}
		if code == 0 {
			delete(refused, what)
			return fault
		}
		refused[what]++
		fault.Status = &metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure,
			Code: code, Reason: reason, Details: details, Message: "injected",
		}
		return fault
	}
}

var _ = Describe("A control plane", func() {
	DescribeTable("is restarted in a drain with edits", func(ctx SpecContext, program string, away time.Duration) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.args = []string{"--leader-elect"}
		w.declare(ctx, 200)
		replica := w.start(ctx, "a")
		w.awaitAccepted(ctx, 50+random.IntN(100))

		end := w.excuse()
		restarted := make(chan error, 1)
		go func() { restarted <- controlPlane.Restart(ctx, program, away) }()
		for range 20 { // one of them waits until the API server is back
			w.edit(ctx, w.any(random))
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		}
		Expect(<-restarted).To(Succeed())
		back := time.Now()
		// Who has lost its lease has ended or ends, and a Deployment starts another one.
		Eventually(ctx, func(g Gomega) {
			if replica.State() != nil {
				replica = w.start(ctx, "a")
			}
			lease := &coordinationv1.Lease{}
			g.Expect(k8s.Get(ctx, client.ObjectKey{Namespace: ownNamespace, Name: "opencx-operator.open.cx"}, lease)).To(Succeed())
			g.Expect(lease.Spec.RenewTime.Time).To(BeTemporally(">", back))
		}).WithTimeout(patience).Should(Succeed())
		w.leader(ctx)
		end()
		for range 20 {
			w.edit(ctx, w.any(random))
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
		}
		AddReportEntry("replicas", len(w.replicas))
		w.settle(ctx)
		// A process that goes on knows what it could not write. One that ends had a block of
		// a tenth of the limit reserved, had half of one left at most when it reserved that,
		// and had requests under way: of no more it can have had answers that no status tells.
		w.check(ctx, allowances{repeats: (len(w.replicas) - 1) * (shortLimit.Requests/10*3/2 + unnoted)})
	},
		Entry("kube-apiserver, shortly", "kube-apiserver", time.Second),
		Entry("kube-apiserver, for long", "kube-apiserver", 20*time.Second),
		Entry("etcd, shortly", "etcd", time.Second),
		Entry("etcd, for long", "etcd", 20*time.Second),
	)

	It("is slow, and refuses a part of all requests, in a drain with changes of all kinds", func(ctx SpecContext) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.start(ctx, "a")
		w.leader(ctx)
		w.api.Inject(refusing())
		w.declare(ctx, 200)
		changing, stop := context.WithTimeout(ctx, 45*time.Second)
		defer stop()
		w.generate(changing, random, 250*time.Millisecond, 250)
		w.api.ClearFaults()
		w.settle(ctx)
		// No process has ended, and each knows what it could not write.
		w.check(ctx, allowances{repeats: 0})
	})

	It("has its CRDs applied again in a drain with edits", func(ctx SpecContext) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.declare(ctx, 240)
		w.start(ctx, "a")
		apply := func(accepted int, change string) {
			w.awaitAccepted(ctx, accepted+random.IntN(50))
			for _, crd := range []string{"opencxcontacts", "opencxorganizations"} {
				kubectl("patch", "crd", crd+".contacts.open.cx", "--type=merge", "-p", change)
			}
			w.edit(ctx, w.any(random))
			kubectl("apply", "--server-side", "--force-conflicts", "-k", filepath.Join(root, "config", "crd"))
			w.edit(ctx, w.any(random))
		}
		apply(50, `{}`)
		apply(100, `{"metadata":{"labels":{"team":"crm"}}}`)
		// With another schema the API server ends all watches, and begins none until it has
		// read all objects anew: nobody knows of an edit meanwhile.
		end := w.excuse()
		apply(150, `{"spec":{"names":{"categories":["opencx","crm"]}}}`)
		w.awaitEdit(ctx, w.any(random))
		end()
		w.settle(ctx)
		w.check(ctx, allowances{repeats: 0})
	})
})
