//go:build faults

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var _ = Describe("Whatever OpenCX answers,", func() {
	It("nothing is lost or repeated in vain", func(ctx SpecContext) {
		random := newRandom()
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.start(ctx, "a")
		w.declare(ctx, 50)
		unheard := w.misbehave(rand.New(rand.NewPCG(random.Uint64(), 0)), 20) //nolint:gosec // it is to be repeated
		changing, stop := context.WithTimeout(ctx, 75*time.Second)
		defer stop()
		w.generate(changing, random, 150*time.Millisecond, 200)
		w.simulator.ClearFaults()
		time.Sleep(w.limit.Window) // so that nothing that is forced is just being sent
		Eventually(ctx, func() error {
			w.force(ctx)
			return w.unsettled(ctx)
		}).WithTimeout(patience).WithPolling(10 * time.Second).Should(Succeed())
		w.check(ctx, allowances{repeats: unheard()})
	})

	It("a revoked key costs few requests until there is another", func(ctx SpecContext) {
		w := newWorld(ctx, 3, opencxtest.Options{})
		w.start(ctx, "a")
		w.declare(ctx, 30)
		w.settle(ctx)
		synced := slices.Clone(w.names[:10])
		w.declare(ctx, 200)
		w.awaitAccepted(ctx, 100)
		const another = markedKey + "_2"
		w.simulator.SetKeys(another)
		revoked := time.Now()
		for _, name := range synced {
			w.edit(ctx, name)
		}
		organization := &v1alpha1.OpenCXOrganization{}
		Eventually(ctx, func(g Gomega) {
			g.Expect(k8s.Get(ctx, operatortest.DeployedOrganization, organization)).To(Succeed())
			ready := meta.FindStatusCondition(organization.Status.Conditions, v1alpha1.ReadyCondition)
			g.Expect(ready.Status).To(Equal(metav1.ConditionFalse))
			g.Expect(ready.Reason).To(Equal(v1alpha1.UnauthorizedReason))
		}).Should(Succeed())
		// All who wait wait for the key, whether they tried it or not.
		Eventually(ctx, func(g Gomega) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, name := range w.names {
				ready := meta.FindStatusCondition(w.kept[name].Conditions, v1alpha1.ReadyCondition)
				g.Expect(ready).NotTo(BeNil(), "%s", name)
				if !slices.Contains(synced, name) && ready.Status == metav1.ConditionTrue {
					continue
				}
				g.Expect(ready.Reason).To(Equal(v1alpha1.UnauthorizedReason), "%s: %s", name, ready.Message)
			}
		}).Should(Succeed())
		time.Sleep(time.Until(revoked.Add(5 * w.limit.Window)))
		refused := 0
		for _, request := range w.simulator.Journal() {
			if request.Status == http.StatusUnauthorized {
				refused++
			}
		}
		AddReportEntry("requests with the revoked key", refused)
		// Three witnesses, and by now five probes, each after twice the time of the one
		// before; but a refusal of what was under way takes the place of a probe.
		Expect(refused).To(BeNumerically("<=", max(3+5, inFlight)))
		kubectl("-n", ownNamespace, "patch", "secret", "opencx-api-key", "-p", fmt.Sprintf(`{"stringData":{"apiKey":%q}}`, another))
		w.settle(ctx)
		w.check(ctx, allowances{}) // a 401 is an answer, and nothing was accepted with it
	})
})
