package controller

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientrest "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

var _ = Describe("Bad luck", func() {
	It("with a kept connection that OpenCX closes costs a request, and no backoff", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 100, Window: time.Minute})
		w.declare(ctx, "jane", `{"name":"1"}`)
		w.expectSynced(ctx, "jane", 1)
		w.simulator.InjectNext(1, opencxtest.Answer{Break: opencxtest.Reset})
		w.edit(ctx, "jane", `{"spec":{"name":"2"}}`)
		w.expectSynced(ctx, "jane", 2)
		Expect(w.journal()).To(Equal([]string{
			`200 jane {"contact":{"name":"1"}}`, `0 jane {"contact":{"name":"2"}}`, `200 jane {"contact":{"name":"2"}}`,
		}))
		Expect(w.reasonsOfEvents(ctx)).NotTo(ContainElement(v1alpha1.UnreachableReason))

		By("which a new connection that it closes does")
		w.stop()
		w.startOperator()
		w.simulator.InjectNext(1, opencxtest.Answer{Break: opencxtest.Reset})
		w.edit(ctx, "jane", `{"spec":{"name":"3"}}`)
		w.expectSynced(ctx, "jane", 3)
		Eventually(func() []string { return w.reasonsOfEvents(ctx) }).Should(ContainElement(v1alpha1.UnreachableReason))
		w.expectNoMore(5)
	})

	It("with an OpenCX that is busy, and says for how long, silences the organization", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 100, Window: time.Minute})
		busy := opencxtest.Failure(503, "busy")
		busy.Header["Retry-After"] = "3"
		w.simulator.InjectNext(1, busy)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:ServerError Reconciling=True:ServerError")
		w.declare(ctx, "john", `{"name":"John"}`)
		w.expectSynced(ctx, "john", 1)
		w.expectSynced(ctx, "jane", 1)
		requests := w.simulator.Journal()
		Expect(requests).To(HaveLen(3))
		Expect(requests[1].Time.Sub(requests[0].AnsweredAt)).To(BeNumerically(">=", 3*time.Second))
	})

	It("with neighbours whose keys are bogus does not hold up an organization that was accepted long ago", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: time.Second})
		late := secret("ocx_live_")
		w.simulator.SetKeys(w.key, late)
		w.createOrganization(ctx, "late", late) // since the operator has started
		w.declare(ctx, "jane", `{"organizationRef":{"name":"late"}}`)
		w.expectSynced(ctx, "jane", 1)
		Eventually(w.metrics).ShouldNot(ContainSubstring("opencx_budget_limit")) // its account is forgotten
		release := w.simulator.Hold()
		defer release()
		for i := range 3 { // the most that one namespace may have of the shared tenth
			name := contactName("bogus", i)
			w.createOrganization(ctx, name, secret("ocx_bogus_"))
			w.declare(ctx, name, fmt.Sprintf(`{"organizationRef":{"name":%q}}`, name))
		}
		Eventually(w.journal).Should(HaveLen(4))
		w.edit(ctx, "jane", `{"spec":{"name":"Jane"}}`)
		Eventually(w.journal, 5*time.Second).Should(HaveLen(5))
	})

	It("with the ConfigMap of the reservations between two processes exceeds no limit", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: 4 * time.Second})
		for i := range 8 { // two are kept for edits
			w.declare(ctx, contactName("before", i), `{}`)
		}
		for i := range 8 {
			w.expectSynced(ctx, contactName("before", i), 1)
		}
		w.stop()
		Expect(k8s.Delete(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "opencx-operator-budget"}})).To(Succeed())
		w.startOperator()
		for i := range 10 {
			w.declare(ctx, contactName("after", i), `{}`)
		}
		for i := range 10 {
			Eventually(func() string { return w.summary(ctx, contactName("after", i)) }, time.Minute).Should(Equal("1/1 Ready=True:Synced"))
		}
		w.expectNoMore(18)
		Expect(w.journal()).To(HaveEach(HavePrefix("200 ")))
	})

	It("in reading a contact passes the slot that was granted to it on", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 1, Window: 2 * time.Second})
		w.stop()
		var fails atomic.Bool
		w.newClient = func(config *clientrest.Config, options client.Options) (client.Client, error) {
			direct, err := client.NewWithWatch(config, options)
			return interceptor.NewClient(direct, interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
					if fails.Load() && key.Name == "unreadable" {
						return errors.New("the cache is away")
					}
					return c.Get(ctx, key, object, opts...)
				},
			}), err
		}
		w.startOperator()
		w.declare(ctx, "first", `{}`)
		w.expectSynced(ctx, "first", 1)
		w.declare(ctx, "unreadable", `{}`)
		Eventually(w.metrics).Should(ContainSubstring(`opencx_budget_waiting{class="sync",organization="` + w.namespace + `/default"} 1`))
		fails.Store(true)
		w.declare(ctx, "next", `{}`)
		w.expectSynced(ctx, "next", 1)
		fails.Store(false)
		Eventually(func() string { return w.summary(ctx, "unreadable") }, 2*maxRetry).Should(Equal("1/1 Ready=True:Synced"))
		w.expectNoMore(3)
	})
})

func contactName(prefix string, i int) string { return prefix + "-" + string(rune('a'+i)) }

// reasonsOfEvents are those of all events in the world's namespace.
func (w *world) reasonsOfEvents(ctx context.Context) (reasons []string) {
	GinkgoHelper()
	var events eventsv1.EventList
	Expect(k8s.List(ctx, &events, client.InNamespace(w.namespace))).To(Succeed())
	for _, event := range events.Items {
		reasons = append(reasons, event.Reason)
	}
	return reasons
}

// After an outage of the API server, however long, a contact is looked at in time.
func TestNobodyWaitsForLongToBeLookedAtAgain(t *testing.T) {
	limiter := retryLimiter()
	for i := range 1000 {
		if pause := limiter.When(reconcile.Request{}); pause > maxRetry {
			t.Fatalf("%s after failure %d, want at most %s", pause, i+1, maxRetry)
		}
	}
}

// controller-runtime gives workers 30 s to end.
func TestARequestAndItsStatusEndBeforeAStopDoes(t *testing.T) {
	if longest := 2*statusTimeout + opencx.CallTimeout; longest >= 30*time.Second {
		t.Errorf("they may take %s", longest)
	}
}
