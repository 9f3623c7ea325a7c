package controller

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

var _ = Describe("A contact of a namespace that is not allowed", func() {
	It("spends nothing, wakes nobody, and is counted nowhere, whatever it names", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":null}}`)
		w.createOrganization(ctx, "quiet", secret("ocx_live_"), closed) // which nobody uses who may
		other := w.addNamespace(ctx)
		w.claim(ctx, w.namespace, "own", "jane", "default")
		w.expectSynced(ctx, "own", 1)
		counted := func(name string) func() string {
			return func() string { return asJSON(w.getOrganization(ctx, name).Status.Contacts) }
		}
		Eventually(counted("default")).Should(Equal(`{"total":1,"ready":1,"waiting":0,"failed":0}`))
		looks := contactLooks()
		Consistently(contactLooks).Should(Equal(looks))

		const n = 40
		names := map[string]types.NamespacedName{"jane": w.organization("default"), "shut-out": w.organization("quiet")}
		for i := range n {
			names[fmt.Sprintf("closed-%02d", i)] = w.organization("quiet")
			names[fmt.Sprintf("missing-%02d", i)] = w.organization(fmt.Sprintf("invented-%02d", i))
			names[fmt.Sprintf("nowhere-%02d", i)] = types.NamespacedName{Namespace: fmt.Sprintf("nowhere-%02d", i), Name: "default"}
		}
		s := newStrangers(ctx, w, other, names)
		for name := range names {
			s.expectSummary(ctx, name, "1/1 Ready=False:OrganizationNotFound Reconciling=True:OrganizationNotFound")
		}
		w.expectNoMore(1)
		Expect(contactLooks()-looks).To(Equal(len(names)), "each is looked at once, and nobody else is")

		By("looking at what is counted")
		Expect(counted("default")()).To(Equal(`{"total":1,"ready":1,"waiting":0,"failed":0}`))
		Eventually(counted("quiet")).Should(Equal(`{"total":0,"ready":0,"waiting":0,"failed":0}`))
		var ofContacts []string
		for line := range strings.Lines(w.metrics()) {
			if strings.HasPrefix(line, "opencx_organization") { // it exists, whoever names it
				continue
			}
			Expect(line).NotTo(Or(ContainSubstring("quiet"), ContainSubstring("invented"), ContainSubstring("nowhere")))
			if strings.HasPrefix(line, "opencx_contacts{") {
				ofContacts = append(ofContacts, strings.TrimSpace(line))
			}
		}
		Expect(ofContacts).To(ConsistOf(
			fmt.Sprintf(`opencx_contacts{organization="",ready="False",reason="OrganizationNotFound"} %d`, len(names)),
			fmt.Sprintf(`opencx_contacts{organization=%q,ready="True",reason="Synced"} 1`, w.namespace+"/default"),
		))
		reserved := &corev1.ConfigMap{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "opencx-operator-budget"}, reserved)).To(Succeed())
		Expect(fmt.Sprint(reserved.Data)).NotTo(Or(ContainSubstring("quiet"), ContainSubstring("invented"), ContainSubstring("nowhere")))
	})

	It("is sent once when it becomes allowed, and no more when it no longer is", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":null}}`)
		other := w.addNamespace(ctx)
		s := newStrangers(ctx, w, other, map[string]types.NamespacedName{"jane": w.organization("default"), "john": w.organization("default")})
		w.claim(ctx, w.namespace, "own", "jane", "default")
		w.expectSynced(ctx, "own", 1)
		const shutOut = "1/1 Ready=False:OrganizationNotFound Reconciling=True:OrganizationNotFound"
		s.expectSummary(ctx, "john", shutOut)

		By("allowing it, where who was accepted owns the contactID")
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		s.expectSynced(ctx, "john", 1)
		s.expectSummary(ctx, "jane", isDuplicate)
		w.expectNoMore(2)

		By("shutting it out, whatever it does")
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":null}}`)
		s.expectSummary(ctx, "john", shutOut)
		s.expectSummary(ctx, "jane", shutOut)
		s.edit(ctx, "john", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}},"spec":{"name":"John"}}`)
		s.expectSummary(ctx, "john", "2/2 Ready=False:OrganizationNotFound Reconciling=True:OrganizationNotFound")
		w.edit(ctx, "own", `{"spec":{"name":"Jane"}}`)
		w.expectSynced(ctx, "own", 2)
		w.expectNoMore(3)
		Expect(w.journal()).To(Equal([]string{sentName("jane", "own"), `200 john {"contact":{}}`, sentName("jane", "Jane")}))
	})
})
