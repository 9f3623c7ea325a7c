package controller

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	clientrest "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

var large = strings.Repeat("0123456789abcdef", 1024)

var _ = Describe("A leader", func() {
	It("sends nothing while it may not, and goes on by itself when it may", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 2, Window: time.Minute})
		w.stop()
		var may atomic.Bool
		w.lease = func(time.Duration) error {
			if !may.Load() {
				return errors.New("the lease is stale")
			}
			return nil
		}
		w.startOperator()
		w.declare(ctx, "jane", `{}`)
		w.expectNoMore(0)
		may.Store(true)
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(1)
	})
})

var _ = Describe("One apply", func() {
	DescribeTable("is one PATCH, byte for byte",
		func(ctx SpecContext, spec, body string) {
			w := newWorld(ctx, budget.DefaultLimit)
			w.declare(ctx, "jane", spec)
			w.expectSynced(ctx, "jane", 1)
			Expect(w.journal()).To(Equal([]string{"200 jane " + body}))
		},
		Entry("with nothing but an ID", `{}`, `{"contact":{}}`),
		Entry("with every field",
			`{"email":"jane@example.com","phone":"+12025550123","name":"Jane Doe","customData":{"plan":"enterprise","b":"2"},"httpActionOverrides":{"queryParams":{"q":"1"},"pathParams":{"p":"2"},"bodyParams":{"b":"3"},"headers":{"X-Tenant":"`+secret("acme-")+`"}}}`,
			`{"contact":{"email":"jane@example.com","phone":"+12025550123","name":"Jane Doe","custom_data":{"b":"2","plan":"enterprise"},"http_action_overrides":{"query_params":{"q":"1"},"path_params":{"p":"2"},"body_params":{"b":"3"},"headers":{"X-Tenant":"`+secrets[len(secrets)-1]+`"}}}}`),
		Entry("with an email", `{"email":"jane@example.com"}`, `{"contact":{"email":"jane@example.com"}}`),
		Entry("with a phone", `{"phone":"+12025550123"}`, `{"contact":{"phone":"+12025550123"}}`),
		Entry("with an empty phone", `{"phone":""}`, `{"contact":{"phone":""}}`),
		Entry("with a name", `{"name":"Jane"}`, `{"contact":{"name":"Jane"}}`),
		Entry("with an empty name", `{"name":""}`, `{"contact":{"name":""}}`),
		Entry("with custom data", `{"customData":{"a":"b"}}`, `{"contact":{"custom_data":{"a":"b"}}}`),
		Entry("with empty custom data", `{"customData":{}}`, `{"contact":{"custom_data":{}}}`),
		Entry("with an empty value in custom data", `{"customData":{"":""}}`, `{"contact":{"custom_data":{"":""}}}`),
		Entry("with empty overrides", `{"httpActionOverrides":{}}`, `{"contact":{"http_action_overrides":{}}}`),
		Entry("with query params", `{"httpActionOverrides":{"queryParams":{"a":"b"}}}`, `{"contact":{"http_action_overrides":{"query_params":{"a":"b"}}}}`),
		Entry("with path params", `{"httpActionOverrides":{"pathParams":{"a":"b"}}}`, `{"contact":{"http_action_overrides":{"path_params":{"a":"b"}}}}`),
		Entry("with body params", `{"httpActionOverrides":{"bodyParams":{"a":"b"}}}`, `{"contact":{"http_action_overrides":{"body_params":{"a":"b"}}}}`),
		Entry("with headers", `{"httpActionOverrides":{"headers":{"X-Token":"`+secret("token-")+`"}}}`, `{"contact":{"http_action_overrides":{"headers":{"X-Token":"`+secrets[len(secrets)-1]+`"}}}}`),
		Entry("with four empty maps", `{"httpActionOverrides":{"queryParams":{},"pathParams":{},"bodyParams":{},"headers":{}}}`, `{"contact":{"http_action_overrides":{"query_params":{},"path_params":{},"body_params":{},"headers":{}}}}`),
		Entry("with unicode, emoji, quotes and newlines", `{"name":"Zoë 李 😀 \"q\" \\ <b>&'\n\t"}`, `{"contact":{"name":"Zoë 李 😀 \"q\" \\ <b>&'\n\t"}}`),
		Entry("with a value of 16384 characters", `{"customData":{"bio":"`+large+`"}}`, `{"contact":{"custom_data":{"bio":"`+large+`"}}}`),
	)

	manifest := func(spec string) string {
		return `{"apiVersion":"contacts.open.cx/v1alpha1","kind":"OpenCXContact","metadata":{"name":"jane"},"spec":{"contactID":"jane"` + spec + `}}`
	}
	DescribeTable("can set a map, empty it and release it",
		func(ctx SpecContext, apply ...string) {
			w := newWorld(ctx, budget.DefaultLimit)
			for i, spec := range []string{
				`,"customData":{"a":"b"},"httpActionOverrides":{"queryParams":{"a":"b"},"bodyParams":{"a":"b"}}`,
				`,"customData":{},"httpActionOverrides":{"queryParams":{},"bodyParams":{}}`,
				``,
			} {
				w.kubectl(ctx, manifest(spec), append([]string{"apply", "-f", "-"}, apply...)...)
				w.expectSynced(ctx, "jane", i+1)
			}
			Expect(w.journal()).To(Equal([]string{
				`200 jane {"contact":{"custom_data":{"a":"b"},"http_action_overrides":{"query_params":{"a":"b"},"body_params":{"a":"b"}}}}`,
				`200 jane {"contact":{"custom_data":{},"http_action_overrides":{"query_params":{},"body_params":{}}}}`,
				`200 jane {"contact":{}}`,
			}))
		},
		Entry("with client-side apply"),
		Entry("with server-side apply", "--server-side"),
	)
})

var _ = Describe("After the first PATCH", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
	})

	It("tells what was sent, where, and with which key", func(ctx SpecContext) {
		told := func() v1alpha1.OpenCXContactStatus {
			status := w.get(ctx, "jane").Status
			key := &corev1.Secret{}
			Expect(k8s.Get(ctx, w.organization("default-api-key"), key)).To(Succeed())
			Expect(status.AppliedHash).To(MatchRegexp("^v1:[0-9a-f]{64}$"))
			Expect(status.AttemptedHash).To(Equal(status.AppliedHash + "@" + key.ResourceVersion))
			Expect(status.Organization).To(Equal(w.namespace + "/default"))
			Expect(status.LastSyncTime).To(Equal(status.LastAttemptTime))
			return status
		}
		first := told()
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		w.expectSynced(ctx, "jane", 2)
		Expect(told().AppliedHash).NotTo(Equal(first.AppliedHash))
		w.edit(ctx, "jane", `{"spec":{"name":"Jane"}}`)
		w.expectSynced(ctx, "jane", 3)
		Expect(told().AppliedHash).To(Equal(first.AppliedHash))
	})

	It("writes status once for a first sync and a re-send, and twice for an edit", func(ctx SpecContext) {
		w.stop()
		var writes atomic.Int32
		w.newClient = refuse(func(client.Object) bool { writes.Add(1); return false })
		w.startOperator()
		w.declare(ctx, "john", `{}`)
		w.expectSynced(ctx, "john", 1)
		Expect(writes.Load()).To(BeEquivalentTo(1))
		w.edit(ctx, "john", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		Eventually(func() string { return w.get(ctx, "john").Status.LastHandledReconcileAt }).Should(Equal("now"))
		Expect(writes.Load()).To(BeEquivalentTo(2))
		w.edit(ctx, "john", `{"spec":{"name":"John"}}`)
		w.expectSynced(ctx, "john", 2)
		w.expectNoMore(4)
		Expect(writes.Load()).To(BeEquivalentTo(4))
	})

	It("sends one more for an edit", func(ctx SpecContext) {
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		w.expectSynced(ctx, "jane", 2)
		Expect(w.journal()).To(Equal([]string{`200 jane {"contact":{"name":"Jane"}}`, `200 jane {"contact":{"name":"Janet"}}`}))
	})

	It("sends one more for each new value of the reconcile-at annotation", func(ctx SpecContext) {
		for i, value := range []string{"2026-01-01T00:00:00Z", "again"} {
			w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"`+value+`"}}}`)
			Eventually(func() string { return w.get(ctx, "jane").Status.LastHandledReconcileAt }).Should(Equal(value))
			Expect(w.journal()).To(HaveLen(i + 2))
		}
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":null}}}`)
		w.expectNoMore(3)
	})

	It("sends nothing for labels and annotations, ten a second", func(ctx SpecContext) {
		for i := range 10 {
			w.edit(ctx, "jane", fmt.Sprintf(`{"metadata":{"labels":{"a":"%d"},"annotations":{"b":"%d"}}}`, i, i))
			time.Sleep(100 * time.Millisecond)
		}
		w.expectNoMore(1)
	})

	It("sends nothing for suspending and resuming", func(ctx SpecContext) {
		w.edit(ctx, "jane", `{"spec":{"suspend":true}}`)
		w.expectSynced(ctx, "jane", 2)
		w.edit(ctx, "jane", `{"spec":{"suspend":false}}`)
		w.expectSynced(ctx, "jane", 3)
		w.expectNoMore(1)
	})

	It("sends nothing for a spec that is the same to OpenCX", func(ctx SpecContext) {
		w.edit(ctx, "jane", `{"spec":{"resyncInterval":"48h"}}`)
		w.expectSynced(ctx, "jane", 2)
		w.expectNoMore(1)
	})

	It("sends nothing for a restart, and writes nothing", func(ctx SpecContext) {
		before := w.get(ctx, "jane").ResourceVersion
		for range 3 {
			w.stop()
			w.startOperator()
		}
		w.expectNoMore(1)
		Expect(w.get(ctx, "jane").ResourceVersion).To(Equal(before))
	})

	It("sends an edit that was made while the operator was down", func(ctx SpecContext) {
		w.stop()
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		w.startOperator()
		w.expectSynced(ctx, "jane", 2)
		w.expectNoMore(2)
	})

	It("sends nothing for a resync of the cache", func(ctx SpecContext) {
		w.stop()
		period := 200 * time.Millisecond
		w.resyncPeriod = &period
		w.startOperator()
		w.expectNoMore(1)
	})

	It("sends nothing for a change of the leader", func(ctx SpecContext) {
		w.stop()
		w.leaderElection = true
		first, second := w.newOperator(), w.newOperator()
		w.stop = func() { first(); second() }
		holder := func() string {
			lease := w.kubectl(ctx, "", "get", "lease", "-o", "jsonpath={.items[*].spec.holderIdentity}")
			return lease
		}
		Eventually(holder).ShouldNot(BeEmpty())
		before := holder()
		// Whichever leads, stopping the one and starting another makes the other lead.
		first()
		third := w.newOperator()
		second()
		w.stop = third
		Eventually(holder).ShouldNot(Or(BeEmpty(), Equal(before)))
		w.expectNoMore(1)
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		w.expectSynced(ctx, "jane", 2)
		w.expectNoMore(2)
	})

	It("sends again when the resync interval has passed", func(ctx SpecContext) {
		w.resyncEvery(2 * time.Second)
		Eventually(w.journal).Should(HaveLen(3))
		w.edit(ctx, "jane", `{"spec":{"resyncInterval":"0s"}}`)
		w.expectSynced(ctx, "jane", 2)
		n := len(w.journal())
		Consistently(w.journal, 3*time.Second).Should(HaveLen(n))

		By("setting another one that has passed")
		w.syncedBefore(ctx, "jane", 6*time.Minute)
		w.edit(ctx, "jane", `{"spec":{"resyncInterval":"5m"}}`)
		Eventually(w.journal).Should(HaveLen(n + 1))
		w.expectSynced(ctx, "jane", 3)
		w.expectNoMore(n + 1)
		Expect(slices.Compact(w.journal())).To(Equal([]string{`200 jane {"contact":{"name":"Jane"}}`}))
	})

	It("leaves OpenCX alone when the manifest is deleted, and sends once when it is created again", func(ctx SpecContext) {
		Expect(k8s.Delete(ctx, w.contact("jane"))).To(Succeed())
		w.expectNoMore(1)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(2)
	})

	It("sends nothing because its cache is older than its own last write", func(ctx SpecContext) {
		w.stop()
		var lagging atomic.Pointer[v1alpha1.OpenCXContact]
		w.newClient = func(config *clientrest.Config, options client.Options) (client.Client, error) {
			direct, err := client.NewWithWatch(config, options)
			return interceptor.NewClient(direct, interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
					if old := lagging.Load(); old != nil && client.ObjectKeyFromObject(old) == key {
						old.DeepCopyInto(object.(*v1alpha1.OpenCXContact))
						return nil
					}
					return c.Get(ctx, key, object, opts...)
				},
			}), err
		}
		w.startOperator()
		release := w.simulator.Hold()
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		Eventually(w.simulator.Journal).Should(HaveLen(2))
		lagging.Store(w.get(ctx, "jane")) // unsent, as the cache sees it
		release()
		w.expectSynced(ctx, "jane", 2)
		w.edit(ctx, "jane", `{"spec":{"suspend":true}}`)
		w.expectSynced(ctx, "jane", 3)
		w.expectNoMore(2)
	})

	DescribeTable("goes on when the API server takes its writes again",
		func(ctx SpecContext, refused []int32, requests int) {
			w.stop()
			var writes, sent atomic.Int32
			w.newClient = refuse(func(client.Object) bool {
				refuses := slices.Contains(refused, writes.Add(1))
				if refuses {
					sent.Store(int32(len(w.journal())))
				}
				return refuses
			})
			w.startOperator()
			w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
			w.expectSynced(ctx, "jane", 2)
			Expect(sent.Load()).To(BeEquivalentTo(requests))
			Expect(writes.Load()).To(BeNumerically("==", 5)) // three refused, the doubt, and the answer
			w.expectNoMore(2)
		},
		Entry("with a status that could not be written, which is not sent again", []int32{2, 3, 4}, 2),
		Entry("with a doubt that could not be written, before which nothing is sent", []int32{1, 2, 3}, 1),
	)
})

// refuse makes clients for operators that cannot write the status of a contact
// when refuses says so.
func refuse(refuses func(client.Object) bool) client.NewClientFunc {
	return func(config *clientrest.Config, options client.Options) (client.Client, error) {
		direct, err := client.NewWithWatch(config, options)
		return interceptor.NewClient(direct, interceptor.Funcs{
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
				if isContact(object) && refuses(object) {
					return errors.New("the API server is away")
				}
				return c.SubResource(sub).Patch(ctx, object, patch, opts...)
			},
		}), err
	}
}

// isContact says whether a status write is one of a contact, of which the operator
// asks for the metadata alone.
func isContact(object client.Object) bool {
	return object.GetObjectKind().GroupVersionKind().Kind == "OpenCXContact"
}

var _ = Describe("While a request is under way", func() {
	It("ten edits come to at most two requests, and status claims no generation that was not sent", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		claimed := w.watchObservedGenerations(ctx)
		release := w.simulator.Hold()
		w.declare(ctx, "jane", `{"name":"0"}`)
		Eventually(w.simulator.Journal).Should(HaveLen(1))
		for i := range 10 {
			w.edit(ctx, "jane", fmt.Sprintf(`{"spec":{"name":"%d"}}`, i+1))
		}
		release()
		w.expectSynced(ctx, "jane", 11)
		w.expectNoMore(2)
		Expect(w.journal()).To(Equal([]string{`200 jane {"contact":{"name":"0"}}`, `200 jane {"contact":{"name":"10"}}`}))
		Expect(claimed()).To(Equal([]int64{-1, 1, 11}))
	})

	It("nobody claims to know what OpenCX has", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
		release := w.simulator.Hold()
		defer release()
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		Eventually(w.simulator.Journal).Should(HaveLen(2))
		Expect(w.summary(ctx, "jane")).To(Equal("1/2 Ready=Unknown:Waiting Reconciling=True:Waiting"))
		Expect(w.message(ctx, "jane")).To(Equal("The change is being sent"))
		Expect(w.get(ctx, "jane").Status.AppliedHash).To(BeEmpty())
		release()
		w.expectSynced(ctx, "jane", 2)
		Expect(w.events(ctx, "jane")).To(BeEmpty()) // all went as it should
		w.expectNoMore(2)
	})

	It("a contact that is deleted and created again is another one", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		release := w.simulator.Hold()
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		Eventually(w.simulator.Journal).Should(HaveLen(1))
		Expect(k8s.Delete(ctx, w.contact("jane"))).To(Succeed())
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		claimed := w.watchObservedGenerations(ctx)
		second := w.simulator.Hold()
		release()
		Eventually(w.simulator.Journal).Should(HaveLen(2))
		Expect(w.summary(ctx, "jane")).To(Equal("-1/1"))
		second()
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(2)
		Expect(claimed()).To(Equal([]int64{-1, 1}))
	})

	It("labels that change before its status is written cause no other", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		release := w.simulator.Hold()
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		Eventually(w.simulator.Journal).Should(HaveLen(1))
		for i := range 10 {
			w.edit(ctx, "jane", fmt.Sprintf(`{"metadata":{"labels":{"a":"%d"}}}`, i))
		}
		release()
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(1)
	})
})

var _ = Describe("When OpenCX does not accept", func() {
	var w *world
	BeforeEach(func(ctx SpecContext) { w = newWorld(ctx, budget.DefaultLimit) })

	It("sends only the newest of two edits once it recovers from 500s", func(ctx SpecContext) {
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
		w.simulator.InjectContact("jane", opencxtest.Failure(500, "boom"))
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		w.expectSummary(ctx, "jane", "2/2 Ready=False:ServerError Reconciling=True:ServerError")
		w.edit(ctx, "jane", `{"spec":{"name":"Janice"}}`)
		w.expectSummary(ctx, "jane", "3/3 Ready=False:ServerError Reconciling=True:ServerError")
		w.simulator.ClearFaults()
		w.expectSynced(ctx, "jane", 3)
		journal := w.journal()
		recovered := slices.DeleteFunc(slices.Clone(journal), func(line string) bool { return strings.HasPrefix(line, "500 ") })
		Expect(recovered).To(Equal([]string{`200 jane {"contact":{"name":"Jane"}}`, `200 jane {"contact":{"name":"Janice"}}`}))
		status := w.get(ctx, "jane").Status
		Expect(status.ConsecutiveFailures).To(BeZero())
		Expect(status.LastError).To(BeNil())
		Expect(status.NextAttemptTime).To(BeNil())
	})

	It("says what OpenCX said of plain values, in status alone", func(ctx SpecContext) {
		w.simulator.InjectContact("jane", opencxtest.Failure(422, "header X-Tenant acme-shop is malformed"))
		w.declare(ctx, "jane", `{"httpActionOverrides":{"headers":{"X-Tenant":"acme-shop"}}}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:Rejected Stalled=True:Rejected")
		contact := w.get(ctx, "jane")
		Expect(contact.Status.LastError).To(Equal(&v1alpha1.APIError{
			StatusCode: 422, Message: "header X-Tenant acme-shop is malformed", Error: "Unprocessable Entity",
		}))
		Expect(contact.Status.Conditions[0].Message).To(Equal("OpenCX answered 422 Unprocessable Entity: header X-Tenant acme-shop is malformed; correct the manifest"))
		Expect(contact.Status.ConsecutiveFailures).To(BeEquivalentTo(1))
		Expect(time.Until(contact.Status.NextAttemptTime.Time)).To(BeNumerically("~", time.Hour, 7*time.Minute))
		Eventually(func() []string { return w.events(ctx, "jane") }).Should(Equal([]string{"Warning Rejected OpenCX answered 422 Unprocessable Entity; correct the manifest"}))
		w.expectNoMore(1)
	})

	DescribeTable("withholds what it said when that repeats a value from a Secret, also in another form",
		func(ctx SpecContext, form func(token string) string) {
			token := secret("Tok&n/")
			w.put(ctx, "jane", map[string]string{"token": token})
			w.simulator.InjectContact("jane", opencxtest.Failure(422, form(token)))
			w.declare(ctx, "jane", `{"httpActionOverrides":{"headersFrom":{"X-Token":{"secretKeyRef":{"name":"jane","key":"token"}}}}}`)
			w.expectSummary(ctx, "jane", "1/1 Ready=False:Rejected Stalled=True:Rejected")
			contact := w.get(ctx, "jane")
			Expect(contact.Status.LastError).To(Equal(&v1alpha1.APIError{
				StatusCode: 422, Message: "its text is withheld, because it repeats a value from a Secret",
			}))
			Expect(contact.Status.Conditions[0].Message).To(Equal(
				"OpenCX answered 422 Unprocessable Entity: its text is withheld, because it repeats a value from a Secret; correct the manifest"))
			Eventually(func() []string { return w.events(ctx, "jane") }).Should(Equal([]string{"Warning Rejected OpenCX answered 422 Unprocessable Entity; correct the manifest"}))
			w.expectNoMore(1)
		},
		Entry("as it is", func(token string) string { return "header X-Token " + token + " is malformed" }),
		Entry("in lower case, cut", func(token string) string { return "got " + strings.ToLower(token[:15]) }),
		Entry("as JSON", func(token string) string { return "got " + strings.ReplaceAll(token, "&", `\u0026`) }),
		Entry("in a URL", func(token string) string { return "got " + strings.ToLower(url.QueryEscape(token)) }),
		Entry("as HTML", func(token string) string { return "got " + html.EscapeString(token) }),
		Entry("in base64", func(token string) string { return base64.StdEncoding.EncodeToString([]byte("X-Token: " + token)) }),
	)

	It("withholds what it said when that repeats the API key", func(ctx SpecContext) {
		w.simulator.InjectContact("jane", opencxtest.Failure(422, "no scope for "+w.key))
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:Rejected Stalled=True:Rejected")
		Expect(w.get(ctx, "jane").Status.LastError.Message).To(Equal("its text is withheld, because it repeats a value from a Secret"))
	})

	It("keeps its backoff across a restart, and gives it up for an edit", func(ctx SpecContext) {
		w.simulator.InjectContact("jane", opencxtest.Failure(404, "Contact not found"))
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:ContactNotFound Stalled=True:ContactNotFound")
		w.stop()
		w.startOperator()
		w.expectNoMore(1)
		w.simulator.ClearFaults()
		w.edit(ctx, "jane", `{"spec":{"name":"Janet"}}`)
		w.expectSynced(ctx, "jane", 2)
		w.expectNoMore(2)
	})

	It("retries without an answer only when the first request can no longer arrive", func(ctx SpecContext) {
		w.simulator.InjectNext(1, opencxtest.Answer{Break: opencxtest.Reset})
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
		requests := w.simulator.Journal()
		Expect(requests).To(HaveLen(2))
		// A moment passes before a request arrives.
		Expect(requests[1].Time.Sub(requests[0].Time)).To(BeNumerically("~", opencx.CallTimeout, time.Second))
	})

	It("tries another key at once, also after a 403", func(ctx SpecContext) {
		w.simulator.InjectContact("jane", opencxtest.Failure(403, "Forbidden"))
		w.declare(ctx, "jane", `{}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:Forbidden Stalled=True:Forbidden")
		w.expectNoMore(1)
		w.simulator.ClearFaults()
		another := secret("ocx_live_")
		w.simulator.SetKeys(another)
		w.put(ctx, "default-api-key", map[string]string{"apiKey": another})
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(2)
	})

	It("retries by itself after 5xx", func(ctx SpecContext) {
		w.simulator.InjectNext(2, opencxtest.Failure(503, "down"))
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSynced(ctx, "jane", 1)
		Expect(w.journal()).To(Equal([]string{
			`503 jane {"contact":{"name":"Jane"}}`, `503 jane {"contact":{"name":"Jane"}}`, `200 jane {"contact":{"name":"Jane"}}`,
		}))
	})

	It("waits for Retry-After with the whole organization after a 429", func(ctx SpecContext) {
		limited := opencxtest.Failure(429, "slow down")
		limited.Header["Retry-After"] = "2"
		w.simulator.InjectNext(1, limited)
		w.declare(ctx, "jane", `{"name":"Jane"}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=Unknown:RateLimited Reconciling=True:RateLimited")
		Expect(w.get(ctx, "jane").Status.NextAttemptTime).NotTo(BeNil())
		w.declare(ctx, "john", `{"name":"John"}`)
		w.expectSynced(ctx, "jane", 1)
		w.expectSynced(ctx, "john", 1)
		requests := w.simulator.Journal()
		Expect(requests).To(HaveLen(3))
		Expect(requests[1].Time.Sub(requests[0].AnsweredAt)).To(BeNumerically(">=", 2*time.Second))
	})

	It("names a refused key and an answer that leads elsewhere", func(ctx SpecContext) {
		w.simulator.InjectContact("jane", opencxtest.Failure(401, "Unauthorized"))
		w.simulator.InjectContact("john", opencxtest.Answer{Status: 302, Header: map[string]string{"Location": "https://example.com"}})
		w.declare(ctx, "jane", `{}`)
		w.declare(ctx, "john", `{}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:Unauthorized Stalled=True:Unauthorized")
		w.expectSummary(ctx, "john", "1/1 Ready=False:Unreachable Reconciling=True:Unreachable")
	})

	It("stays Ready through a re-send that fails softly", func(ctx SpecContext) {
		w.declare(ctx, "jane", `{}`)
		w.expectSynced(ctx, "jane", 1)
		w.simulator.InjectContact("jane", opencxtest.Failure(500, "boom"))
		w.edit(ctx, "jane", `{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`)
		Eventually(func() int32 { return w.get(ctx, "jane").Status.ConsecutiveFailures }).Should(BeNumerically(">=", 1))
		w.expectSummary(ctx, "jane", "1/1 Ready=True:Synced")
		Expect(w.get(ctx, "jane").Status.Conditions[0].Message).To(ContainSubstring("sending it again failed and is retried: OpenCX answered 500"))
		w.simulator.ClearFaults()
		Eventually(func() int32 { return w.get(ctx, "jane").Status.ConsecutiveFailures }).Should(BeZero())
	})
})

var _ = Describe("Suspended", func() {
	It("holds a change back until it is resumed", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane","suspend":true}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=Unknown:Suspended")
		w.expectNoMore(0)
		w.edit(ctx, "jane", `{"spec":{"suspend":null}}`)
		w.expectSynced(ctx, "jane", 2)
		w.edit(ctx, "jane", `{"spec":{"name":"Janet","suspend":true}}`)
		w.expectSummary(ctx, "jane", "3/3 Ready=Unknown:Suspended")
		w.edit(ctx, "jane", `{"spec":{"name":"Jane","suspend":null}}`)
		w.expectSynced(ctx, "jane", 4)
		w.expectNoMore(1)
	})
})

// watchObservedGenerations returns a function that lists, in order and without
// repetition, every observedGeneration that the world's contacts ever showed.
func (w *world) watchObservedGenerations(ctx context.Context) func() []int64 {
	GinkgoHelper()
	var seen []int64
	stop := w.follow(ctx, func(contact *v1alpha1.OpenCXContact) { seen = append(seen, contact.Status.ObservedGeneration) })
	return func() []int64 {
		stop()
		return slices.Compact(seen)
	}
}
