package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// organizationMessage is what an organization's Ready says.
func (w *world) organizationMessage(ctx context.Context, name string) string {
	GinkgoHelper()
	if ready := meta.FindStatusCondition(w.getOrganization(ctx, name).Status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		return ready.Message
	}
	return ""
}

var _ = Describe("The API key of an organization", func() {
	It("is waited for, and found when its Secret appears or is corrected", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.editOrganization(ctx, "default", `{"spec":{"apiKeySecretRef":{"name":"opencx","key":"token"}}}`)
		w.declare(ctx, "jane", `{}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound")
		w.expectOrganization(ctx, "default", "2/2 Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound")
		Expect(w.organizationMessage(ctx, "default")).To(Equal(`spec.apiKeySecretRef: Secret "opencx" does not exist: create it with the API key under "token"`))

		w.put(ctx, "opencx", map[string]string{"apiKey": w.key})
		Eventually(func() string { return w.organizationMessage(ctx, "default") }).Should(
			Equal(`spec.apiKeySecretRef: Secret "opencx" has no key "token": add it, or name another one`))

		w.put(ctx, "opencx", map[string]string{"token": "two\nlines"})
		w.expectOrganization(ctx, "default", "2/2 Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid")
		Expect(w.organizationMessage(ctx, "default")).To(HavePrefix(`spec.apiKeySecretRef: key "token" of Secret "opencx": `))
		w.expectSummary(ctx, "jane", "1/1 Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid")
		w.expectNoMore(0)

		w.put(ctx, "opencx", map[string]string{"token": w.key + "\n"})
		w.expectSynced(ctx, "jane", 1)
		w.expectOrganization(ctx, "default", "2/2 Ready=True:Usable")
		Expect(w.simulator.Journal()[0].Key).To(Equal(w.key))
		Eventually(func() string { return w.organizationMessage(ctx, "default") }).Should(Equal("OpenCX has accepted contacts with this version of the API key"))
	})

	It("is used from the next request on when it is rotated, and causes none", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		second := secret("ocx_live_")
		w.simulator.SetKeys(w.key, second)
		w.declare(ctx, "jane", `{}`)
		w.expectSynced(ctx, "jane", 1)
		w.put(ctx, "default-api-key", map[string]string{"apiKey": second + "\n"})
		w.expectNoMore(1)
		w.edit(ctx, "jane", `{"spec":{"name":"Jane"}}`)
		w.expectSynced(ctx, "jane", 2)
		Expect(w.simulator.Journal()[1].Key).To(Equal(second))
		w.expectNoMore(2)

		By("naming another Secret")
		third := secret("ocx_live_")
		w.simulator.SetKeys(third)
		w.put(ctx, "third", map[string]string{"apiKey": third})
		w.editOrganization(ctx, "default", `{"spec":{"apiKeySecretRef":{"name":"third"}}}`)
		w.expectNoMore(2)
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		w.expectSynced(ctx, "jane", 3)
		Expect(w.simulator.Journal()[2].Key).To(Equal(third))
		w.expectNoMore(3)
	})

	It("frees at once, when it is rotated, every contact that was refused with the old one", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.simulator.SetKeys("another")
		const n = 12
		for i := range n {
			w.declare(ctx, fmt.Sprintf("contact-%02d", i), `{}`)
		}
		for i := range n {
			w.expectSummary(ctx, fmt.Sprintf("contact-%02d", i), "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized")
		}
		w.expectOrganization(ctx, "default", "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized")
		refused := len(w.journal())
		Expect(refused).To(BeNumerically("<=", 5))
		rotated := secret("ocx_live_")
		w.simulator.SetKeys(rotated)
		w.put(ctx, "default-api-key", map[string]string{"apiKey": rotated})
		for i := range n {
			w.expectSynced(ctx, fmt.Sprintf("contact-%02d", i), 1)
		}
		w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
		w.expectNoMore(refused + n)
		Expect(strings.Count(strings.Join(w.journal(), "\n"), "200 ")).To(Equal(n))
	})

	DescribeTable("is of one organization alone: a later one waits until the first",
		func(ctx SpecContext, free func(ctx context.Context, w *world)) {
			w := newWorld(ctx, budget.DefaultLimit)
			w.declare(ctx, "jane", `{}`)
			w.expectSynced(ctx, "jane", 1)
			w.createOrganization(ctx, "later", w.key+"\n")
			w.expectOrganization(ctx, "later", "1/1 Ready=False:DuplicateKey Stalled=True:DuplicateKey")
			Expect(w.organizationMessage(ctx, "later")).To(Equal("Another OpenCXOrganization had the same API key before: let contacts name that one, or use another key here"))
			w.declare(ctx, "john", `{"organizationRef":{"name":"later"}}`)
			w.expectSummary(ctx, "john", "1/1 Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid")
			Expect(w.message(ctx, "john")).To(Equal("The API key of OpenCXOrganization " + w.namespace + "/later cannot be used: see the status of that"))
			w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
			w.expectNoMore(1)

			By("restarting, which changes nothing")
			w.stop()
			w.startOperator()
			w.expectNoMore(1)
			w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
			w.expectOrganization(ctx, "later", "1/1 Ready=False:DuplicateKey Stalled=True:DuplicateKey")

			free(ctx, w)
			w.expectSynced(ctx, "john", 1)
			Eventually(func() string { return w.organizationMessage(ctx, "later") }).Should(Equal("OpenCX has accepted contacts with this version of the API key"))
			w.expectNoMore(2)
		},
		Entry("is suspended", func(ctx context.Context, w *world) {
			w.editOrganization(ctx, "default", `{"spec":{"suspend":true}}`)
		}),
		Entry("is deleted", func(ctx context.Context, w *world) {
			Expect(controlPlane.DeleteOrganization(ctx, w.organization("default"))).To(Succeed())
		}),
		Entry("has another key", func(ctx context.Context, w *world) {
			another := secret("ocx_live_")
			w.simulator.SetKeys(w.key, another)
			w.put(ctx, "default-api-key", map[string]string{"apiKey": another})
		}),
		Entry("has another key, or it has one itself", func(ctx context.Context, w *world) {
			another := secret("ocx_live_")
			w.simulator.SetKeys(w.key, another)
			w.put(ctx, "later-api-key", map[string]string{"apiKey": another})
		}),
	)

	It("stays that of the organization which had it when another one is rotated to it", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		younger := secret("ocx_live_")
		w.simulator.SetKeys(w.key, younger)
		w.createOrganization(ctx, "younger", younger)
		w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
		w.expectOrganization(ctx, "younger", "1/1 Ready=True:Usable")
		w.put(ctx, "default-api-key", map[string]string{"apiKey": younger})
		w.expectOrganization(ctx, "default", "1/1 Ready=False:DuplicateKey Stalled=True:DuplicateKey")
		w.expectOrganization(ctx, "younger", "1/1 Ready=True:Usable")
		w.put(ctx, "default-api-key", map[string]string{"apiKey": w.key})
		w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
	})
})

var _ = Describe("An organization", func() {
	It("is open to the namespaces it allows, and the others cannot tell it from a missing one", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		other := w.addNamespace(ctx)
		elsewhere := *w // the same world, seen from another namespace
		elsewhere.namespace = other
		closed := func(name string) string {
			return fmt.Sprintf("OpenCXOrganization %s/%s does not exist, or does not allow contacts of namespace %s: ask who keeps namespace %s to create it, or to allow %s in its spec.allowedNamespaces",
				w.namespace, name, other, w.namespace, other)
		}
		const notFound = "1/1 Ready=False:OrganizationNotFound Reconciling=True:OrganizationNotFound"
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":null}}`)
		w.claim(ctx, other, "jane", "jane", "default")
		w.claim(ctx, other, "john", "john", "missing")
		elsewhere.expectSummary(ctx, "jane", notFound)
		elsewhere.expectSummary(ctx, "john", notFound)
		Expect(elsewhere.message(ctx, "jane")).To(Equal(closed("default")))
		Expect(elsewhere.message(ctx, "john")).To(Equal(closed("missing")))

		By("selecting labels that it does not have")
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"team":"sales"}}}}}`)
		w.expectOrganization(ctx, "default", "3/3 Ready=True:Usable")
		w.expectNoMore(0)

		By("giving it the labels")
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}}
		label := func(value string) {
			Expect(k8s.Patch(ctx, namespace, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"team":`+value+`}}}`)))).To(Succeed())
		}
		label(`"sales"`)
		elsewhere.expectSynced(ctx, "jane", 1)

		By("taking them away")
		label(`null`)
		elsewhere.expectSummary(ctx, "jane", notFound)

		By("opening it to all")
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":{"from":"All","selector":null}}}`)
		elsewhere.expectSynced(ctx, "jane", 1)
		w.expectNoMore(2) // meanwhile, its contactID could have passed to another contact
	})

	It("that is suspended sends nothing, and what was held back when it is resumed", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
		w.editOrganization(ctx, "default", `{"spec":{"suspend":true}}`)
		w.expectOrganization(ctx, "default", "2/2 Ready=Unknown:Suspended")
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		w.expectSummary(ctx, "jane", "2/2 Ready=Unknown:Suspended")
		Expect(w.message(ctx, "jane")).To(Equal("The contact has a change that is not sent while OpenCXOrganization " + w.namespace + "/default is suspended"))
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		w.declare(ctx, "john", `{}`)
		w.expectSummary(ctx, "john", "1/1 Ready=Unknown:Suspended")
		w.expectNoMore(1)
		w.editOrganization(ctx, "default", `{"spec":{"suspend":false}}`)
		w.expectSynced(ctx, "jane", 2)
		w.expectSynced(ctx, "john", 1)
		w.expectNoMore(3)
	})

	It("says when contacts are sent again that do not say so themselves", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.declare(ctx, "john", `{"name":"John","resyncInterval":"48h"}`)
		w.expectSynced(ctx, "jane", 1)
		w.expectSynced(ctx, "john", 1)
		w.syncedBefore(ctx, "john", 7*time.Minute)
		for i, interval := range []string{"5m", "6m"} {
			w.syncedBefore(ctx, "jane", 7*time.Minute)
			w.editOrganization(ctx, "default", `{"spec":{"resyncInterval":"`+interval+`"}}`)
			Eventually(w.journal).Should(HaveLen(3 + i))
		}
		w.expectNoMore(4)
		Expect(w.journal()[2:]).To(HaveEach(`200 jane {"contact":{"name":"Jane"}}`))
	})

	It("is sent a contact that moves to it", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		acme := secret("ocx_live_")
		w.simulator.SetKeys(w.key, acme)
		w.createOrganization(ctx, "acme", acme)
		w.declare(ctx, "jane", `{}`)
		w.expectSynced(ctx, "jane", 1)
		Expect(w.get(ctx, "jane").Status.Organization).To(Equal(w.namespace + "/default"))
		w.edit(ctx, "jane", `{"spec":{"organizationRef":{"name":"acme"}}}`)
		w.expectSynced(ctx, "jane", 2)
		Expect(w.get(ctx, "jane").Status.Organization).To(Equal(w.namespace + "/acme"))
		w.expectNoMore(2)
		Expect(w.simulator.Journal()[1].Key).To(Equal(acme))
	})

	It("counts its contacts, and says when the last that waits will be sent", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 3, Window: time.Minute})
		other := w.addNamespace(ctx)
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":null}}`)
		w.simulator.InjectContact("bad", opencxtest.Failure(422, "no"))
		w.declare(ctx, "jane", `{}`)
		w.expectSynced(ctx, "jane", 1)
		w.declare(ctx, "bad", `{}`)
		w.expectSummary(ctx, "bad", "1/1 Ready=False:Rejected Stalled=True:Rejected")
		w.declare(ctx, "john", `{}`)
		w.expectSynced(ctx, "john", 1)
		w.declare(ctx, "waits", `{}`)
		w.declare(ctx, "waits-too", `{}`)
		w.claim(ctx, other, "stranger", "stranger", "default") // whom it does not allow
		counts := func() string {
			return asJSON(w.getOrganization(ctx, "default").Status.Contacts)
		}
		Eventually(counts).Should(Equal(`{"total":5,"ready":2,"waiting":2,"failed":1}`))
		status := w.getOrganization(ctx, "default").Status
		Expect(time.Until(status.DrainsAt.Time)).To(And(BeNumerically(">", 40*time.Second), BeNumerically("<", 2*time.Minute)))
		Expect(time.Since(status.LastSyncTime.Time)).To(BeNumerically("<", 30*time.Second))
		Expect(w.get(ctx, "john").Status.LastSyncTime.Time).To(BeTemporally("==", status.LastSyncTime.Time))
		Expect(meta.IsStatusConditionFalse(status.Conditions, v1alpha1.OvercommittedCondition)).To(BeTrue())

		By("declaring resyncs that need more than half of the limit")
		for i := range 3 {
			w.declare(ctx, fmt.Sprintf("more-%d", i), `{}`)
			w.declare(ctx, fmt.Sprintf("watched-%d", i), `{"driftPolicy":"Report"}`) // which is never sent again
		}
		w.editOrganization(ctx, "default", `{"spec":{"resyncInterval":"5m"}}`)
		overcommitted := func() string {
			c := meta.FindStatusCondition(w.getOrganization(ctx, "default").Status.Conditions, v1alpha1.OvercommittedCondition)
			return string(c.Status) + " " + c.Reason + ": " + c.Message
		}
		Eventually(overcommitted).Should(Equal("True TooManyResyncs: To send every contact again when its resync interval has passed needs 1.6 requests in 1m0s, of 3 that there are: use longer intervals, or 0s"))
	})

	It("tells its contacts and in its status when another comes back to its key, or goes again", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.expectOrganization(ctx, "default", "1/1 Ready=True:Usable")
		w.editOrganization(ctx, "default", `{"spec":{"suspend":true}}`)
		w.createOrganization(ctx, "later", w.key)
		w.expectOrganization(ctx, "later", "1/1 Ready=True:Usable")
		w.declare(ctx, "john", `{"organizationRef":{"name":"later"}}`)
		w.expectSynced(ctx, "john", 1)

		By("coming back, with nobody else to look")
		w.editOrganization(ctx, "default", `{"spec":{"suspend":false}}`)
		w.expectOrganization(ctx, "later", "1/1 Ready=False:DuplicateKey Stalled=True:DuplicateKey")
		w.edit(ctx, "john", `{"spec":{"name":"Johnny"}}`)
		w.expectSummary(ctx, "john", "2/2 Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid")

		By("going again")
		w.editOrganization(ctx, "default", `{"spec":{"suspend":true}}`)
		w.expectSynced(ctx, "john", 2)
		w.expectOrganization(ctx, "later", "1/1 Ready=True:Usable")
		w.expectNoMore(2)
	})
})
