package controller

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// told is everything that a contact tells of its state.
type told struct {
	summary   string // generation seen/declared, and conditions
	message   string // of Ready
	lastError *v1alpha1.APIError
	next      backoff // nextAttemptTime is this far away, from first to limit; zero for none
	events    []string
	kstatus   status.Status
}

// expectTold waits for the summary and compares the rest.
func (w *world) expectTold(ctx context.Context, name string, want told) {
	GinkgoHelper()
	w.expectSummary(ctx, name, want.summary)
	contact := w.get(ctx, name)
	for _, condition := range contact.Status.Conditions {
		Expect(condition.Message).To(Equal(want.message), condition.Type)
		Expect(condition.ObservedGeneration).To(Equal(max(0, contact.Status.ObservedGeneration)), condition.Type)
	}
	Expect(contact.Status.LastError).To(Equal(want.lastError))
	if want.next == (backoff{}) {
		Expect(contact.Status.NextAttemptTime).To(BeNil())
	} else {
		// Timestamps have whole seconds, and the last attempt was a moment ago.
		Expect(contact.Status.NextAttemptTime.Sub(contact.Status.LastAttemptTime.Time)).To(And(
			BeNumerically(">=", want.next.first-time.Second), BeNumerically("<=", want.next.limit+time.Second)))
	}
	Expect(w.kstatus(ctx, name)).To(Equal(want.kstatus))
	Eventually(func() []string { return w.events(ctx, name) }).Should(Equal(want.events))
}

// kstatus is the verdict of the library that Flux uses.
func (w *world) kstatus(ctx context.Context, name string) status.Status {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("OpenCXContact"))
	Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, object)).To(Succeed())
	result, err := status.Compute(object)
	Expect(err).NotTo(HaveOccurred())
	return result.Status
}

// events lists the events about a contact as "type reason note", oldest first.
func (w *world) events(ctx context.Context, name string) []string {
	GinkgoHelper()
	var list eventsv1.EventList
	Expect(k8s.List(ctx, &list, client.InNamespace(w.namespace))).To(Succeed())
	slices.SortFunc(list.Items, func(a, b eventsv1.Event) int { return a.EventTime.Compare(b.EventTime.Time) })
	lines := []string{}
	for _, event := range list.Items {
		if event.Regarding.Name == name {
			lines = append(lines, fmt.Sprintf("%s %s %s", event.Type, event.Reason, event.Note))
		}
	}
	return lines
}

// errorDto is one as lastError shows it.
func errorDto(code int32, message, name string) *v1alpha1.APIError {
	return &v1alpha1.APIError{StatusCode: code, Message: message, Error: name}
}

// within is a wait of d and up to 10 % more.
func within(d time.Duration) backoff { return backoff{d, d + d/10} }

var _ = Describe("Status after the first attempt", func() {
	var (
		soft    = within(time.Second) // the suite's quickRetry
		hour    = within(time.Hour)
		fiveMin = within(5 * time.Minute)
		oneMin  = within(time.Minute)
	)
	DescribeTable("tells what OpenCX answered",
		func(ctx SpecContext, answered opencxtest.Answer, want told) {
			w := newWorld(ctx, budget.DefaultLimit)
			if answered.Status != 0 || answered.Break != "" {
				w.simulator.InjectContact("jane", answered)
			}
			w.declare(ctx, "jane", `{"name":"Jane"}`)
			w.expectTold(ctx, "jane", want)
		},
		Entry("200", opencxtest.Answer{}, told{
			"1/1 Ready=True:Synced", "OpenCX has accepted the contact", nil, backoff{},
			[]string{}, status.CurrentStatus}),
		Entry("204", opencxtest.Answer{Status: 204}, told{
			"1/1 Ready=True:Synced", "OpenCX has accepted the contact", nil, backoff{},
			[]string{}, status.CurrentStatus}),
		Entry("429 with Retry-After", opencxtest.Answer{Status: 429, Header: map[string]string{"Retry-After": "30"}}, told{
			"1/1 Ready=Unknown:RateLimited Reconciling=True:RateLimited", "OpenCX answered 429 Too Many Requests", errorDto(429, "", ""), backoff{30 * time.Second, 30 * time.Second},
			[]string{"Normal RateLimited OpenCX answered 429 Too Many Requests"}, status.InProgressStatus}),
		Entry("429 without", opencxtest.Failure(429, "slow down"), told{
			"1/1 Ready=Unknown:RateLimited Reconciling=True:RateLimited", "OpenCX answered 429 Too Many Requests: slow down", errorDto(429, "slow down", "Too Many Requests"), backoff{5 * time.Second, 6250 * time.Millisecond},
			[]string{"Normal RateLimited OpenCX answered 429 Too Many Requests"}, status.InProgressStatus}),
		Entry("500", opencxtest.Failure(500, "boom"), told{
			"1/1 Ready=False:ServerError Reconciling=True:ServerError", "OpenCX answered 500 Internal Server Error: boom", errorDto(500, "boom", "Internal Server Error"), soft,
			[]string{"Warning ServerError OpenCX answered 500 Internal Server Error"}, status.InProgressStatus}),
		Entry("503 in HTML", opencxtest.Answer{Status: 503, Body: "<html>busy</html>", Header: map[string]string{"Content-Type": "text/html"}}, told{
			"1/1 Ready=False:ServerError Reconciling=True:ServerError", "OpenCX answered 503 Service Unavailable", errorDto(503, "", ""), soft,
			[]string{"Warning ServerError OpenCX answered 503 Service Unavailable"}, status.InProgressStatus}),
		Entry("408", opencxtest.Answer{Status: 408}, told{
			"1/1 Ready=False:ServerError Reconciling=True:ServerError", "OpenCX answered 408 Request Timeout", errorDto(408, "", ""), soft,
			[]string{"Warning ServerError OpenCX answered 408 Request Timeout"}, status.InProgressStatus}),
		Entry("425", opencxtest.Answer{Status: 425}, told{
			"1/1 Ready=False:ServerError Reconciling=True:ServerError", "OpenCX answered 425 Too Early", errorDto(425, "", ""), soft,
			[]string{"Warning ServerError OpenCX answered 425 Too Early"}, status.InProgressStatus}),
		Entry("302", opencxtest.Answer{Status: 302, Header: map[string]string{"Location": "https://elsewhere.example.com"}}, told{
			"1/1 Ready=False:Unreachable Reconciling=True:Unreachable", "OpenCX answered 302 Found; redirects are not followed, because they would carry the API key elsewhere: check --opencx-api-url", errorDto(302, "", ""), soft,
			[]string{"Warning Unreachable OpenCX answered 302 Found; redirects are not followed, because they would carry the API key elsewhere: check --opencx-api-url"}, status.InProgressStatus}),
		Entry("400", opencxtest.Failure(400, "phone is malformed"), told{
			"1/1 Ready=False:Rejected Stalled=True:Rejected", "OpenCX answered 400 Bad Request: phone is malformed; correct the manifest", errorDto(400, "phone is malformed", "Bad Request"), hour,
			[]string{"Warning Rejected OpenCX answered 400 Bad Request; correct the manifest"}, status.FailedStatus}),
		Entry("422", opencxtest.Failure(422, "no"), told{
			"1/1 Ready=False:Rejected Stalled=True:Rejected", "OpenCX answered 422 Unprocessable Entity: no; correct the manifest", errorDto(422, "no", "Unprocessable Entity"), hour,
			[]string{"Warning Rejected OpenCX answered 422 Unprocessable Entity; correct the manifest"}, status.FailedStatus}),
		Entry("409", opencxtest.Answer{Status: 409}, told{
			"1/1 Ready=False:Rejected Stalled=True:Rejected", "OpenCX answered 409 Conflict; correct the manifest", errorDto(409, "", ""), hour,
			[]string{"Warning Rejected OpenCX answered 409 Conflict; correct the manifest"}, status.FailedStatus}),
		Entry("404", opencxtest.Failure(404, "Contact not found"), told{
			"1/1 Ready=False:ContactNotFound Stalled=True:ContactNotFound", "OpenCX answered 404 Not Found: Contact not found; check that spec.contactID exists in the organization", errorDto(404, "Contact not found", "Not Found"), fiveMin,
			[]string{"Warning ContactNotFound OpenCX answered 404 Not Found; check that spec.contactID exists in the organization"}, status.FailedStatus}),
		Entry("401", opencxtest.Failure(401, "Unauthorized"), told{
			"1/1 Ready=False:Unauthorized Stalled=True:Unauthorized", "OpenCX answered 401 Unauthorized; check the API key of the organization and the OpenCX subscription", errorDto(401, "Unauthorized", "Unauthorized"), oneMin,
			[]string{"Warning Unauthorized OpenCX answered 401 Unauthorized; check the API key of the organization and the OpenCX subscription"}, status.FailedStatus}),
		Entry("402", opencxtest.Answer{Status: 402}, told{
			"1/1 Ready=False:Unauthorized Stalled=True:Unauthorized", "OpenCX answered 402 Payment Required; check the API key of the organization and the OpenCX subscription", errorDto(402, "", ""), oneMin,
			[]string{"Warning Unauthorized OpenCX answered 402 Payment Required; check the API key of the organization and the OpenCX subscription"}, status.FailedStatus}),
		Entry("403", opencxtest.Answer{Status: 403}, told{
			"1/1 Ready=False:Forbidden Stalled=True:Forbidden", "OpenCX answered 403 Forbidden; check that the API key of the organization has the scope contacts:write and may change this contact", errorDto(403, "", ""), oneMin,
			[]string{"Warning Forbidden OpenCX answered 403 Forbidden; check that the API key of the organization has the scope contacts:write and may change this contact"}, status.FailedStatus}),
		Entry("a reset connection", opencxtest.Answer{Break: opencxtest.Reset}, told{
			"1/1 Ready=False:Unreachable Reconciling=True:Unreachable", "No answer from OpenCX: EOF", nil, soft,
			[]string{"Warning Unreachable No answer came from OpenCX: see the status of the contact"}, status.InProgressStatus}),
	)

	DescribeTable("tells that a retried failure has not passed, once the backoff grows no more",
		func(ctx SpecContext, code int, summary string, verdict status.Status) {
			w := newWorld(ctx, budget.DefaultLimit)
			w.simulator.InjectContact("jane", opencxtest.Answer{Status: code})
			w.declare(ctx, "jane", `{}`)
			Eventually(func() int32 { return w.get(ctx, "jane").Status.ConsecutiveFailures }).Should(BeNumerically(">", 0))
			w.patchStatus(ctx, "jane", `{"status":{"consecutiveFailures":20}}`)
			w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
			w.expectSummary(ctx, "jane", summary)
			contact := w.get(ctx, "jane")
			Expect(contact.Status.NextAttemptTime.Sub(contact.Status.LastAttemptTime.Time)).To(BeNumerically("~", 15*time.Minute, 2*time.Minute))
			Expect(w.kstatus(ctx, "jane")).To(Equal(verdict))
		},
		Entry("500", 500, "1/1 Ready=False:ServerError Stalled=True:ServerError", status.FailedStatus),
		Entry("307", 307, "1/1 Ready=False:Unreachable Stalled=True:Unreachable", status.FailedStatus),
	)

	It("tells that nobody listens", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		closed := httptest.NewServer(nil)
		w.url = closed.URL
		closed.Close()
		w.startOperator()
		w.declare(ctx, "jane", `{}`)
		message := "No answer from OpenCX: dial tcp " + closed.Listener.Addr().String() + ": connect: connection refused"
		w.expectTold(ctx, "jane", told{"1/1 Ready=False:Unreachable Reconciling=True:Unreachable", message, nil, soft,
			[]string{"Warning Unreachable No answer came from OpenCX: see the status of the contact"}, status.InProgressStatus})
	})

	It("tells that a certificate is not trusted", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		server := httptest.NewTLSServer(w.simulator)
		defer server.Close()
		w.url = server.URL
		w.startOperator()
		w.declare(ctx, "jane", `{}`)
		message := "No answer from OpenCX: tls: failed to verify certificate: x509: certificate signed by unknown authority"
		w.expectTold(ctx, "jane", told{"1/1 Ready=False:Unreachable Reconciling=True:Unreachable", message, nil, soft,
			[]string{"Warning Unreachable No answer came from OpenCX: see the status of the contact"}, status.InProgressStatus})
		w.expectNoMore(0)
	})
})

var _ = Describe("Status without an attempt", func() {
	It("tells a long wait for the budget, once", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 1, Window: time.Minute})
		w.declare(ctx, "jane", `{}`)
		w.expectSynced(ctx, "jane", 1)
		w.declare(ctx, "john", `{}`)
		w.expectSummary(ctx, "john", "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
		john := w.get(ctx, "john")
		Expect(john.Status.Conditions[0].Message).To(MatchRegexp(`^The change waits for its turn in the request budget, at about 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$`))
		Expect(w.kstatus(ctx, "john")).To(Equal(status.InProgressStatus))
		w.edit(ctx, "john", `{"spec":{"name":"John"}}`)
		w.edit(ctx, "john", `{"spec":{"name":"Johnny"}}`)
		Consistently(func() v1alpha1.OpenCXContactStatus { return w.get(ctx, "john").Status }).Should(Equal(john.Status))
		Expect(w.events(ctx, "john")).To(BeEmpty())

		w.edit(ctx, "jane", `{"spec":{"name":"Jane"}}`)
		w.expectSummary(ctx, "jane", "1/2 Ready=Unknown:Waiting Reconciling=True:Waiting")
		Expect(w.kstatus(ctx, "jane")).To(Equal(status.InProgressStatus))
	})

	It("tells a wait that turns out to be long before it is ten seconds long", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		limited := opencxtest.Failure(429, "slow down")
		limited.Header["Retry-After"] = "4"
		w.simulator.InjectNext(1, limited)
		w.declare(ctx, "jane", `{}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=Unknown:RateLimited Reconciling=True:RateLimited")

		By("holding the request that probes whether the silence is over")
		release := w.simulator.Hold()
		defer release()
		declared := time.Now()
		w.declare(ctx, "john", `{}`)
		w.declare(ctx, "jim", `{}`)
		Eventually(w.simulator.Journal).Should(HaveLen(2))
		waits := "john"
		if w.simulator.Journal()[1].Path == "/contacts/john" {
			waits = "jim"
		}
		Expect(w.summary(ctx, waits)).To(Equal("-1/1"))
		w.expectSummary(ctx, waits, "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
		Expect(time.Since(declared)).To(BeNumerically("<", 10*time.Second))
		release()
		w.expectSynced(ctx, waits, 1)
	})

	It("tells a missing key, and after two minutes that somebody has to act", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.editOrganization(ctx, "default", `{"spec":{"apiKeySecretRef":{"name":"opencx"}}}`)
		w.declare(ctx, "jane", `{}`)
		message := fmt.Sprintf(`OpenCXOrganization %s/default has no API key yet: see the status of that`, w.namespace)
		w.expectTold(ctx, "jane", told{"1/1 Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound", message, nil, backoff{},
			[]string{"Warning APIKeyNotFound " + message}, status.InProgressStatus})
		w.age(ctx, "jane", 3*time.Minute)
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:APIKeyNotFound Stalled=True:APIKeyNotFound")
		Expect(w.kstatus(ctx, "jane")).To(Equal(status.FailedStatus))
		w.expectNoMore(0)
	})

	It("tells an unusable key", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.put(ctx, "default-api-key", map[string]string{"apiKey": "\n"})
		w.declare(ctx, "jane", `{}`)
		message := fmt.Sprintf(`The API key of OpenCXOrganization %s/default cannot be used: see the status of that`, w.namespace)
		w.expectTold(ctx, "jane", told{"1/1 Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid", message, nil, backoff{},
			[]string{"Warning APIKeyInvalid " + message}, status.FailedStatus})
		w.expectNoMore(0)
	})

	It("tells a missing organization, and after two minutes that somebody has to act", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"organizationRef":{"name":"acme"}}`)
		message := fmt.Sprintf(`OpenCXOrganization %s/acme does not exist: create it, or name another one in spec.organizationRef, with its namespace if that is not %s`, w.namespace, w.namespace)
		w.expectTold(ctx, "jane", told{"1/1 Ready=False:OrganizationNotFound Reconciling=True:OrganizationNotFound", message, nil, backoff{},
			[]string{"Warning OrganizationNotFound " + message}, status.InProgressStatus})
		w.age(ctx, "jane", 3*time.Minute)
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:OrganizationNotFound Stalled=True:OrganizationNotFound")
		Expect(w.kstatus(ctx, "jane")).To(Equal(status.FailedStatus))
		w.expectNoMore(0)

		By("creating it")
		acme := secret("ocx_live_")
		w.simulator.SetKeys(w.key, acme)
		w.createOrganization(ctx, "acme", acme)
		w.expectSynced(ctx, "jane", 1)
		Expect(w.simulator.Journal()[0].Key).To(Equal(acme))
		w.expectNoMore(1)
	})

	It("tells what suspend holds back, and otherwise what it told before", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"suspend":true}`)
		message := "The contact has a change that is not sent while spec.suspend is true"
		w.expectTold(ctx, "jane", told{"1/1 Ready=Unknown:Suspended", message, nil, backoff{},
			[]string{"Normal Suspended " + message}, status.InProgressStatus})
		w.edit(ctx, "jane", `{"spec":{"suspend":false}}`)
		w.expectSynced(ctx, "jane", 2)
		w.edit(ctx, "jane", `{"spec":{"suspend":true}}`)
		w.expectTold(ctx, "jane", told{"3/3 Ready=True:Synced", "OpenCX has accepted the contact", nil, backoff{},
			[]string{"Normal Suspended " + message, "Normal Synced OpenCX has accepted the contact"}, status.CurrentStatus})
	})
})

var _ = Describe("A contact that is in sync", func() {
	DescribeTable("when it is sent again",
		func(ctx SpecContext, answered opencxtest.Answer, summary, message string, verdict status.Status) {
			w := newWorld(ctx, budget.DefaultLimit)
			w.declare(ctx, "jane", `{}`)
			w.expectSynced(ctx, "jane", 1)
			applied := w.get(ctx, "jane").Status.AppliedHash
			w.simulator.InjectContact("jane", answered)
			w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
			Eventually(func() string { return w.get(ctx, "jane").Status.LastHandledReconcileAt }).Should(Equal("now"))
			w.expectSummary(ctx, "jane", summary)
			contact := w.get(ctx, "jane")
			Expect(contact.Status.Conditions[0].Message).To(Equal(message))
			Expect(contact.Status.NextAttemptTime).NotTo(BeNil())
			if verdict == status.FailedStatus {
				applied = "" // OpenCX refuses now what it had accepted
			}
			Expect(contact.Status.AppliedHash).To(Equal(applied))
			Expect(w.kstatus(ctx, "jane")).To(Equal(verdict))
		},
		Entry("stays Ready after a 500", opencxtest.Failure(500, "boom"), "1/1 Ready=True:Synced",
			"OpenCX has accepted the contact; sending it again failed and is retried: OpenCX answered 500 Internal Server Error: boom", status.CurrentStatus),
		Entry("stays Ready after a 429", opencxtest.Answer{Status: 429}, "1/1 Ready=True:Synced",
			"OpenCX has accepted the contact; sending it again failed and is retried: OpenCX answered 429 Too Many Requests", status.CurrentStatus),
		Entry("stays Ready without an answer", opencxtest.Answer{Break: opencxtest.Reset}, "1/1 Ready=True:Synced",
			"OpenCX has accepted the contact; sending it again failed and is retried: No answer from OpenCX: EOF", status.CurrentStatus),
		Entry("is not Ready after a 404", opencxtest.Failure(404, "Contact not found"), "1/1 Ready=False:ContactNotFound Stalled=True:ContactNotFound",
			"OpenCX answered 404 Not Found: Contact not found; check that spec.contactID exists in the organization", status.FailedStatus),
	)

	It("stays Ready while sending it again waits for the budget", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 1, Window: time.Minute})
		w.declare(ctx, "jane", `{}`)
		w.expectSynced(ctx, "jane", 1)
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		Eventually(func() string { return w.get(ctx, "jane").Status.Conditions[0].Message }).Should(
			Equal("OpenCX has accepted the contact; sending it again waits for its turn in the request budget"))
		Expect(w.summary(ctx, "jane")).To(Equal("1/1 Ready=True:Synced"))
		Expect(w.kstatus(ctx, "jane")).To(Equal(status.CurrentStatus))
		w.expectNoMore(1)
	})
})

// age makes a contact's conditions older.
func (w *world) age(ctx context.Context, name string, by time.Duration) {
	GinkgoHelper()
	conditions := w.get(ctx, name).Status.Conditions
	for i := range conditions {
		conditions[i].LastTransitionTime.Time = conditions[i].LastTransitionTime.Add(-by)
	}
	w.patchStatus(ctx, name, `{"status":{"conditions":`+asJSON(conditions)+`}}`)
}

// patchStatus applies a JSON merge patch to a contact's status.
func (w *world) patchStatus(ctx context.Context, name, patch string) {
	GinkgoHelper()
	Expect(k8s.Status().Patch(ctx, w.contact(name), client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
}
