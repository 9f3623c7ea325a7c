package controller

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

var _ = Describe("The request budget", func() {
	It("brings 250 contacts through a limit of 100 without a refusal", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 100, Window: 3 * time.Second})
		for i := range 250 {
			w.declare(ctx, fmt.Sprintf("contact-%03d", i), `{"name":"n"}`)
		}
		Eventually(w.journal).Should(HaveLen(250))
		w.expectNoMore(250)
		perContact := map[string]int{}
		for _, line := range w.journal() {
			perContact[line]++
		}
		Expect(perContact).To(HaveLen(250))
		Expect(slices.Collect(maps.Keys(perContact))).To(HaveEach(HavePrefix("200 ")))
		for i := range 250 {
			w.expectSynced(ctx, fmt.Sprintf("contact-%03d", i), 1)
		}
	})

	It("is one for each key content, wherever the key is kept", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 5, Window: time.Minute})
		first, second := secret("ocx_live_"), secret("ocx_live_")
		w.simulator.SetKeys(first, second)
		w.createKey(ctx, "first", first)
		w.createKey(ctx, "copy", first+"\n")
		w.createKey(ctx, "second", second)
		for i := range 5 {
			w.declare(ctx, fmt.Sprintf("first-%d", i), `{"apiKeySecretRef":{"name":"first"}}`)
		}
		Eventually(w.journal).Should(HaveLen(5))
		w.declare(ctx, "copy", `{"apiKeySecretRef":{"name":"copy"}}`)
		w.declare(ctx, "more", `{"apiKeySecretRef":{"name":"first"}}`)
		w.expectSummary(ctx, "copy", "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
		w.expectSummary(ctx, "more", "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
		w.declare(ctx, "second", `{"apiKeySecretRef":{"name":"second"}}`)
		w.expectSynced(ctx, "second", 1)
		w.expectNoMore(6)
	})

	It("spends a handful of requests on a revoked key, says so everywhere, and goes on when the key works", func(ctx SpecContext) {
		const contacts = 40
		w := newWorld(ctx, budget.Limit{Requests: 100, Window: 2 * time.Second})
		w.simulator.SetKeys("another")
		for i := range contacts {
			w.declare(ctx, fmt.Sprintf("contact-%02d", i), `{}`)
		}
		for i := range contacts {
			w.expectSummary(ctx, fmt.Sprintf("contact-%02d", i), "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized")
		}
		Expect(len(w.journal())).To(BeNumerically("<=", 5))
		refused := len(w.journal()) // these have a backoff of their own, of a minute
		w.simulator.SetKeys(w.key)
		accepted := func() (n int) {
			for _, line := range w.journal() {
				if strings.HasPrefix(line, "200 ") {
					n++
				}
			}
			return n
		}
		Eventually(accepted, 30*time.Second).Should(BeNumerically(">=", contacts-refused-1))
		Expect(len(w.journal())).To(BeNumerically("<=", contacts+refused+1))
	})

	It("sends what is declared when the turn comes, and nothing for what was taken back", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 1, Window: 2 * time.Second})
		w.declare(ctx, "a", `{"name":"1"}`)
		w.expectSynced(ctx, "a", 1)
		w.declare(ctx, "b", `{"name":"1"}`)
		w.expectSynced(ctx, "b", 1)
		w.edit(ctx, "b", `{"spec":{"name":"2"}}`) // first in the queue
		time.Sleep(100 * time.Millisecond)
		w.edit(ctx, "a", `{"spec":{"name":"2"}}`)
		w.edit(ctx, "a", `{"spec":{"name":"3"}}`)
		w.edit(ctx, "b", `{"spec":{"name":"1"}}`)
		w.expectSynced(ctx, "a", 3)
		w.expectSynced(ctx, "b", 3)
		w.expectNoMore(3)
		Expect(w.journal()[2]).To(Equal(`200 a {"contact":{"name":"3"}}`))
	})

	It("holds across a restart", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: 2 * time.Second})
		for i := range 10 {
			w.declare(ctx, fmt.Sprintf("before-%d", i), `{}`)
		}
		Eventually(w.journal).Should(HaveLen(10))
		w.stop()
		w.startOperator()
		for i := range 10 {
			w.declare(ctx, fmt.Sprintf("after-%d", i), `{}`)
		}
		for i := range 10 {
			w.expectSynced(ctx, fmt.Sprintf("after-%d", i), 1)
		}
		w.expectNoMore(20)
		Expect(w.journal()).To(HaveEach(HavePrefix("200 ")))
	})

	It("survives whatever happens to the ConfigMap with its reservations", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: time.Second}) // one write for each request
		stored := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "opencx-operator-budget"}}
		seed := func() string {
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(stored), stored)).To(Succeed())
			Expect(fmt.Sprint(stored.Data)).NotTo(ContainSubstring(w.key))
			return stored.Data["seed"]
		}
		w.declare(ctx, "a", `{}`)
		w.expectSynced(ctx, "a", 1)
		before := seed()
		Expect(stored.Data["reservations"]).To(ContainSubstring(`"open"`))

		By("labelling it")
		Expect(k8s.Patch(ctx, stored, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`)))).To(Succeed())
		w.declare(ctx, "b", `{}`)
		w.expectSynced(ctx, "b", 1)
		Expect(seed()).To(Equal(before))
		Expect(stored.Labels).To(HaveKeyWithValue("a", "b"))

		By("deleting it")
		Expect(k8s.Delete(ctx, stored)).To(Succeed())
		w.declare(ctx, "c", `{}`)
		w.expectSynced(ctx, "c", 1)
		Expect(seed()).To(Equal(before))

		By("filling it with what is no JSON")
		w.stop()
		Expect(k8s.Patch(ctx, stored, client.RawPatch(types.MergePatchType, []byte(`{"data":{"reservations":"x"}}`)))).To(Succeed())
		w.startOperator()
		w.declare(ctx, "d", `{}`)
		w.expectSynced(ctx, "d", 1)
		Expect(seed()).To(Equal(before))
		w.expectNoMore(4)
	})

	It("is kept by two operators that should not run at the same time", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 20, Window: time.Second})
		other := w.newOperator()
		DeferCleanup(other)
		for i := range 40 {
			w.declare(ctx, fmt.Sprintf("contact-%d", i), `{}`)
		}
		for i := range 40 {
			Eventually(func() string { return w.summary(ctx, fmt.Sprintf("contact-%d", i)) }, time.Minute).Should(ContainSubstring("Ready=True"))
		}
		Expect(w.journal()).To(HaveEach(HavePrefix("200 ")))
	})

	It("is shared by the keys of a group and all their copies, and judges each key by itself", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: 2 * time.Second})
		w.stop()
		first, second, revoked := secret("ocx_live_"), secret("ocx_live_"), secret("ocx_live_")
		w.serveOneOrganization(first, second)
		for name, key := range map[string]string{"first": first, "second": second, "revoked": revoked, "copy": second} {
			w.createKey(ctx, name, key)
		}
		for _, name := range []string{"first", "second", "revoked"} {
			member := types.NamespacedName{Namespace: w.namespace, Name: name}
			w.budgetGroups = append(w.budgetGroups[:0], append(slices.Concat(w.budgetGroups...), member))
		}
		w.startOperator()
		for i := range 10 {
			for _, key := range []string{"copy", "first", "second", "revoked"} {
				w.declare(ctx, fmt.Sprintf("%s-%d", key, i), fmt.Sprintf(`{"apiKeySecretRef":{"name":%q}}`, key))
			}
		}
		for i := range 10 {
			for _, key := range []string{"copy", "first", "second"} {
				Eventually(func() string { return w.summary(ctx, fmt.Sprintf("%s-%d", key, i)) }, time.Minute).Should(Equal("1/1 Ready=True:Synced"))
			}
			w.expectSummary(ctx, fmt.Sprintf("revoked-%d", i), "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized")
		}
		statuses := map[string]int{}
		for _, line := range w.journal() {
			statuses[line[:3]]++
		}
		Expect(statuses).To(HaveKeyWithValue("200", 30))
		Expect(statuses).NotTo(HaveKey("429"))
		Expect(statuses["401"]).To(BeNumerically("<=", 10))
	})

	It("shows in metrics, by the name of the credential alone", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: time.Minute})
		revoked := secret("ocx_live_")
		w.createKey(ctx, "revoked", revoked)
		Eventually(func() string { return w.metrics() }).Should(BeEmpty()) // nothing is declared
		for i := range 12 {
			w.declare(ctx, fmt.Sprintf("contact-%02d", i), `{}`)
			if i < 10 {
				w.expectSynced(ctx, fmt.Sprintf("contact-%02d", i), 1)
			}
		}
		for i := range 4 {
			w.declare(ctx, fmt.Sprintf("revoked-%d", i), `{"apiKeySecretRef":{"name":"revoked"}}`)
		}
		w.expectSummary(ctx, "revoked-3", "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized")
		Eventually(w.metrics).Should(And(
			ContainSubstring(`opencx_contacts{ready="False",reason="Unauthorized"} 4`),
			ContainSubstring(`opencx_contacts{ready="True",reason="Synced"} 10`),
			ContainSubstring(`opencx_contacts{ready="Unknown",reason="Waiting"} 2`),
			ContainSubstring(`opencx_budget_limit{credential="env/OPENCX_API_KEY"} 10`),
			ContainSubstring(`opencx_budget_available{credential="env/OPENCX_API_KEY"} 0`),
			ContainSubstring(`opencx_budget_waiting{class="sync",credential="env/OPENCX_API_KEY"} 2`),
			ContainSubstring(`opencx_budget_waiting{class="edit",credential="env/OPENCX_API_KEY"} 0`),
			ContainSubstring(`opencx_budget_breaker_open{credential="env/OPENCX_API_KEY"} 0`),
			ContainSubstring(fmt.Sprintf(`opencx_budget_breaker_open{credential="%s/revoked"} 1`, w.namespace)),
		))
		Expect(w.metrics()).NotTo(Or(ContainSubstring(w.key), ContainSubstring(revoked)))
	})

	It("measures how long a change takes", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 100, Window: time.Minute})
		count := func() uint64 {
			var metric dto.Metric
			Expect(syncLatency.Write(&metric)).To(Succeed())
			return metric.GetHistogram().GetSampleCount()
		}
		before := count()
		w.declare(ctx, "jane", `{}`)
		w.expectSynced(ctx, "jane", 1)
		w.edit(ctx, "jane", `{"spec":{"name":"Jane"}}`)
		w.expectSynced(ctx, "jane", 2)
		w.edit(ctx, "jane", `{"spec":{"suspend":true}}`)
		w.expectSynced(ctx, "jane", 3)
		Expect(count() - before).To(Equal(uint64(2)))
	})
})

// metrics shows what the operator that was started last counts by itself.
func (w *world) metrics() string {
	GinkgoHelper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(w.reconciler.Collector())
	families, err := registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var text bytes.Buffer
	for _, family := range families {
		_, err := expfmt.MetricFamilyToText(&text, family)
		Expect(err).NotTo(HaveOccurred())
	}
	return text.String()
}

// serveOneOrganization replaces the world's simulator by one in which keys share
// the limit. It must be called while no operator runs.
func (w *world) serveOneOrganization(keys ...string) {
	GinkgoHelper()
	w.simulator = opencxtest.New(opencxtest.Options{
		Keys: keys, AcceptAnyContact: true, Limit: w.limit.Requests, Window: w.limit.Window, OneOrganization: true,
	})
	server := w.simulator.StartHTTP()
	DeferCleanup(server.Close)
	w.url = server.URL
}
