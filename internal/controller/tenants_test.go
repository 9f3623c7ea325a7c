package controller

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	clientrest "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// notForTenants are words of what belongs to others.
var notForTenants = []string{"hidden", "Secret", "secret", "ConfigMap", "configmap", "opencx-operator-", "--", "log"}

// expectToldToTenants waits for what a contact tells, and asserts that neither that nor
// its events name anything of others.
func (w *world) expectToldToTenants(ctx context.Context, name, summary, message string) {
	GinkgoHelper()
	Eventually(func() string { return w.summary(ctx, name) }, promptly).Should(Equal(summary))
	Expect(w.message(ctx, name)).To(HavePrefix(message))
	told := asJSON(w.get(ctx, name).Status) + strings.Join(w.events(ctx, name), "\n")
	for _, word := range notForTenants {
		Expect(told).NotTo(ContainSubstring(word))
	}
}

var _ = Describe("A contact of an organization of another namespace", func() {
	It("names nothing that belongs to others, whatever is wrong with the API key", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.createOrganization(ctx, "same-key", secret("ocx_live_"), func(o *v1alpha1.OpenCXOrganization) {
			o.Spec.APIKeySecretRef = v1alpha1.APIKeySecretReference{Name: "hidden-of-another", Key: "hidden-field"}
		})
		other := w.addNamespace(ctx)
		u := w.startUnreadable()
		tenant := w.seenFrom(other)
		declare := func(name string) {
			GinkgoHelper()
			tenant.declare(ctx, name, `{"organizationRef":{"name":"default","namespace":"`+w.namespace+`"}}`)
		}
		missing := "OpenCXOrganization " + w.namespace + "/default has no API key yet: see the status of that"
		unusable := "The API key of OpenCXOrganization " + w.namespace + "/default cannot be used: see the status of that"
		const (
			isMissing  = "1/1 Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound"
			isUnusable = "1/1 Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid"
			isUnread   = "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting"
		)
		w.editOrganization(ctx, "default", `{"spec":{"apiKeySecretRef":{"name":"hidden","key":"hidden-field"}}}`)
		declare("jane")
		tenant.expectToldToTenants(ctx, "jane", isMissing, missing)

		By("having another key in it")
		w.put(ctx, "hidden", map[string]string{"apiKey": w.key})
		Eventually(func() string { return w.organizationMessage(ctx, "default") }).Should(ContainSubstring(`has no key "hidden-field"`))
		tenant.expectToldToTenants(ctx, "jane", isMissing, missing)

		By("having what is no key in it, what is too long, and what is another organization's")
		another := &corev1.Secret{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: "hidden-of-another"}, another)).To(Succeed())
		for reason, value := range map[string]string{"printable ASCII": "two\nlines", "longer than 4096": strings.Repeat("k", 5000), "same API key before": string(another.Data["hidden-field"])} {
			w.put(ctx, "hidden", map[string]string{"hidden-field": value})
			Eventually(func() string { return w.organizationMessage(ctx, "default") }).Should(ContainSubstring(reason))
			tenant.expectToldToTenants(ctx, "jane", isUnusable, unusable)
		}

		By("having it unreadable, or forbidden")
		u.path.Store(new("/secrets/hidden"))
		for i, name := range []string{"unreadable", "forbidden"} {
			u.code.Store([]int32{http.StatusInternalServerError, http.StatusForbidden}[i])
			w.put(ctx, "hidden", map[string]string{"hidden-field": secret("ocx_live_")})
			declare(name)
			tenant.expectToldToTenants(ctx, name, isUnread, unreadMessage)
		}
		w.expectNoMore(0)
	}, SpecTimeout(2*time.Minute))

	It("names nothing of the operator when that cannot note what it sends, which its log does", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		other := w.addNamespace(ctx)
		w.stop()
		away := errors.New("the API server is away")
		w.newClient = func(config *clientrest.Config, options client.Options) (client.Client, error) {
			direct, err := client.NewWithWatch(config, options)
			return interceptor.NewClient(direct, interceptor.Funcs{
				Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return away },
				Update: func(context.Context, client.WithWatch, client.Object, ...client.UpdateOption) error { return away },
			}), err
		}
		w.startOperator()
		tenant := w.seenFrom(other)
		tenant.declare(ctx, "jane", `{"organizationRef":{"name":"default","namespace":"`+w.namespace+`"}}`)
		tenant.expectToldToTenants(ctx, "jane", "-1/1 Ready=Unknown:Waiting Reconciling=True:Waiting", "The operator cannot note at present how much it sends, ")
		var logged string
		for line := range strings.Lines(logs.String()) {
			if strings.Contains(line, "Cannot reserve requests") && strings.Contains(line, w.namespace) {
				logged = line
			}
		}
		Expect(logged).To(And(ContainSubstring("opencx-operator-budget"), ContainSubstring("the API server is away")))
		w.expectNoMore(0)
	})
})
