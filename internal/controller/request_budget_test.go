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
	gomegatypes "github.com/onsi/gomega/types"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
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

	It("is one for each organization", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 5, Window: time.Minute})
		acme := secret("ocx_live_")
		w.simulator.SetKeys(w.key, acme)
		w.createOrganization(ctx, "acme", acme)
		for i := range 4 { // the fifth is kept for edits
			w.declare(ctx, fmt.Sprintf("default-%d", i), `{}`)
		}
		Eventually(w.journal).Should(HaveLen(4))
		w.declare(ctx, "more", `{}`)
		w.expectSummary(ctx, "more", "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
		w.declare(ctx, "jane", `{"organizationRef":{"name":"acme"}}`)
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(5)
		Expect(w.simulator.Journal()[4].Key).To(Equal(acme))
	})

	It("is used up to the share of this instance", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 4, Window: time.Minute})
		w.stop()
		w.share = 0.5
		w.startOperator()
		w.declare(ctx, "a", `{}`)
		w.expectSynced(ctx, "a", 1)
		w.declare(ctx, "b", `{}`)
		w.expectSynced(ctx, "b", 1)
		w.declare(ctx, "c", `{}`)
		w.expectSummary(ctx, "c", "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
		w.expectNoMore(2)
	})

	It("may be lowered by an organization, and not raised", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 5, Window: time.Minute})
		low, high := secret("ocx_live_"), secret("ocx_live_")
		w.simulator.SetKeys(w.key, low, high)
		for name, tt := range map[string]struct {
			key              string
			declared, atOnce int
		}{"low": {low, 2, 2}, "high": {high, 50, 4}} { // of five, one is kept for edits
			w.createOrganization(ctx, name, tt.key, func(o *v1alpha1.OpenCXOrganization) {
				o.Spec.RateLimit = &v1alpha1.RateLimit{Requests: int32(tt.declared), Window: metav1.Duration{Duration: time.Minute}}
			})
			for i := range tt.atOnce + 1 {
				contact := fmt.Sprintf("%s-%d", name, i)
				w.declare(ctx, contact, fmt.Sprintf(`{"organizationRef":{"name":%q}}`, name))
				if i < tt.atOnce {
					w.expectSynced(ctx, contact, 1)
				} else {
					w.expectSummary(ctx, contact, "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
				}
			}
		}
		w.expectNoMore(6)
		Eventually(func() string { return w.organizationMessage(ctx, "high") }).Should(HaveSuffix(
			"; spec.rateLimit would allow more than the operator's --opencx-rate-limit of 5/1m0s, which applies: at most 5 in 1m0s are within it"))
	})

	It("spends a handful of requests on a revoked key, says so everywhere, and goes on when the key works", func(ctx SpecContext) {
		const contacts = 40
		w := newWorld(ctx, budget.Limit{Requests: 100, Window: time.Minute})
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
		Eventually(accepted, time.Minute).Should(BeNumerically(">=", contacts-refused-1))
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
		expectReservedFor := func(name string) {
			GinkgoHelper()
			Eventually(func(g Gomega) { // it is written while the request is under way
				g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(stored), stored)).To(Succeed())
				g.Expect(stored.Data["reservations"]).To(And(ContainSubstring(`"`+name+`":{`), ContainSubstring(`"open"`)))
			}).Should(Succeed())
			Expect(fmt.Sprint(stored.Data)).NotTo(ContainSubstring(w.key))
		}
		expectReserved := func() { GinkgoHelper(); expectReservedFor(w.namespace + "/default") }
		w.declare(ctx, "a", `{}`)
		w.expectSynced(ctx, "a", 1)
		expectReservedFor("") // with all whose key was never accepted

		By("labelling it")
		Expect(k8s.Patch(ctx, stored, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`)))).To(Succeed())
		w.declare(ctx, "b", `{}`)
		w.expectSynced(ctx, "b", 1)
		expectReserved()
		Expect(stored.Labels).To(HaveKeyWithValue("a", "b"))

		By("deleting it")
		Expect(k8s.Delete(ctx, stored)).To(Succeed())
		w.declare(ctx, "c", `{}`)
		w.expectSynced(ctx, "c", 1)
		expectReserved()

		By("filling it with what is no JSON")
		w.stop()
		Expect(k8s.Patch(ctx, stored, client.RawPatch(types.MergePatchType, []byte(`{"data":{"reservations":"x"}}`)))).To(Succeed())
		w.startOperator()
		w.declare(ctx, "d", `{}`)
		w.expectSynced(ctx, "d", 1)
		expectReserved()
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

	It("shows in metrics, by the name of the organization alone", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: time.Minute})
		revoked := secret("ocx_live_")
		w.createOrganization(ctx, "revoked", revoked)
		Eventually(w.metrics).Should(And(
			ContainSubstring("opencx_operator_leader 1"),
			Not(Or(ContainSubstring("opencx_contacts"), ContainSubstring("opencx_budget"))), // nothing is declared
		))
		for i := range 12 {
			w.declare(ctx, fmt.Sprintf("contact-%02d", i), `{}`)
			if i < 8 { // two are kept for edits
				w.expectSynced(ctx, fmt.Sprintf("contact-%02d", i), 1)
			}
		}
		for i := range 4 {
			w.declare(ctx, fmt.Sprintf("revoked-%d", i), `{"organizationRef":{"name":"revoked"}}`)
		}
		w.declare(ctx, "lost", `{"organizationRef":{"name":"invented"}}`)
		w.expectSummary(ctx, "revoked-3", "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized")
		line := func(format string) gomegatypes.GomegaMatcher {
			return ContainSubstring(strings.ReplaceAll(format, "NS", w.namespace))
		}
		Eventually(w.metrics).Should(And(
			line(`opencx_contacts{organization="NS/revoked",ready="False",reason="Unauthorized"} 4`),
			line(`opencx_contacts{organization="NS/default",ready="True",reason="Synced"} 8`),
			line(`opencx_contacts{organization="NS/default",ready="Unknown",reason="Waiting"} 4`),
			line(`opencx_contacts{organization="",ready="False",reason="OrganizationNotFound"} 1`),
			line(`opencx_budget_limit{organization="NS/default"} 10`),
			line(`opencx_budget_available{organization="NS/default"} 2`),
			line(`opencx_budget_waiting{class="sync",organization="NS/default"} 4`),
			line(`opencx_budget_waiting{class="edit",organization="NS/default"} 0`),
			line(`opencx_budget_drain_seconds{organization="NS/default"} `),
			line(`opencx_budget_drain_seconds{organization="NS/revoked"} `),
			line(`opencx_budget_breaker_open{organization="NS/default"} 0`),
			line(`opencx_budget_breaker_open{organization="NS/revoked"} 1`),
			line(`opencx_organizations{organization="NS/default",ready="True",reason="Usable"} 1`),
			line(`opencx_organizations{organization="NS/revoked",ready="False",reason="Unauthorized"} 1`),
			line(`opencx_organization_overcommitted{organization="NS/default"} 0`),
			line(`opencx_operator_leader 1`),
		))
		Expect(w.metrics()).To(line(`opencx_contacts_not_ready_seconds{organization="NS/default",reason="Waiting"} `))
		Expect(w.metrics()).NotTo(Or(ContainSubstring(w.key), ContainSubstring(revoked)))
		gone := w.organization("revoked")
		Expect(controlPlane.DeleteOrganization(ctx, gone)).To(Succeed())
		Eventually(w.metrics).Should(And(
			line(`opencx_contacts{organization="",ready="False",reason="OrganizationNotFound"} 5`),
			Not(MatchRegexp(`opencx_(contacts|organization)\S*\{\S*organization="`+gone.String())),
		))
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
	registry.MustRegister(w.collector)
	families, err := registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var text bytes.Buffer
	for _, family := range families {
		_, err := expfmt.MetricFamilyToText(&text, family)
		Expect(err).NotTo(HaveOccurred())
	}
	return text.String()
}
