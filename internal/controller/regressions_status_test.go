package controller

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// Each spec of this file is about a status that was once untrue, late or missing, or
// that cost more than it should.

var _ = Describe("An outage of OpenCX during which the operator starts and people edit", func() {
	DescribeTable("is told within ten seconds by every contact that it concerns, and leaves nothing behind",
		func(ctx SpecContext, down opencxtest.Answer) {
			const each = 30
			w := newWorld(ctx, budget.Limit{Requests: 100, Window: 2 * time.Second})
			var synced, fresh, want []string
			for i := range each {
				synced, fresh = append(synced, fmt.Sprintf("synced-%02d", i)), append(fresh, fmt.Sprintf("new-%02d", i))
				w.declare(ctx, synced[i], `{"name":"1"}`)
				want = append(want, synced[i]+` {"contact":{"name":"1"}}`, synced[i]+` {"contact":{"name":"2"}}`, fresh[i]+` {"contact":{"name":"2"}}`)
			}
			for _, name := range synced {
				w.expectSynced(ctx, name, 1)
			}
			w.stop()
			w.simulator.InjectNext(100_000, down)
			for i := range each / 2 {
				w.edit(ctx, synced[i], `{"spec":{"name":"2"}}`)
				w.declare(ctx, fresh[i], `{"name":"2"}`)
			}
			w.startOperator()
			untrue := w.watchTruth(ctx)
			for i := each / 2; i < each; i++ {
				w.edit(ctx, synced[i], `{"spec":{"name":"2"}}`)
				w.declare(ctx, fresh[i], `{"name":"2"}`)
			}
			Eventually(func() []string {
				return w.namesWhere(ctx, func(is state) bool { return is.ready == "" || is.isReady() })
			}, promptly).Should(BeEmpty())

			w.simulator.ClearFaults()
			Eventually(func() []string {
				return w.namesWhere(ctx, func(is state) bool { return !is.isReady() })
			}, 90*time.Second, 200*time.Millisecond).Should(BeEmpty())
			Expect(w.accepted()).To(ConsistOf(want))
			Expect(w.journal()).NotTo(ContainElement(HavePrefix("429 ")))
			Expect(untrue()).To(BeNumerically("<=", promptly))
			for i := range each {
				w.expectSynced(ctx, synced[i], 2)
				w.expectSynced(ctx, fresh[i], 1)
			}
		},
		Entry("while it answers 500", opencxtest.Failure(500, "down")),
		Entry("while it does not answer", opencxtest.Answer{Break: opencxtest.Hang}),
	)
})

// namesWhere lists the contacts of the world whose state is as which says.
func (w *world) namesWhere(ctx context.Context, which func(state) bool) []string {
	GinkgoHelper()
	var contacts v1alpha1.OpenCXContactList
	Expect(k8s.List(ctx, &contacts, client.InNamespace(w.namespace))).To(Succeed())
	names := []string{}
	for i := range contacts.Items {
		if which(stateOf(&contacts.Items[i].Status)) {
			names = append(names, contacts.Items[i].Name)
		}
	}
	return names
}

var _ = Describe("Status", func() {
	It("does not go on saying for long, after a restart with no budget left, that an edit is in OpenCX", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 3, Window: time.Minute})
		names := []string{"a", "b", "c"}
		for _, name := range names {
			w.declare(ctx, name, `{"name":"1"}`)
			w.expectSynced(ctx, name, 1)
		}
		w.stop()
		for _, name := range names {
			w.edit(ctx, name, `{"spec":{"name":"2"}}`)
		}
		untrue := w.watchTruth(ctx) // before the operator can see what was edited
		w.startOperator()
		for _, name := range names {
			w.expectSummary(ctx, name, "1/2 Ready=Unknown:Waiting Reconciling=True:Waiting")
		}
		w.expectNoMore(3)
		Expect(untrue()).To(And(BeNumerically(">", 0), BeNumerically("<=", promptly)))
	})

	It("says Ready=True again after a refusal only when OpenCX has accepted something since", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		told := w.followReady(ctx)
		w.put(ctx, "jane", map[string]string{"phone": "+12025550123"})
		w.declare(ctx, "jane", phoneFromJane)
		w.expectSynced(ctx, "jane", 1)
		w.simulator.InjectNext(1, opencxtest.Failure(404, "Contact not found"))
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:ContactNotFound Stalled=True:ContactNotFound")
		w.remove(ctx, "Secret", "jane")
		w.expectSummary(ctx, "jane", "1/1 Ready=False:ValueNotFound Reconciling=True:ValueNotFound")
		w.put(ctx, "jane", map[string]string{"phone": "+12025550123"}) // the same as before, so its backoff goes on
		w.expectSummary(ctx, "jane", "1/1 Ready=False:ContactNotFound Stalled=True:ContactNotFound")
		w.expectNoMore(2)
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"again"}}}`)
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(3)
		body := `jane {"contact":{"phone":"+12025550123"}}`
		Expect(w.journal()).To(Equal([]string{"200 " + body, "404 " + body, "200 " + body}))
		Expect(told("jane")).To(Equal([]readyTold{{"Synced", 1}, {"ContactNotFound", 1}, {"ValueNotFound", 1}, {"ContactNotFound", 1}, {"Synced", 2}}))
	})

	DescribeTable("stops saying that a change is held back when the change is taken back",
		func(ctx SpecContext, suspend, resume func(ctx context.Context, w *world)) {
			w := newWorld(ctx, budget.DefaultLimit)
			w.declare(ctx, "jane", `{"name":"Jane"}`)
			w.expectSynced(ctx, "jane", 1)
			suspend(ctx, w)
			w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
			Eventually(func() string { return w.summary(ctx, "jane") }).Should(HaveSuffix(" Ready=Unknown:Suspended"))
			w.edit(ctx, "jane", `{"spec":{"name":"Jane"}}`)
			generation := int(w.get(ctx, "jane").Generation)
			w.expectSynced(ctx, "jane", generation)
			Expect(w.message(ctx, "jane")).To(Equal("OpenCX has accepted the contact"))
			resume(ctx, w)
			w.expectSynced(ctx, "jane", int(w.get(ctx, "jane").Generation))
			w.expectNoMore(1)
		},
		Entry("of a suspended contact",
			func(ctx context.Context, w *world) { w.edit(ctx, "jane", `{"spec":{"suspend":true}}`) },
			func(ctx context.Context, w *world) { w.edit(ctx, "jane", `{"spec":{"suspend":null}}`) }),
		Entry("of a suspended organization",
			func(ctx context.Context, w *world) {
				w.editOrganization(ctx, "default", `{"spec":{"suspend":true}}`)
				w.expectOrganization(ctx, "default", "2/2 Ready=Unknown:Suspended")
			},
			func(ctx context.Context, w *world) { w.editOrganization(ctx, "default", `{"spec":{"suspend":null}}`) }),
	)

	It("says that sending again failed and is retried for as long as that is so", func(ctx SpecContext) {
		const failed = "OpenCX has accepted the contact; sending it again failed and is retried: OpenCX answered 500 Internal Server Error: boom"
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
		w.simulator.InjectNext(1, opencxtest.Failure(500, "boom"))
		quicken(time.Minute)
		DeferCleanup(quicken, time.Second)
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		Eventually(func() string { return w.message(ctx, "jane") }).Should(Equal(failed))

		By("editing what needs no request while it is retried")
		w.edit(ctx, "jane", `{"spec":{"resyncInterval":"48h"}}`)
		w.expectSynced(ctx, "jane", 2)
		Expect(w.message(ctx, "jane")).To(Equal(failed))
		w.expectNoMore(2)

		By("editing once more when no retry is left, though the text is")
		w.patchStatus(ctx, "jane", `{"status":{"nextAttemptTime":null,"consecutiveFailures":0}}`)
		w.edit(ctx, "jane", `{"spec":{"resyncInterval":"72h"}}`)
		w.expectSynced(ctx, "jane", 3)
		Expect(w.message(ctx, "jane")).To(Equal("OpenCX has accepted the contact"))
		Expect(w.get(ctx, "jane").Status.LastError).To(BeNil())
		w.expectNoMore(2)
	})

	It("echoes an annotation that is as long as can be, cut, and is stored", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
		long := strings.Repeat("0123456789", 26_000)
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"`+long+`"}}}`)
		Eventually(func() string { return w.get(ctx, "jane").Status.LastHandledReconcileAt }).Should(Equal(long[:256]))
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(2)
		Expect(w.journal()).To(HaveEach(`200 jane {"contact":{"name":"Jane"}}`))
	})

	It("can hold what comes of an answer that is no HTTP", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		w.url = answerRaw(ctx, "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		w.startOperator()
		w.declare(ctx, "jane", `{}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:Unreachable Reconciling=True:Unreachable")
		status := w.get(ctx, "jane").Status
		Expect(status.Conditions[0].Message).To(Equal("OpenCX answered 99"))
		Expect(status.LastError).To(BeNil())
		Expect(status.NextAttemptTime).NotTo(BeNil())
		Expect(status.AttemptedHash).NotTo(BeEmpty())
	})
})

// answerRaw serves answer, as it is, to every request on the address that it returns.
func answerRaw(ctx context.Context, answer string) (url string) {
	GinkgoHelper()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(listener.Close)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // closed
			}
			if request, err := http.ReadRequest(bufio.NewReader(connection)); err == nil {
				_, _ = io.Copy(io.Discard, request.Body)
				_, _ = io.WriteString(connection, answer)
			}
			_ = connection.Close()
		}
	}()
	return "http://" + listener.Addr().String()
}

var _ = Describe("A reconcile that is asked for", func() {
	It("of one of 150 contacts with one contactID reads no Secret, and has few others looked at", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.put(ctx, "jane", map[string]string{"phone": "+12025550123"})
		claim := func(name string) *unstructured.Unstructured {
			manifest := w.manifest(name, phoneFromJane)
			manifest.Object["spec"].(map[string]any)["contactID"] = "jane"
			return manifest
		}
		Expect(k8s.Create(ctx, claim("owner"))).To(Succeed())
		w.expectSynced(ctx, "owner", 1)
		time.Sleep(time.Second) // the others are younger
		for i := range 149 {
			Expect(k8s.Create(ctx, claim(fmt.Sprintf("other-%03d", i)))).To(Succeed())
		}
		Eventually(func() []string {
			return w.namesWhere(ctx, func(is state) bool { return is.reason == v1alpha1.DuplicateReason })
		}).Should(HaveLen(149))
		w.expectNoMore(1) // and nobody is looked at any more

		secrets, looks := w.secretReads(ctx), contactLooks()
		w.edit(ctx, "other-077", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		w.expectNoMore(1)
		Expect(w.secretReads(ctx) - secrets).To(BeZero())
		Expect(contactLooks() - looks).To(Equal(1))

		By("asking for one of the owner")
		looks = contactLooks()
		w.edit(ctx, "owner", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		Eventually(w.journal).Should(HaveLen(2))
		w.expectNoMore(2)
		// Once more when slots are reserved, for the first time since the key is proven.
		Expect(w.secretReads(ctx) - secrets).To(BeNumerically("<=", 2)) // its value; the key is known
		Expect(contactLooks() - looks).To(BeNumerically("<=", 2))
	})
})

// secretReads is how many Secrets the API server was asked for, one at a time.
func (w *world) secretReads(ctx context.Context) (n int) {
	GinkgoHelper()
	for line := range strings.Lines(w.kubectl(ctx, "", "get", "--raw", "/metrics")) {
		if !strings.HasPrefix(line, "apiserver_request_total{") || !strings.Contains(line, `resource="secrets"`) || !strings.Contains(line, `verb="GET"`) {
			continue
		}
		fields := strings.Fields(line)
		count, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		Expect(err).NotTo(HaveOccurred())
		n += int(count)
	}
	return n
}

// contactLooks is how many contacts the operators of the suite have looked at.
func contactLooks() (n int) {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		if family.GetName() != "controller_runtime_reconcile_total" {
			continue
		}
		for _, metric := range family.Metric {
			if strings.Contains(metric.String(), `"opencxcontact"`) {
				n += int(metric.Counter.GetValue())
			}
		}
	}
	return n
}
