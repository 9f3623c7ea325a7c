package controller

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// put creates a Secret or replaces keys of its data.
func (w *world) put(ctx context.Context, name string, data map[string]string) {
	GinkgoHelper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, StringData: data}
	if err := k8s.Create(ctx, s); err != nil {
		Expect(k8s.Patch(ctx, s, client.RawPatch(types.MergePatchType, []byte(asJSON(map[string]any{"stringData": data}))))).To(Succeed())
	}
}

// putConfigMap creates a ConfigMap or replaces keys of its data.
func (w *world) putConfigMap(ctx context.Context, name string, data map[string]string) {
	GinkgoHelper()
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Data: data}
	if err := k8s.Create(ctx, c); err != nil {
		w.change(ctx, "ConfigMap", name, asJSON(map[string]any{"data": data}))
	}
}

// change applies a JSON merge patch to a Secret or ConfigMap.
func (w *world) change(ctx context.Context, kind, name, patch string) {
	GinkgoHelper()
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	Expect(k8s.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

func (w *world) remove(ctx context.Context, kind, name string) {
	GinkgoHelper()
	object := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	Expect(k8s.Delete(ctx, object)).To(Succeed())
}

const phoneFromJane = `{"phoneFrom":{"secretKeyRef":{"name":"jane","key":"phone"}}}`

var _ = Describe("Values from Secrets and ConfigMaps", func() {
	It("are sent beside the plain ones", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		bearer := secret("Bearer ")
		w.put(ctx, "jane", map[string]string{"email": "jane@example.com\n", "phone": "+12025550123", "bearer": bearer + "\n", "p": "path", "b": "body"})
		w.putConfigMap(ctx, "names", map[string]string{"jane": "Jane Doe\n", "tier": "1", "q": "query"})
		w.declare(ctx, "jane", `{
			"emailFrom":{"secretKeyRef":{"name":"jane","key":"email"}}, "phoneFrom":{"secretKeyRef":{"name":"jane","key":"phone"}},
			"nameFrom":{"configMapKeyRef":{"name":"names","key":"jane"}},
			"customData":{"plan":"enterprise"}, "customDataFrom":{"tier":{"configMapKeyRef":{"name":"names","key":"tier"}}},
			"httpActionOverrides":{
				"queryParamsFrom":{"q":{"configMapKeyRef":{"name":"names","key":"q"}}}, "pathParamsFrom":{"p":{"secretKeyRef":{"name":"jane","key":"p"}}},
				"bodyParamsFrom":{"b":{"secretKeyRef":{"name":"jane","key":"b"}}},
				"headers":{"X-Tenant":"acme"}, "headersFrom":{"Authorization":{"secretKeyRef":{"name":"jane","key":"bearer"}}}}}`)
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(1)
		Expect(w.journal()).To(Equal([]string{`200 jane {"contact":{"email":"jane@example.com","phone":"+12025550123","name":"Jane Doe","custom_data":{"plan":"enterprise","tier":"1"},` +
			`"http_action_overrides":{"query_params":{"q":"query"},"path_params":{"p":"path"},"body_params":{"b":"body"},"headers":{"Authorization":"` + bearer + `","X-Tenant":"acme"}}}}`}))
	})

	It("are waited for, and nothing is sent in parts", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane","phoneFrom":{"secretKeyRef":{"name":"jane","key":"phone"}}}`)
		w.expectTold(ctx, "jane", told{
			"1/1 Ready=False:ValueNotFound Reconciling=True:ValueNotFound",
			`spec.phoneFrom: Secret "jane" does not exist: create it with the value under "phone"`, nil, backoff{},
			[]string{`Warning ValueNotFound spec.phoneFrom: Secret "jane" does not exist: create it with the value under "phone"`}, "InProgress"})
		w.put(ctx, "jane", map[string]string{"other": "x"})
		Eventually(func() string { return w.message(ctx, "jane") }).Should(Equal(`spec.phoneFrom: Secret "jane" has no key "phone": add it, or name another one`))
		w.expectNoMore(0)
		w.put(ctx, "jane", map[string]string{"phone": "+12025550123"})
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(1)
	})

	It("lead to one PATCH of each contact that uses them when they change, and to none when anything else does", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.put(ctx, "jane", map[string]string{"phone": "+12025550100"})
		for _, name := range []string{"a", "b", "c"} {
			w.declare(ctx, name, phoneFromJane)
			w.expectSynced(ctx, name, 1)
		}
		w.declare(ctx, "other", `{}`)
		w.expectSynced(ctx, "other", 1)

		By("changing what is not used")
		for i := range 3 {
			w.change(ctx, "Secret", "jane", fmt.Sprintf(`{"metadata":{"labels":{"i":"%d"}}}`, i))
			w.put(ctx, "jane", map[string]string{"other": fmt.Sprint(i)})
		}
		w.expectNoMore(4)

		By("changing the value")
		w.put(ctx, "jane", map[string]string{"phone": "+12025550101"})
		Eventually(w.journal).Should(HaveLen(7))
		Expect(w.journal()[4:]).To(ConsistOf(
			`200 a {"contact":{"phone":"+12025550101"}}`, `200 b {"contact":{"phone":"+12025550101"}}`, `200 c {"contact":{"phone":"+12025550101"}}`))

		By("deleting the Secret and creating it with the same value")
		w.remove(ctx, "Secret", "jane")
		w.expectSummary(ctx, "a", "1/1 Ready=False:ValueNotFound Reconciling=True:ValueNotFound")
		w.put(ctx, "jane", map[string]string{"phone": "+12025550101"})
		for _, name := range []string{"a", "b", "c"} {
			w.expectSynced(ctx, name, 1)
		}
		w.expectNoMore(7)

		By("labelling it after a restart, when the values that were sent are not known")
		w.stop()
		w.startOperator()
		w.expectNoMore(7)
		w.change(ctx, "Secret", "jane", `{"metadata":{"labels":{"i":"x"}}}`)
		Eventually(w.journal).Should(HaveLen(10))
		w.change(ctx, "Secret", "jane", `{"metadata":{"labels":{"i":"y"}}}`)
		w.expectNoMore(10)
	})

	It("are no longer said to be missing while the contact waits for its turn", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 1, Window: time.Minute})
		w.declare(ctx, "first", `{}`)
		w.expectSynced(ctx, "first", 1)
		w.declare(ctx, "jane", phoneFromJane)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:ValueNotFound Reconciling=True:ValueNotFound")
		w.put(ctx, "jane", map[string]string{"phone": "+12025550100"})
		w.expectSummary(ctx, "jane", "1/1 Ready=Unknown:Waiting Reconciling=True:Waiting")
		w.expectNoMore(1)
	})

	It("may be renamed in their Secret", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.put(ctx, "jane", map[string]string{"phone": "+12025550100"})
		w.declare(ctx, "jane", phoneFromJane)
		w.expectSynced(ctx, "jane", 1)
		w.change(ctx, "Secret", "jane", `{"data":{"phone":null},"stringData":{"mobile":"+12025550101"}}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:ValueNotFound Reconciling=True:ValueNotFound")
		w.edit(ctx, "jane", `{"spec":{"phoneFrom":{"secretKeyRef":{"key":"mobile"}}}}`)
		w.expectSynced(ctx, "jane", 2)
		w.expectNoMore(2)
		Expect(w.journal()[1]).To(Equal(`200 jane {"contact":{"phone":"+12025550101"}}`))
	})

	It("arrive as the newest when a Secret is edited a hundred times in a second", func(ctx SpecContext) {
		w := newWorld(ctx, budget.Limit{Requests: 10, Window: time.Second})
		w.put(ctx, "jane", map[string]string{"phone": "0"})
		w.declare(ctx, "jane", phoneFromJane)
		w.expectSynced(ctx, "jane", 1)
		start := time.Now()
		for i := range 100 {
			w.put(ctx, "jane", map[string]string{"phone": fmt.Sprint(i + 1)})
		}
		windows := int(time.Since(start)/time.Second) + 3
		Eventually(func() string { return w.journal()[len(w.journal())-1] }).Should(Equal(`200 jane {"contact":{"phone":"100"}}`))
		n := len(w.journal())
		Expect(n).To(BeNumerically("<=", 10*windows))
		w.expectNoMore(n)
		Expect(w.journal()).To(HaveEach(HavePrefix("200 ")))
	})

	It("are held back by suspend when they change, and only then", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.put(ctx, "jane", map[string]string{"phone": "+12025550100"})
		w.declare(ctx, "jane", phoneFromJane)
		w.expectSynced(ctx, "jane", 1)
		w.edit(ctx, "jane", `{"spec":{"suspend":true}}`)
		w.expectSynced(ctx, "jane", 2)
		w.change(ctx, "Secret", "jane", `{"metadata":{"labels":{"a":"b"}}}`)
		Consistently(func() string { return w.summary(ctx, "jane") }).Should(Equal("2/2 Ready=True:Synced"))
		w.put(ctx, "jane", map[string]string{"phone": "+12025550101"})
		w.expectSummary(ctx, "jane", "2/2 Ready=Unknown:Suspended")
		w.expectNoMore(1)
		w.edit(ctx, "jane", `{"spec":{"suspend":false}}`)
		w.expectSynced(ctx, "jane", 3)
		w.expectNoMore(2)
	})

	It("in a ConfigMap may become immutable", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.putConfigMap(ctx, "names", map[string]string{"jane": "Jane"})
		w.declare(ctx, "jane", `{"nameFrom":{"configMapKeyRef":{"name":"names","key":"jane"}}}`)
		w.expectSynced(ctx, "jane", 1)
		w.change(ctx, "ConfigMap", "names", `{"immutable":true}`)
		w.expectNoMore(1)
		w.remove(ctx, "ConfigMap", "names")
		w.putConfigMap(ctx, "names", map[string]string{"jane": "Jane Doe"})
		Eventually(w.journal).Should(HaveLen(2))
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(2)
		Expect(w.journal()[1]).To(Equal(`200 jane {"contact":{"name":"Jane Doe"}}`))
	})

	It("are left out while they are optional and missing", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"name":"Jane","customDataFrom":{"tier":{"configMapKeyRef":{"name":"tiers","key":"jane","optional":true}}}}`)
		w.expectSynced(ctx, "jane", 1)
		w.putConfigMap(ctx, "tiers", map[string]string{"jane": "1"})
		Eventually(w.journal).Should(Equal([]string{`200 jane {"contact":{"name":"Jane"}}`, `200 jane {"contact":{"name":"Jane","custom_data":{"tier":"1"}}}`}))
		w.expectNoMore(2)
	})

	DescribeTable("are refused before anything is sent when they cannot be sent",
		func(ctx SpecContext, spec, bad, good, message string) {
			w := newWorld(ctx, budget.DefaultLimit)
			w.put(ctx, "jane", map[string]string{"k": bad})
			w.declare(ctx, "jane", spec)
			w.expectSummary(ctx, "jane", "1/1 Ready=False:ValueInvalid Stalled=True:ValueInvalid")
			Expect(w.message(ctx, "jane")).To(Equal(message))
			w.expectNoMore(0)
			w.put(ctx, "jane", map[string]string{"k": good})
			w.expectSynced(ctx, "jane", 1)
			w.expectNoMore(1)
		},
		Entry("an address", `{"emailFrom":{"secretKeyRef":{"name":"jane","key":"k"}}}`, "jane@localhost", "jane@example.com",
			`spec.emailFrom: key "k" of Secret "jane" is not an address that OpenCX accepts, like jane.doe@example.com: correct it`),
		Entry("a header", `{"httpActionOverrides":{"headersFrom":{"Authorization":{"secretKeyRef":{"name":"jane","key":"k"}}}}}`, "a\nb", "ab",
			`spec.httpActionOverrides.headersFrom.Authorization: key "k" of Secret "jane" has a control character, such as a line break, which no header can carry: correct it`),
	)

	It("of a plain header are held to the same rule", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.declare(ctx, "jane", `{"httpActionOverrides":{"headers":{"X-A":"a\nb"}}}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:ValueInvalid Stalled=True:ValueInvalid")
		w.edit(ctx, "jane", `{"spec":{"httpActionOverrides":{"headers":{"X-A":"ab"}}}}`)
		w.expectSynced(ctx, "jane", 2)
		w.expectNoMore(1)
	})

	It("that OpenCX refused are sent at once when they change, and not when the Secret is labelled", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.simulator.InjectNext(1, opencxtest.Failure(422, "phone is malformed"))
		w.put(ctx, "jane", map[string]string{"phone": "x"})
		w.declare(ctx, "jane", phoneFromJane)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:Rejected Stalled=True:Rejected")
		w.change(ctx, "Secret", "jane", `{"metadata":{"labels":{"a":"b"}}}`)
		w.expectNoMore(1)
		w.put(ctx, "jane", map[string]string{"phone": "+12025550123"})
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(2)
	})
})

var _ = Describe("The scope of an instance", func() {
	It("selects contacts by label, and none of the Secrets they name", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		var err error
		w.selector, err = labels.Parse("shard=a")
		Expect(err).NotTo(HaveOccurred())
		w.startOperator()
		w.put(ctx, "jane", map[string]string{"phone": "+12025550100"})
		for name, shard := range map[string]string{"a": "a", "b": "b"} {
			manifest := w.manifest(name, phoneFromJane)
			manifest.SetLabels(map[string]string{"shard": shard})
			Expect(k8s.Create(ctx, manifest)).To(Succeed())
		}
		w.expectSynced(ctx, "a", 1)
		w.put(ctx, "jane", map[string]string{"phone": "+12025550101"})
		Eventually(w.journal).Should(HaveLen(2))
		w.expectNoMore(2)
		Expect(w.get(ctx, "b").Status.ObservedGeneration).To(Equal(int64(-1)))

		By("moving a contact into the shard")
		w.edit(ctx, "b", `{"metadata":{"labels":{"shard":"a"}}}`)
		w.expectSynced(ctx, "b", 1)
	})

	It("includes the default organization with its key, wherever it is", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		w.defaultOrganization = types.NamespacedName{Namespace: w.namespace + "-keys", Name: "opencx"}
		w.startOperator()
		w.declare(ctx, "jane", `{}`)
		w.expectSummary(ctx, "jane", "1/1 Ready=False:OrganizationNotFound Reconciling=True:OrganizationNotFound")
		key := secret("ocx_live_")
		w.simulator.SetKeys(key)
		Expect(controlPlane.CreateOrganization(ctx, w.defaultOrganization, key)).To(Succeed())
		w.expectSynced(ctx, "jane", 1)
		w.expectNoMore(1)
	})
})

// message is what Ready says.
func (w *world) message(ctx context.Context, name string) string {
	GinkgoHelper()
	for _, condition := range w.get(ctx, name).Status.Conditions {
		if condition.Type == "Ready" {
			return condition.Message
		}
	}
	return ""
}
