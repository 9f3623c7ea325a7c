package controller

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

var _ = Describe("A contact that is introduced", func() {
	It("is compared again when a value changes in its Secret", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 100, Window: time.Second})
		w.simulator.AddContacts("jane")
		w.editInOpenCX("jane", "name", "Joan")
		w.lookEvery(time.Second)
		w.put(ctx, "names", map[string]string{"jane": "Jane"})
		w.declare(ctx, "jane", `{"driftPolicy":"Report","nameFrom":{"secretKeyRef":{"name":"names","key":"jane"}}}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:Reported Stalled=True:Reported")
		begun := w.sweptAt(ctx) // OpenCX lists it as changed for a while
		Eventually(func() time.Duration { return w.sweptAt(ctx).Sub(begun) }).Should(BeNumerically(">=", 5*time.Second))
		w.put(ctx, "names", map[string]string{"jane": "Joan"})
		w.expectSynced(ctx, "jane", 1)
		Expect(w.patches()).To(BeEmpty())
	})
})
