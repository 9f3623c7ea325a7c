package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const ownNamespace = operatortest.DeployedNamespace

// deployment is the operator with the rights that config gives it.
type deployment struct{ *operatortest.Deployment }

func deploy(ctx SpecContext, namespace string, allowed v1alpha1.AllowedNamespaces, args ...string) deployment {
	GinkgoHelper()
	d := deployment{&operatortest.Deployment{
		ControlPlane: controlPlane, Binary: binary, APIKey: apiKey, Namespace: namespace, Allowed: allowed,
		Simulator: operatortest.StartSimulator(opencxtest.Options{Keys: []string{apiKey}, AcceptAnyContact: true}),
		Args:      append([]string{"--leader-elect", "--opencx-rate-limit=10/1s"}, args...), // so that requests are reserved one by one
		Env:       []string{"POD_NAMESPACE=" + ownNamespace},
		Folder:    GinkgoT().TempDir(),
	}}
	DeferCleanup(d.Simulator.Close)
	Expect(d.Authenticate(ctx)).To(Succeed())
	return d
}

// errForbidden is what a job ends with when the operator was not allowed to do
// something.
var errForbidden = errors.New("the operator says that something is forbidden")

// work lets the operator do everything that it is there for, and says why it
// could not.
func (d deployment) work(ctx SpecContext) error {
	GinkgoHelper()
	Expect(d.Declare(ctx)).To(Succeed())
	defer func() { Expect(d.Remove(ctx)).To(Succeed()) }()
	operator, metrics, err := d.Launch(ctx)
	Expect(err).NotTo(HaveOccurred())
	defer func() {
		// Without a rule it may end with a failure, but end it must.
		Expect(errors.Is(operator.Stop(), operatortest.ErrDoesNotStop)).To(BeFalse(), operator.Log())
		reserved := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: "opencx-operator-budget"}}
		Expect(client.IgnoreNotFound(k8s.Delete(ctx, reserved))).To(Succeed())
		kubectl("-n", ownNamespace, "delete", "lease", "--all")
		for _, namespace := range []string{d.Namespace, ownNamespace} {
			Expect(k8s.DeleteAllOf(ctx, &eventsv1.Event{}, client.InNamespace(namespace))).To(Succeed())
		}
	}()

	var forbiddenSince time.Time
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := d.Proceed(ctx, metrics)
		if err == nil {
			return nil
		}
		switch log := operator.Log(); {
		case strings.Contains(log, "orbidden") && forbiddenSince.IsZero():
			forbiddenSince = time.Now()
		case !forbiddenSince.IsZero() && time.Since(forbiddenSince) > 3*time.Second:
			return fmt.Errorf("%w: %w\n%s", errForbidden, err, log)
		case time.Now().After(deadline):
			return fmt.Errorf("%w\n%s", err, log)
		}
	}
}

// rulesOf returns the rules of a Role, or of a ClusterRole when namespace is "",
// and how to set them.
func rulesOf(ctx SpecContext, namespace, name string) (rules []rbacv1.PolicyRule, set func([]rbacv1.PolicyRule)) {
	GinkgoHelper()
	if namespace == "" {
		role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}}
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(role), role)).To(Succeed())
		return slices.Clone(role.Rules), func(rules []rbacv1.PolicyRule) {
			role.Rules = rules
			Expect(k8s.Update(ctx, role)).To(Succeed())
		}
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(role), role)).To(Succeed())
	return slices.Clone(role.Rules), func(rules []rbacv1.PolicyRule) {
		role.Rules = rules
		Expect(k8s.Update(ctx, role)).To(Succeed())
	}
}

var _ = Describe("The shipped RBAC", Ordered, func() {
	BeforeAll(func(ctx SpecContext) {
		kubectl("-n", ownNamespace, "create", "serviceaccount", "scraper")
		kubectl("create", "clusterrolebinding", "scraper", "--clusterrole=opencx-metrics-reader", "--serviceaccount="+ownNamespace+":scraper")
		shop := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"team": "shop"}}}
		Expect(k8s.Create(ctx, shop)).To(Succeed())
	})

	checkEachRule := func(ctx SpecContext, d deployment, roles [][2]string) {
		GinkgoHelper()
		Expect(d.work(ctx)).To(Succeed())
		for _, role := range roles {
			rules, set := rulesOf(ctx, role[0], role[1])
			for i, rule := range rules {
				By(fmt.Sprintf("taking %v %v from %s", rule.Verbs, rule.Resources, role[1]))
				set(slices.Delete(slices.Clone(rules), i, i+1))
				time.Sleep(time.Second) // until the API server has noticed
				Expect(d.work(ctx)).To(MatchError(errForbidden))
				set(rules)
			}
		}
		time.Sleep(time.Second)
		Expect(d.work(ctx)).To(Succeed())
	}

	It("is enough for the whole cluster, and each rule of it is needed", func(ctx SpecContext) {
		d := deploy(ctx, "shop", v1alpha1.AllowedNamespaces{
			From:     v1alpha1.NamespacesFromSelector,
			Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "shop"}},
		})
		checkEachRule(ctx, d, [][2]string{
			{"", "opencx-manager-role"}, {"", "opencx-namespace-reader-role"}, {ownNamespace, "opencx-manager-role"}, {ownNamespace, "opencx-leader-election-role"}, {"", "opencx-metrics-auth-role"},
		})
	})

	It("is enough for some namespaces without the ClusterRole, and each rule of it is needed", func(ctx SpecContext) {
		kubectl("delete", "clusterrole", "opencx-manager-role", "opencx-namespace-reader-role")
		kubectl("delete", "clusterrolebinding", "opencx-manager-rolebinding")
		kubectl("apply", "--server-side", "-k", filepath.Join(root, "config", "namespaced"))
		d := deploy(ctx, "shop", v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, "--watch-namespaces=shop")
		checkEachRule(ctx, d, [][2]string{
			{"shop", "opencx-manager-role"}, {ownNamespace, "opencx-own-namespace-role"},
		})
	})

	It("keeps the other Secrets of its namespace from the operator, and status says so", func(ctx SpecContext) {
		d := deploy(ctx, "shop", v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll})
		kubectl("-n", ownNamespace, "create", "secret", "generic", "opencx-api-key", "--from-literal=second="+apiKey)
		other := types.NamespacedName{Namespace: ownNamespace, Name: "other"}
		Expect(controlPlane.CreateOrganization(ctx, other, apiKey)).To(Succeed())
		operator, err := operatortest.StartOperator(ctx, operatortest.OperatorOptions{
			Binary: binary, Kubeconfig: filepath.Join(d.Folder, "kubeconfig"), APIURL: d.Simulator.URL, Args: []string{"--watch-namespaces=shop"},
			Env:     []string{"POD_NAMESPACE=" + ownNamespace},
			LogFile: filepath.Join(GinkgoT().TempDir(), "operator.log"),
		})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(operator.Kill)
		ready := func() string {
			return kubectl("-n", ownNamespace, "get", "oxo", "other", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")]['reason','message']}`)
		}
		Eventually(ready).Should(Equal(`APIKeyNotFound spec.apiKeySecretRef: the operator reads no Secret of this namespace but "opencx-api-key": name that one, or have its --default-api-key-secret and its Role name another`))
		Expect(operator.Log()).NotTo(ContainSubstring("secrets")) // it did not try

		kubectl("-n", ownNamespace, "patch", "oxo", "other", "--type=merge", "-p", `{"spec":{"apiKeySecretRef":{"name":"opencx-api-key","key":"second"}}}`)
		Eventually(ready).Should(HavePrefix("Usable "))
		Expect(controlPlane.DeleteOrganization(ctx, other)).To(Succeed())
	})
})
