package controller

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

var _ = Describe("A status that another process wrote meanwhile", func() {
	It("does not hide that OpenCX was sent something else", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		release := w.simulator.Hold()
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		Eventually(w.simulator.Journal).Should(HaveLen(1))

		By("writing what a former leader would have, which the cache did not show yet")
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		contact := w.get(ctx, "jane")
		hash := desired.Hash(&contact.Spec, nil, desired.To{API: w.url, Organization: w.namespace + "/default"})
		now := time.Now().UTC().Format(time.RFC3339)
		Expect(k8s.Status().Patch(ctx, w.contact("jane"), client.RawPatch(types.MergePatchType, []byte(
			`{"status":{"appliedHash":"`+hash+`","attemptedHash":"`+hash+`@1","organization":"`+w.namespace+`/default","lastSyncTime":"`+now+`","lastAttemptTime":"`+now+`"}}`)))).To(Succeed())
		release()
		Eventually(w.journal).Should(Equal([]string{`200 jane {"contact":{"name":"Jane"}}`, `200 jane {"contact":{"name":"Janet"}}`}))
		w.expectSynced(ctx, "jane", 2)
		w.expectNoMore(2)
	})
})

var _ = Describe("An owner that was never accepted", func() {
	It("passes its contactID on when it is suspended", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.simulator.InjectContact("jane", opencxtest.Failure(422, "no"))
		w.claim(ctx, w.namespace, "older", "jane", "default")
		w.expectSummary(ctx, "older", "1/1 Ready=False:Rejected Stalled=True:Rejected")
		w.claim(ctx, w.namespace, "younger", "jane", "default")
		w.expectSummary(ctx, "younger", isDuplicate)
		w.simulator.ClearContact("jane")
		w.edit(ctx, "older", `{"spec":{"suspend":true}}`)
		w.expectSynced(ctx, "younger", 1)
		w.expectSummary(ctx, "older", "2/2 Ready=False:Duplicate Stalled=True:Duplicate")
		w.expectNoMore(2)
	})
})
