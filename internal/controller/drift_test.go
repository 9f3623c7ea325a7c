package controller

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// lookEvery restarts the operator so that it looks for drift that often.
func (w *world) lookEvery(interval time.Duration) {
	GinkgoHelper()
	w.stop()
	w.drift = drift.Timing{Interval: interval, Overlap: 2 * time.Second, Settling: 50 * time.Millisecond}
	w.startOperator()
}

// requests counts those of a method.
func (w *world) requests(method string) func() int {
	return func() (n int) {
		for _, r := range w.simulator.Journal() {
			if r.Method == method {
				n++
			}
		}
		return n
	}
}

// patches lists the PATCH requests that arrived, as "status id body".
func (w *world) patches() []string {
	lines := []string{}
	for i, r := range w.simulator.Journal() {
		if r.Method == http.MethodPatch {
			lines = append(lines, w.journal()[i])
		}
	}
	return lines
}

// change makes an edit of one field in OpenCX.
func (w *world) editInOpenCX(id, field string, value any) {
	GinkgoHelper()
	Expect(w.simulator.Edit(id, func(c *opencxtest.Contact) { c.Fields[field] = value })).To(BeTrue())
}

// drifted shows the condition Drifted of a contact.
func (w *world) drifted(ctx SpecContext, name string) func() string {
	return func() string {
		c := meta.FindStatusCondition(w.get(ctx, name).Status.Conditions, v1alpha1.DriftedCondition)
		if c == nil {
			return ""
		}
		return fmt.Sprintf("%s:%s %s", c.Status, c.Reason, c.Message)
	}
}

const isVerified = "False:Verified OpenCX has what is declared"

var _ = Describe("Drift", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx, budget.Limit{Requests: 100, Window: time.Second}) })

	It("is found and repaired with one PATCH, and nobody else is written to", func(ctx SpecContext) {
		w.lookEvery(time.Second)
		for i := range 5 {
			w.declare(ctx, fmt.Sprintf("contact-%d", i), `{"email":"jane@example.com","customData":{"plan":"pro"}}`)
		}
		for i := range 5 {
			Eventually(w.drifted(ctx, fmt.Sprintf("contact-%d", i))).Should(Equal(isVerified))
		}
		Expect(w.requests(http.MethodPatch)()).To(Equal(5))
		before := w.get(ctx, "contact-1")
		w.editInOpenCX("contact-3", "email", "somebody@example.com")
		Eventually(w.requests(http.MethodPatch)).Should(Equal(6))
		Expect(w.patches()[5]).To(Equal(`200 contact-3 {"contact":{"email":"jane@example.com","custom_data":{"plan":"pro"}}}`))
		Eventually(w.drifted(ctx, "contact-3")).Should(Equal(isVerified))
		repaired := w.get(ctx, "contact-3").Status
		Expect(repaired.ConsecutiveRepairs).To(BeEquivalentTo(1))
		Expect(repaired.LastRepairTime).NotTo(BeNil())
		Expect(repaired.DriftedFields).To(BeEmpty())
		Expect(w.get(ctx, "contact-1").ResourceVersion).To(Equal(before.ResourceVersion))
		Expect(logs.String()).To(ContainSubstring(`"contactID":"contact-3","fields":["email"]`))
		Expect(w.requests(http.MethodPatch)()).To(Equal(6))
	})

	It("costs one request in an interval while nothing changes, and no write", func(ctx SpecContext) {
		w.lookEvery(time.Second)
		for i := range 3 {
			w.declare(ctx, fmt.Sprintf("contact-%d", i), `{"name":"n"}`)
		}
		for i := range 3 {
			Eventually(w.drifted(ctx, fmt.Sprintf("contact-%d", i))).Should(Equal(isVerified))
		}
		versions := func() (all []string) {
			for i := range 3 {
				all = append(all, w.get(ctx, fmt.Sprintf("contact-%d", i)).ResourceVersion)
			}
			return all
		}
		before, lists := versions(), w.requests(http.MethodGet)()
		for begun := w.sweptAt(ctx); ; {
			if swept := w.sweptAt(ctx); swept.Sub(begun) >= 5*time.Second {
				Expect(w.requests(http.MethodGet)() - lists).To(BeNumerically("~", int(swept.Sub(begun)/time.Second), 1))
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		Expect(versions()).To(Equal(before))
		Expect(w.patches()).To(HaveLen(3))
	})

	It("is reported, and not corrected before the policy says so", func(ctx SpecContext) {
		w.lookEvery(time.Second)
		w.declare(ctx, "jane", `{"name":"Jane","driftPolicy":"Correct"}`)
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
		w.edit(ctx, "jane", `{"spec":{"driftPolicy":"Report"}}`)
		w.expectSynced(ctx, "jane", 2)
		w.editInOpenCX("jane", "name", "Joan")
		Eventually(w.drifted(ctx, "jane")).Should(Equal("True:FieldsDiffer OpenCX has something else than is declared in name; nothing is sent because of that while spec.driftPolicy is Report"))
		w.expectSynced(ctx, "jane", 2)
		Expect(w.get(ctx, "jane").Status.DriftedFields).To(Equal([]string{"name"}))
		Expect(w.patches()).To(HaveLen(1))
		w.edit(ctx, "jane", `{"spec":{"driftPolicy":"Correct"}}`)
		Eventually(w.patches).Should(HaveLen(2))
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
	})

	It("is not looked for where it is ignored, and the contact is sent once when it no longer is", func(ctx SpecContext) {
		w.lookEvery(time.Second)
		w.declare(ctx, "jane", `{"name":"Jane","driftPolicy":"Ignore"}`)
		w.declare(ctx, "john", `{"name":"John"}`) // for whom there are sweeps
		Eventually(w.drifted(ctx, "john")).Should(Equal(isVerified))
		w.editInOpenCX("jane", "name", "Joan")
		verified := w.get(ctx, "john").Status.LastVerifiedTime.Time
		Eventually(func() time.Time { // a sweep has come by
			w.editInOpenCX("john", "custom_data", map[string]any{"seen": "by a sweep"})
			return w.get(ctx, "john").Status.LastVerifiedTime.Time
		}, 20*time.Second, 500*time.Millisecond).Should(BeTemporally(">", verified))
		Expect(w.drifted(ctx, "jane")()).To(HavePrefix("Unknown:Ignored"))
		Expect(w.patches()).To(HaveLen(2))
		w.edit(ctx, "jane", `{"spec":{"driftPolicy":"Correct"}}`)
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
		Expect(w.patches()).To(HaveLen(3))
	})

	It("is not looked for with a key that may not list, until that changes", func(ctx SpecContext) {
		w.simulator.SetWriteOnlyKeys(w.key)
		w.lookEvery(time.Second)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		driftChecked := func() string {
			o := w.getOrganization(ctx, "default")
			if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.DriftCheckedCondition); c != nil {
				return string(c.Status) + ":" + c.Reason
			}
			return ""
		}
		Eventually(driftChecked).Should(Equal("False:ListForbidden"))
		w.expectSynced(ctx, "jane", 1)
		lists := w.requests(http.MethodGet)()
		Expect(lists).To(Equal(1))
		w.edit(ctx, "jane", `{"spec":{"name":"Joan"}}`)
		w.expectSynced(ctx, "jane", 2)
		Consistently(w.requests(http.MethodGet), 3*time.Second).Should(Equal(1))
		another := secret("ocx_live_")
		w.simulator.SetKeys(w.key, another)
		w.put(ctx, "default-api-key", map[string]string{"apiKey": another})
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
		Eventually(driftChecked).Should(Equal("True:Swept"))
	})

	It("is known of contacts that are introduced before anything of them is sent", func(ctx SpecContext) {
		w.simulator.AddContacts("same", "other", "overridden")
		w.editInOpenCX("same", "email", "Jane@Example.com")
		w.editInOpenCX("same", "phone", "+1 (202) 555-0123")
		w.editInOpenCX("other", "name", "Joan")
		w.lookEvery(time.Minute)
		w.declare(ctx, "same", `{"driftPolicy":"Report","email":"jane@example.com","phone":"+12025550123"}`)
		w.declare(ctx, "other", `{"driftPolicy":"Report","name":"Jane"}`)
		w.declare(ctx, "overridden", `{"driftPolicy":"Report","httpActionOverrides":{"headers":{"X-Tenant":"acme"}}}`)
		w.expectSynced(ctx, "same", 1)
		w.expectSummary(ctx, "other", "1/1 Ready=False:Reported Stalled=True:Reported")
		w.expectSummary(ctx, "overridden", "1/1 Ready=False:NotCompared Stalled=True:NotCompared")
		Expect(w.get(ctx, "other").Status.DriftedFields).To(Equal([]string{"name"}))
		Expect(w.patches()).To(BeEmpty())
		w.edit(ctx, "same", `{"spec":{"email":"joan@example.com"}}`)
		Eventually(w.patches).Should(Equal([]string{`200 same {"contact":{"email":"joan@example.com","phone":"+12025550123"}}`}))
		w.edit(ctx, "other", `{"spec":{"driftPolicy":"Correct"}}`)
		Eventually(w.patches).Should(ContainElement(`200 other {"contact":{"name":"Jane"}}`))
		w.edit(ctx, "overridden", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		w.expectSynced(ctx, "overridden", 1)
		Expect(w.patches()).To(HaveLen(3))
	})

	It("is found when OpenCX drops what it accepted", func(ctx SpecContext) {
		w.simulator.AddContacts("jane")
		w.lookEvery(time.Second)
		w.simulator.InjectNext(1, opencxtest.Answer{Status: 200})
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		Eventually(w.patches).Should(HaveLen(2))
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
		jane, _ := w.simulator.Contact("jane")
		Expect(jane.Fields).To(HaveKeyWithValue("name", "Jane"))
	})

	It("survives a stop between what was found and the watermark", func(ctx SpecContext) {
		w.lookEvery(time.Second)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
		w.stop()
		w.editInOpenCX("jane", "name", "Joan")
		w.simulator.InjectNext(1, opencxtest.Answer{Status: 500}) // what is found is not repaired yet
		w.startOperator()
		Eventually(w.drifted(ctx, "jane")).Should(HavePrefix("True:FieldsDiffer"))
		w.stop()
		w.startOperator()
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
		Expect(slices.Equal(w.patches()[1:], []string{
			`500 jane {"contact":{"name":"Jane"}}`, `200 jane {"contact":{"name":"Jane"}}`,
		})).To(BeTrue(), "%s", w.patches())
	})

	It("of values from a Secret is found by reading that once in a sweep", func(ctx SpecContext) {
		var reads atomic.Int32
		w.wrap = func(next http.RoundTripper) http.RoundTripper {
			return roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/secrets/emails") {
					reads.Add(1)
				}
				return next.RoundTrip(r)
			})
		}
		w.put(ctx, "emails", map[string]string{"jane": secret("jane-") + "@example.com"})
		w.lookEvery(time.Second)
		const contacts = 5
		names := make([]string, contacts)
		for i := range contacts {
			names[i] = fmt.Sprintf("contact-%d", i)
			w.declare(ctx, names[i], `{"emailFrom":{"secretKeyRef":{"name":"emails","key":"jane"}}}`)
		}
		verified := func() (times []metav1.Time) {
			for _, name := range names {
				if at := w.get(ctx, name).Status.LastVerifiedTime; at != nil {
					times = append(times, *at)
				}
			}
			return times
		}
		Eventually(verified).Should(HaveLen(contacts))
		time.Sleep(3 * time.Second) // no sweep lists their own requests any more
		before := verified()
		reads.Store(0)
		sweeps := w.requests(http.MethodGet)()
		for _, name := range names {
			w.editInOpenCX(name, "name", "note")
		}
		Eventually(func() bool {
			for i, at := range verified() {
				if !at.After(before[i].Time) {
					return false
				}
			}
			return true
		}).Should(BeTrue())
		Expect(reads.Load()).To(And(BeNumerically(">=", 1), BeNumerically("<=", w.requests(http.MethodGet)()-sweeps)))
		Expect(w.patches()).To(HaveLen(contacts))
		w.editInOpenCX(names[0], "email", "somebody@example.com")
		Eventually(w.patches).Should(HaveLen(contacts + 1))
		Eventually(w.drifted(ctx, names[0])).Should(Equal(isVerified))
		Expect(w.get(ctx, names[0]).Status.ConsecutiveRepairs).To(BeEquivalentTo(1))
	})

	It("of three among a thousand costs three requests, and one for each sweep", func(ctx SpecContext) {
		const contacts = 1000
		w.lookEvery(5 * time.Second)
		for i := range contacts {
			w.declare(ctx, fmt.Sprintf("contact-%d", i), `{"name":"Jane"}`)
		}
		var list v1alpha1.OpenCXContactList
		Eventually(func() (verified int) {
			Expect(k8s.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
			for i := range list.Items {
				if list.Items[i].Status.LastVerifiedTime != nil {
					verified++
				}
			}
			return verified
		}, time.Minute).Should(Equal(contacts))
		Eventually(func() int32 { // what was sent last is listed no more
			return *w.getOrganization(ctx, "default").Status.Sweep.ContactsSeen
		}, time.Minute).Should(BeZero())
		versions := func() map[string]string {
			all := map[string]string{}
			Expect(k8s.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
			for i := range list.Items {
				all[list.Items[i].Name] = list.Items[i].ResourceVersion
			}
			return all
		}
		before, begun := versions(), time.Now()
		edited := []string{"contact-7", "contact-500", "contact-999"}
		for _, name := range edited {
			w.editInOpenCX(name, "name", "Joan")
		}
		for _, name := range edited {
			Eventually(w.drifted(ctx, name)).Should(HavePrefix("False:Repaired"))
		}
		Expect(w.patches()).To(HaveLen(contacts + 3))
		lists := 0
		journal := w.simulator.Journal()
		for i := len(journal) - 1; journal[i].Time.After(begun); i-- {
			switch journal[i].Method {
			case http.MethodPatch:
				lists = 0 // those before the repairs are counted
			case http.MethodGet:
				lists++
			}
		}
		Expect(lists).To(BeNumerically("<=", 2)) // one may have been under way
		after := versions()
		for _, name := range edited {
			delete(before, name)
			delete(after, name)
		}
		Expect(after).To(Equal(before))
	})

	It("is looked for while a manifest is edited, which that does not delay", func(ctx SpecContext) {
		w.lookEvery(time.Second)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		Eventually(w.drifted(ctx, "jane")).Should(Equal(isVerified))
		w.simulator.InjectList(1, opencxtest.Answer{Status: 200, Body: `{"items":[],"next":null}`, Delay: 5 * time.Second})
		lists := w.requests(http.MethodGet)()
		Eventually(w.requests(http.MethodGet)).Should(Equal(lists + 1))
		w.edit(ctx, "jane", `{"spec":{"name":"Joan"}}`)
		Eventually(w.patches).Should(HaveLen(2))
		journal := w.simulator.Journal()
		Expect(journal[len(journal)-2].Method).To(Equal(http.MethodGet))
		Expect(journal[len(journal)-2].Status).To(BeZero(), "the sweep was over before the edit")
	})
})

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// sweptAt is when the last sweep of the organization called default ended.
func (w *world) sweptAt(ctx SpecContext) time.Time {
	GinkgoHelper()
	sweep := w.getOrganization(ctx, "default").Status.Sweep
	if sweep == nil {
		return time.Time{}
	}
	return sweep.LastTime.Time
}
