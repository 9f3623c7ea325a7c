package controller

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// Each spec of this file is about a request that was once missing, late or one too
// many.

var _ = Describe("After a restart", func() {
	DescribeTable("what OpenCX refused is sent at once when it is corrected",
		func(ctx SpecContext, refused opencxtest.Answer, reason string, correct func(ctx context.Context, w *world), body string) {
			w := newWorld(ctx, budget.DefaultLimit)
			w.put(ctx, "jane", map[string]string{"phone": "x"})
			w.simulator.InjectContact("jane", refused)
			w.declare(ctx, "jane", phoneFromJane)
			w.expectSummary(ctx, "jane", fmt.Sprintf("1/1 Ready=False:%[1]s Stalled=True:%[1]s", reason))
			w.stop()
			w.startOperator()
			w.expectNoMore(1)
			Expect(time.Until(w.get(ctx, "jane").Status.NextAttemptTime.Time)).To(BeNumerically(">", 45*time.Second))
			w.simulator.ClearFaults()
			correct(ctx, w)
			corrected := time.Now()
			w.expectSynced(ctx, "jane", 1)
			w.expectNoMore(2)
			Expect(w.journal()).To(Equal([]string{fmt.Sprintf(`%d jane {"contact":{"phone":"x"}}`, refused.Status), "200 jane " + body}))
			Expect(w.simulator.Journal()[1].Time.Sub(corrected)).To(BeNumerically("<", 5*time.Second))
		},
		Entry("in the Secret with its value", opencxtest.Failure(422, "phone is malformed"), "Rejected", func(ctx context.Context, w *world) {
			w.put(ctx, "jane", map[string]string{"phone": "+12025550123"})
		}, `{"contact":{"phone":"+12025550123"}}`),
		Entry("in its key, after a 401", opencxtest.Failure(401, "Unauthorized"), "Unauthorized", replaceKey, `{"contact":{"phone":"x"}}`),
		Entry("in its key, after a 403", opencxtest.Failure(403, "Forbidden"), "Forbidden", replaceKey, `{"contact":{"phone":"x"}}`),
	)

	It("a change that was accepted, and taken back before anybody could note that, is taken back in OpenCX", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"A"}`)
		w.expectSynced(ctx, "jane", 1)
		w.stop()

		By("losing the process after OpenCX has accepted, and before the status says so")
		var writes atomic.Int32
		w.newClient = refuse(func(client.Object) bool { return writes.Add(1) > 1 }) // the first is the doubt
		w.startOperator()
		w.edit(ctx, "jane", `{"spec":{"name":"B"}}`)
		Eventually(writes.Load).Should(BeNumerically(">", 1))
		w.stop()
		Expect(w.accepted()).To(Equal([]string{`jane {"contact":{"name":"A"}}`, `jane {"contact":{"name":"B"}}`}))

		By("declaring again what it was")
		w.edit(ctx, "jane", `{"spec":{"name":"A"}}`)
		w.newClient = nil
		w.startOperator()
		untrue := w.watchTruth(ctx)
		w.expectSynced(ctx, "jane", 3)
		w.expectNoMore(3)
		Expect(w.journal()[2]).To(Equal(`200 jane {"contact":{"name":"A"}}`))
		Expect(w.fields("jane")).To(HaveKeyWithValue("name", "A"))
		Expect(untrue()).To(BeZero()) // the doubt had been stored
	})
})

// replaceKey gives the organization called default another API key.
func replaceKey(ctx context.Context, w *world) {
	GinkgoHelper()
	w.key = secret("ocx_live_")
	w.simulator.SetKeys(w.key)
	w.put(ctx, "default-api-key", map[string]string{"apiKey": w.key})
}

// fields are what OpenCX has of a contact.
func (w *world) fields(id string) map[string]any {
	contact, _ := w.simulator.Contact(id)
	return contact.Fields
}

var _ = Describe("A change that OpenCX carried out without saying so", func() {
	DescribeTable("is taken back in OpenCX when the manifest takes it back",
		func(ctx SpecContext, how opencxtest.Break) {
			w := newWorld(ctx, budget.DefaultLimit)
			w.declare(ctx, "jane", `{"name":"A"}`)
			w.expectSynced(ctx, "jane", 1)
			untrue := w.watchTruth(ctx)
			w.simulator.InjectNext(1, opencxtest.Answer{Break: how, Applied: true})
			w.edit(ctx, "jane", `{"spec":{"name":"B"}}`)
			Eventually(func() any { return w.fields("jane")["name"] }).Should(Equal("B"))
			w.edit(ctx, "jane", `{"spec":{"name":"A"}}`)
			w.expectSynced(ctx, "jane", 3)
			w.expectNoMore(3)
			Expect(w.journal()).To(Equal([]string{
				`200 jane {"contact":{"name":"A"}}`, `0 jane {"contact":{"name":"B"}}`, `200 jane {"contact":{"name":"A"}}`}))
			Expect(w.fields("jane")).To(HaveKeyWithValue("name", "A"))
			requests := w.simulator.Journal()
			// Not while the one before could still be on its way.
			Expect(requests[2].Time.Sub(requests[1].Time)).To(BeNumerically("~", opencx.CallTimeout, time.Second))
			Expect(untrue()).To(BeNumerically("<=", promptly))
		},
		Entry("and the connection is reset", opencxtest.Reset),
		Entry("and no answer comes in time", opencxtest.Hang),
	)
})

var _ = Describe("A resync that fails", func() {
	It("is not due again before its backoff is over", func(ctx SpecContext) {
		quicken(3 * time.Second)
		DeferCleanup(quicken, time.Second)
		w := newWorld(ctx, budget.DefaultLimit)
		w.resyncEvery(2 * time.Second)
		w.declare(ctx, "jane", `{}`)
		w.expectSynced(ctx, "jane", 1)
		w.simulator.InjectNext(2, opencxtest.Failure(500, "boom"))
		Eventually(func() int32 { return w.get(ctx, "jane").Status.ConsecutiveFailures }).Should(BeEquivalentTo(1))
		sent := len(w.journal())

		By("looking at it meanwhile")
		w.edit(ctx, "jane", `{"spec":{"suspend":false}}`)
		w.expectSynced(ctx, "jane", 2)
		Expect(w.journal()).To(HaveLen(sent))
		Eventually(w.journal).Should(HaveLen(sent + 2))
		requests := w.simulator.Journal()[sent-1:]
		// Status keeps times in whole seconds.
		Expect(requests[1].Time.Sub(requests[0].AnsweredAt)).To(BeNumerically("~", 2800*time.Millisecond, time.Second))
		Expect(requests[2].Time.Sub(requests[1].AnsweredAt)).To(BeNumerically("~", 5800*time.Millisecond, time.Second))
		w.expectSummary(ctx, "jane", "2/2 Ready=True:Synced")
	})
})

var _ = Describe("A contactID", func() {
	It("of two contacts is never said to be in sync by both, also while the key is rotated", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		var mu sync.Mutex
		ready, both := map[string]bool{}, []string{}
		stop := w.follow(ctx, func(contact *v1alpha1.OpenCXContact) {
			mu.Lock()
			defer mu.Unlock()
			ready[contact.Name] = contact.DeletionTimestamp.IsZero() && stateOf(&contact.Status).isReady()
			if ready["older"] && ready["younger"] {
				both = append(both, contact.Name+" "+contact.ResourceVersion)
			}
		})
		DeferCleanup(stop)
		older := w.claim(ctx, w.namespace, "older", "jane", "default")
		w.claim(ctx, w.namespace, "younger", "JANE", "default")
		w.expectSynced(ctx, "older", 1)
		w.expectSummary(ctx, "younger", isDuplicate)
		untrue := w.watchTruth(ctx)

		want := []string{`jane {"contact":{"name":"older"}}`}
		for i := 2; i < 6; i++ {
			previous := w.key
			replaceKey(ctx, w)
			w.simulator.SetKeys(previous, w.key)
			w.edit(ctx, "younger", fmt.Sprintf(`{"spec":{"name":"younger %d"}}`, i))
			w.edit(ctx, "older", fmt.Sprintf(`{"spec":{"name":"older %d"}}`, i))
			w.expectSynced(ctx, "older", i)
			w.expectSummary(ctx, "younger", fmt.Sprintf("%d/%[1]d Ready=False:Duplicate Stalled=True:Duplicate", i))
			want = append(want, fmt.Sprintf(`jane {"contact":{"name":"older %d"}}`, i))
		}

		By("rotating to a key that OpenCX refuses, and back")
		w.simulator.SetKeys("another")
		w.put(ctx, "default-api-key", map[string]string{"apiKey": secret("ocx_live_")})
		w.edit(ctx, "older", `{"spec":{"name":"older 6"}}`)
		w.expectSummary(ctx, "older", "6/6 Ready=False:Unauthorized Stalled=True:Unauthorized")
		replaceKey(ctx, w)
		w.expectSynced(ctx, "older", 6)
		Expect(untrue()).To(BeNumerically("<=", promptly))

		By("rotating it while the contactID passes on")
		replaceKey(ctx, w)
		Expect(k8s.Delete(ctx, older)).To(Succeed())
		w.expectSynced(ctx, "younger", 5)
		want = append(want, `jane {"contact":{"name":"older 6"}}`, `JANE {"contact":{"name":"younger 5"}}`)
		Consistently(w.accepted).Should(Equal(want))
		stop()
		Expect(both).To(BeEmpty())
	})

	It("of a manifest that is renamed has what the new one declares, which is in sync only then", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		before := w.claim(ctx, w.namespace, "before", "jane", "default")
		w.expectSynced(ctx, "before", 1)
		told := w.followReady(ctx)
		release := w.simulator.Hold()
		defer release()
		w.edit(ctx, "before", `{"spec":{"name":"last but one"}}`)
		Eventually(w.simulator.Journal).Should(HaveLen(2))
		w.claim(ctx, w.namespace, "after", "jane", "default")
		w.expectSummary(ctx, "after", isDuplicate)
		Expect(k8s.Delete(ctx, before)).To(Succeed())
		w.edit(ctx, "after", `{"spec":{"name":"last"}}`) // has it looked at
		Consistently(w.simulator.Journal, 2*time.Second).Should(HaveLen(2))
		Expect(w.summary(ctx, "after")).NotTo(ContainSubstring("Ready=True"))
		release()
		w.expectSynced(ctx, "after", 2)
		w.expectNoMore(3)
		Expect(w.journal()).To(Equal([]string{
			sentName("jane", "before"), `200 jane {"contact":{"name":"last but one"}}`, sentName("jane", "last")}))
		Expect(w.fields("jane")).To(HaveKeyWithValue("name", "last"))
		Expect(told("after")[0].reason).To(Equal("Duplicate"))
		Expect(told("after")[len(told("after"))-1]).To(Equal(readyTold{"Synced", 3}))
	})

	It("stays with a contact that is deleted and applied again at once, while another namespace waits for it", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		other := w.addNamespace(ctx)
		owner := w.claim(ctx, other, "owner", "jane", "default")
		w.claim(ctx, w.namespace, "waits", "jane", "default")
		w.expectSummary(ctx, "waits", isDuplicate)
		for i := range 3 {
			Expect(k8s.Delete(ctx, owner)).To(Succeed())
			owner.ObjectMeta = metav1.ObjectMeta{Namespace: other, Name: "owner"}
			owner.Status = v1alpha1.OpenCXContactStatus{}
			Expect(k8s.Create(ctx, owner)).To(Succeed())
			Eventually(w.journal).Should(HaveLen(i + 2))
		}
		w.expectNoMore(4)
		Expect(w.journal()).To(HaveEach(sentName("jane", "owner")))
		w.expectSummary(ctx, "waits", isDuplicate)
	})

	DescribeTable("stays with whom it passed to when the one that left comes back",
		func(ctx SpecContext, away string, left []string) {
			w := newWorld(ctx, budget.DefaultLimit)
			acme := secret("ocx_live_")
			w.simulator.SetKeys(w.key, acme)
			w.createOrganization(ctx, "acme", acme)
			w.createOrganization(ctx, "suspended", secret("ocx_live_"), func(o *v1alpha1.OpenCXOrganization) { o.Spec.Suspend = true })
			w.claim(ctx, w.namespace, "leaves", "jane", "default")
			w.claim(ctx, w.namespace, "stays", "jane", "default")
			w.expectSummary(ctx, "stays", isDuplicate)
			w.edit(ctx, "leaves", `{"spec":{"organizationRef":{"name":"`+away+`"}}}`)
			w.expectSynced(ctx, "stays", 1)
			Eventually(func() int64 { return w.get(ctx, "leaves").Status.ObservedGeneration }).Should(BeEquivalentTo(2))

			w.edit(ctx, "leaves", `{"spec":{"organizationRef":{"name":"default"}}}`)
			w.expectSummary(ctx, "leaves", "3/3 Ready=False:Duplicate Stalled=True:Duplicate")
			w.expectNoMore(2 + len(left))
			w.expectSynced(ctx, "stays", 1)
			Expect(w.journal()).To(ConsistOf(append(left, sentName("jane", "leaves"), sentName("jane", "stays"))))
		},
		Entry("from where it was accepted", "acme", []string{sentName("jane", "leaves")}),
		Entry("from where nothing is sent", "suspended", nil),
		Entry("from what does not exist", "missing", nil),
	)

	It("stays with whom it passed to when one that was shut out may use the organization again", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		other := w.addNamespace(ctx)
		elsewhere := *w // the same world, seen from another namespace
		elsewhere.namespace = other
		w.claim(ctx, other, "leaves", "jane", "default")
		w.claim(ctx, w.namespace, "stays", "jane", "default")
		w.expectSummary(ctx, "stays", isDuplicate)
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":null}}`)
		elsewhere.expectSummary(ctx, "leaves", "1/1 Ready=False:OrganizationNotFound Reconciling=True:OrganizationNotFound")
		w.stop()
		w.startOperator() // so that nobody waits for two minutes whether it comes back
		w.expectSynced(ctx, "stays", 1)
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":{"from":"All"}}}`)
		elsewhere.expectSummary(ctx, "leaves", isDuplicate)
		w.expectSynced(ctx, "stays", 1)
		w.expectNoMore(2)
		Expect(w.journal()).To(Equal([]string{sentName("jane", "leaves"), sentName("jane", "stays")}))
	})
})
