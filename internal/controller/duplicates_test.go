package controller

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// claim declares a contact of an organization of the world's namespace, with its
// own name as what it sends. The API server notes times in seconds, so the next one
// is created in another.
func (w *world) claim(ctx context.Context, namespace, name, contactID, organization string) *v1alpha1.OpenCXContact {
	GinkgoHelper()
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	contact.Spec = v1alpha1.OpenCXContactSpec{
		ContactID: contactID, Name: &name,
		OrganizationRef: &v1alpha1.OrganizationReference{Name: organization, Namespace: w.namespace},
	}
	Expect(k8s.Create(ctx, contact)).To(Succeed())
	time.Sleep(time.Second)
	return contact
}

// sentName is the line of the journal for a contact of claim.
func sentName(contactID, name string) string {
	return fmt.Sprintf(`200 %s {"contact":{"name":%q}}`, contactID, name)
}

const isDuplicate = "1/1 Ready=False:Duplicate Stalled=True:Duplicate"

var _ = Describe("A contactID that is claimed twice", func() {
	It("stays with the older contact until that goes", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		older := w.claim(ctx, w.namespace, "older", "jane", "default")
		w.claim(ctx, w.namespace, "younger", "jane", "default")
		w.expectSynced(ctx, "older", 1)
		w.expectSummary(ctx, "younger", isDuplicate)
		Expect(w.message(ctx, "younger")).To(Equal("Another OpenCXContact owns this contactID in OpenCXOrganization " + w.namespace + "/default: delete one of the two. Nothing is sent for this one. Capitals, and hyphens of a UUID, make no difference"))
		w.expectNoMore(1)

		By("being about to go")
		finalizers := func(patch string) {
			Expect(k8s.Patch(ctx, older, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":`+patch+`}}`)))).To(Succeed())
		}
		finalizers(`["example.com/wait"]`)
		Expect(k8s.Delete(ctx, older)).To(Succeed())
		w.expectSynced(ctx, "younger", 1)
		finalizers(`null`)
		w.expectNoMore(2)
		Expect(w.journal()).To(Equal([]string{sentName("jane", "older"), sentName("jane", "younger")}))
	})

	It("is not passed to another namespace at once, which learns nothing of the owner", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		other := w.addNamespace(ctx)
		hidden := w.claim(ctx, other, "hidden", "jane", "default")
		w.claim(ctx, w.namespace, "younger", "jane", "default")
		w.expectSummary(ctx, "younger", isDuplicate)
		Expect(asJSON(w.get(ctx, "younger").Status)).NotTo(Or(ContainSubstring("hidden"), ContainSubstring(other)))
		w.expectNoMore(1)

		By("deleting the owner and applying it again")
		Expect(k8s.Delete(ctx, hidden)).To(Succeed())
		w.expectNoMore(1)
		w.expectSummary(ctx, "younger", isDuplicate)
		w.claim(ctx, other, "again", "jane", "default")
		Eventually(w.journal).Should(Equal([]string{sentName("jane", "hidden"), sentName("jane", "again")}))
		w.expectSummary(ctx, "younger", isDuplicate)
		w.expectNoMore(2)
	})

	It("is one however it is written", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		const id = "3C90c3cc-0d44-4b50-8888-8dd25736052a"
		w.claim(ctx, w.namespace, "first", id, "default")
		w.claim(ctx, w.namespace, "lower", "3c90c3cc-0d44-4b50-8888-8dd25736052a", "default")
		w.claim(ctx, w.namespace, "compact", "3C90C3CC0D444B5088888DD25736052A", "default")
		w.claim(ctx, w.namespace, "other", "3c90c3cc-0d44-4b50-8888-8dd25736052b", "default")
		w.expectSynced(ctx, "first", 1)
		w.expectSynced(ctx, "other", 1)
		w.expectSummary(ctx, "lower", isDuplicate)
		w.expectSummary(ctx, "compact", isDuplicate)
		w.expectNoMore(2)
		Expect(w.journal()).To(Equal([]string{sentName(id, "first"), sentName("3c90c3cc-0d44-4b50-8888-8dd25736052b", "other")}))
	})

	It("is not held by a suspended contact that was never accepted", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		manifest := w.manifest("squatter", `{"suspend":true}`)
		manifest.Object["spec"].(map[string]any)["contactID"] = "john"
		Expect(k8s.Create(ctx, manifest)).To(Succeed())
		w.expectSummary(ctx, "squatter", "1/1 Ready=Unknown:Suspended")
		w.claim(ctx, w.namespace, "younger", "john", "default")
		w.expectSynced(ctx, "younger", 1)
		w.expectSummary(ctx, "squatter", isDuplicate)

		By("resuming it, when the other one was accepted")
		w.edit(ctx, "squatter", `{"spec":{"suspend":false}}`)
		w.expectSummary(ctx, "squatter", "2/2 Ready=False:Duplicate Stalled=True:Duplicate")
		w.expectNoMore(1)
		Expect(w.journal()).To(Equal([]string{sentName("john", "younger")}))
	})

	It("stays with the contact that was accepted, though it is suspended and older ones come", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		acme := secret("ocx_live_")
		w.simulator.SetKeys(w.key, acme)
		w.createOrganization(ctx, "acme", acme)
		w.claim(ctx, w.namespace, "older", "jane", "acme")
		w.claim(ctx, w.namespace, "younger", "jane", "default")
		w.expectSynced(ctx, "older", 1) // it is another contact in another organization
		w.expectSynced(ctx, "younger", 1)
		w.edit(ctx, "younger", `{"spec":{"suspend":true}}`)
		w.expectSynced(ctx, "younger", 2)
		w.edit(ctx, "older", `{"spec":{"organizationRef":{"name":"default"}}}`)
		w.expectSummary(ctx, "older", "2/2 Ready=False:Duplicate Stalled=True:Duplicate")
		w.expectNoMore(2)

		By("restarting the operator")
		w.stop()
		w.startOperator()
		w.edit(ctx, "younger", `{"spec":{"suspend":false,"name":"Janet"}}`)
		w.expectSynced(ctx, "younger", 3)
		w.expectSummary(ctx, "older", "2/2 Ready=False:Duplicate Stalled=True:Duplicate")

		By("going back to where it was accepted")
		w.edit(ctx, "older", `{"spec":{"organizationRef":{"name":"acme"}}}`)
		w.expectSynced(ctx, "older", 3)
		w.expectNoMore(4)
		Expect(w.journal()).To(Equal([]string{sentName("jane", "older"), sentName("jane", "younger"), sentName("jane", "Janet"), sentName("jane", "older")}))
	})

	It("passes on when its owner moves to another organization", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		acme := secret("ocx_live_")
		w.simulator.SetKeys(w.key, acme)
		w.createOrganization(ctx, "acme", acme)
		w.claim(ctx, w.namespace, "older", "jane", "default")
		w.claim(ctx, w.namespace, "younger", "jane", "default")
		w.expectSummary(ctx, "younger", isDuplicate)
		w.edit(ctx, "older", `{"spec":{"organizationRef":{"name":"acme"}}}`)
		w.expectSynced(ctx, "older", 2)
		w.expectSynced(ctx, "younger", 1)
		w.expectNoMore(3)
	})

	It("is sent by its owner only when the other one no longer says that it was accepted", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		acme := secret("ocx_live_")
		w.simulator.SetKeys(w.key, acme)
		w.createOrganization(ctx, "acme", acme)
		w.claim(ctx, w.namespace, "older", "jane", "default")
		w.claim(ctx, w.namespace, "younger", "jane", "acme")
		w.expectSynced(ctx, "older", 1)
		w.expectSynced(ctx, "younger", 1)
		w.stop()

		By("having two that were accepted, as after a restore, and a status that cannot be written")
		var away atomic.Bool
		away.Store(true)
		w.newClient = refuse(func(contact client.Object) bool { return contact.GetName() == "younger" && away.Load() })
		w.edit(ctx, "younger", `{"spec":{"organizationRef":{"name":"default"}}}`)
		w.patchStatus(ctx, "younger", `{"status":{"organization":"`+w.namespace+`/default"}}`)
		w.edit(ctx, "older", `{"spec":{"name":"Older"}}`)
		w.startOperator()
		w.expectNoMore(2)
		away.Store(false)
		w.expectSummary(ctx, "younger", "2/2 Ready=False:Duplicate Stalled=True:Duplicate")
		Expect(w.get(ctx, "younger").Status.AppliedHash).To(BeEmpty())
		w.expectSynced(ctx, "older", 2)
		w.expectNoMore(3)
		Expect(w.journal()[2]).To(Equal(sentName("jane", "Older")))
	})

	It("has one request under way at a time, whoever sends it", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.claim(ctx, w.namespace, "first", "john", "default") // OpenCX has accepted something
		w.expectSynced(ctx, "first", 1)
		release := w.simulator.Hold()
		w.claim(ctx, w.namespace, "older", "jane", "default")
		Eventually(w.simulator.Journal).Should(HaveLen(2))
		Expect(k8s.Delete(ctx, w.contact("older"))).To(Succeed())
		w.claim(ctx, w.namespace, "younger", "JANE", "default")
		Consistently(w.simulator.Journal).Should(HaveLen(2))
		release()
		w.expectSynced(ctx, "younger", 1)
		w.expectNoMore(3)
		Expect(w.journal()[1:]).To(Equal([]string{sentName("jane", "older"), sentName("JANE", "younger")}))
	})
})
