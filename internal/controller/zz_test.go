package controller

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

var _ = Describe("ZZ", func() {
	It("ZZ1 unsuspended elder", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
		w.editOrganization(ctx, "default", `{"spec":{"suspend":true}}`)
		w.createOrganization(ctx, "later", w.key+"\n")
		w.expectOrganization(ctx, "later", "1/1 Ready=True:Usable")
		w.declare(ctx, "john", `{"organizationRef":{"name":"later"}}`)
		w.expectSynced(ctx, "john", 1)
		time.Sleep(22 * time.Second)
		w.editOrganization(ctx, "default", `{"spec":{"suspend":false}}`)
		w.expectOrganization(ctx, "default", "3/3 Ready=True:Usable")
		for range 4 {
			time.Sleep(5 * time.Second)
			o := w.getOrganization(ctx, "later")
			fmt.Println("ZZ later:", conditionsOf(o.Status.Conditions), "default:", conditionsOf(w.getOrganization(ctx, "default").Status.Conditions))
		}
		w.edit(ctx, "john", `{"spec":{"name":"Johnny"}}`)
		Eventually(func() string { return w.summary(ctx, "john") }).WithPolling(5 * time.Millisecond).Should(ContainSubstring("APIKeyInvalid"))
		w.editOrganization(ctx, "default", `{"spec":{"suspend":true}}`)
		for range 5 {
			time.Sleep(5 * time.Second)
			fmt.Println("ZZ john:", w.summary(ctx, "john"), "| later:", conditionsOf(w.getOrganization(ctx, "later").Status.Conditions), len(w.journal()))
		}
	}, SpecTimeout(140*time.Second))
})
