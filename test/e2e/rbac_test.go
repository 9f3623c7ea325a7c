package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const ownNamespace = "opencx-system"

// deployedOrganization is what an operator looks for that config deploys.
var deployedOrganization = types.NamespacedName{Namespace: ownNamespace, Name: "default"}

// deployment is the operator as config deploys it: as its ServiceAccount, with
// what that may do and nothing else.
type deployment struct {
	namespace  string // of the contacts
	allowed    v1alpha1.AllowedNamespaces
	args       []string
	kubeconfig string
	scraper    string // token of somebody who may read metrics
	simulator  *operatortest.Simulator
}

func deploy(namespace string, allowed v1alpha1.AllowedNamespaces, args ...string) *deployment {
	GinkgoHelper()
	d := &deployment{namespace: namespace, allowed: allowed, args: args, kubeconfig: filepath.Join(GinkgoT().TempDir(), "kubeconfig")}
	config, err := os.ReadFile(controlPlane.Kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(d.kubeconfig, config, 0o600)).To(Succeed())
	asOperator := strings.TrimSpace(kubectl("-n", ownNamespace, "create", "token", "opencx-controller-manager"))
	kubectl("--kubeconfig", d.kubeconfig, "config", "set-credentials", "operator", "--token="+asOperator)
	kubectl("--kubeconfig", d.kubeconfig, "config", "set-context", "--current", "--user=operator")
	d.scraper = strings.TrimSpace(kubectl("-n", ownNamespace, "create", "token", "scraper"))
	d.simulator = operatortest.StartSimulator(opencxtest.Options{Keys: []string{apiKey}, AcceptAnyContact: true})
	DeferCleanup(d.simulator.Close)
	return d
}

// errForbidden is what a job ends with when the operator was not allowed to do
// something.
var errForbidden = errors.New("the operator says that something is forbidden")

// work lets the operator do everything that it is there for, and says why it
// could not.
func (d *deployment) work(ctx SpecContext) error {
	GinkgoHelper()
	d.simulator.ClearFaults()
	d.simulator.ResetJournal()
	d.simulator.InjectContact("refused", opencxtest.Answer{Status: 422, Body: `{"statusCode":422,"message":"no","error":"Unprocessable Entity"}`})
	defer d.declare(ctx)()

	address, err := operatortest.FreeAddress(ctx)
	Expect(err).NotTo(HaveOccurred())
	operator, err := operatortest.LaunchOperator(operatortest.OperatorOptions{
		Binary: binary, Kubeconfig: d.kubeconfig, APIURL: d.simulator.URL,
		Args: append([]string{"--leader-elect", "--opencx-rate-limit=10/1s", // so that requests are reserved one by one
			"--metrics-bind-address=" + address}, d.args...),
		Env:     []string{"POD_NAMESPACE=" + ownNamespace},
		LogFile: filepath.Join(GinkgoT().TempDir(), "operator.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	defer func() {
		// Without a rule it may end with a failure, but end it must.
		Expect(errors.Is(operator.Stop(), operatortest.ErrDoesNotStop)).To(BeFalse(), operator.Log())
		reserved := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: "opencx-operator-budget"}}
		Expect(client.IgnoreNotFound(k8s.Delete(ctx, reserved))).To(Succeed())
		kubectl("-n", ownNamespace, "delete", "lease", "--all")
		for _, namespace := range []string{d.namespace, ownNamespace} {
			Expect(k8s.DeleteAllOf(ctx, &eventsv1.Event{}, client.InNamespace(namespace))).To(Succeed())
		}
	}()

	edited := false
	var forbiddenSince time.Time
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := d.done(ctx, address, &edited)
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

// declare creates an organization, whose status nobody has written yet, and its
// contacts with their values. remove deletes all of it.
func (d *deployment) declare(ctx SpecContext) (remove func()) {
	GinkgoHelper()
	Expect(controlPlane.CreateOrganization(ctx, deployedOrganization, apiKey, func(organization *v1alpha1.OpenCXOrganization) {
		organization.Spec.APIKeySecretRef.Name = "opencx-api-key"
		organization.Spec.AllowedNamespaces = d.allowed.DeepCopy()
	})).To(Succeed())
	objects := []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "jane"}, StringData: map[string]string{"phone": "1"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "names"}, Data: map[string]string{"jane": "Jane"}},
		&v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Name: "refused"}, Spec: v1alpha1.OpenCXContactSpec{ContactID: "refused"}},
		&v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Name: "jane"}, Spec: v1alpha1.OpenCXContactSpec{
			ContactID: "jane",
			PhoneFrom: &v1alpha1.ValueSource{SecretKeyRef: &v1alpha1.KeySelector{Name: "jane", Key: "phone"}},
			NameFrom:  &v1alpha1.ValueSource{ConfigMapKeyRef: &v1alpha1.KeySelector{Name: "names", Key: "jane"}},
		}},
	}
	for _, object := range objects {
		object.SetNamespace(d.namespace)
		Expect(k8s.Create(ctx, object)).To(Succeed())
	}
	return func() {
		for _, object := range objects {
			Expect(k8s.Delete(ctx, object)).To(Succeed())
		}
		Expect(controlPlane.DeleteOrganization(ctx, deployedOrganization)).To(Succeed())
	}
}

// done says what is still missing of the work.
func (d *deployment) done(ctx SpecContext, metrics string, edited *bool) error {
	accepted := func(body string) bool {
		return slices.ContainsFunc(d.simulator.Journal(), func(r opencxtest.Request) bool { return r.Status == 200 && string(r.Body) == body })
	}
	if !accepted(`{"contact":{"phone":"1","name":"Jane"}}`) {
		return errors.New("the contact was not sent")
	}
	contact := &v1alpha1.OpenCXContact{}
	if err := k8s.Get(ctx, client.ObjectKey{Namespace: d.namespace, Name: "jane"}, contact); err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition) {
		return errors.New("its status was not written")
	}
	organization := &v1alpha1.OpenCXOrganization{}
	if err := k8s.Get(ctx, deployedOrganization, organization); err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(organization.Status.Conditions, v1alpha1.ReadyCondition) {
		return errors.New("the organization's status was not written")
	}
	if !*edited {
		*edited = true
		kubectl("-n", d.namespace, "patch", "secret", "jane", "-p", `{"stringData":{"phone":"2"}}`)
	}
	if !accepted(`{"contact":{"phone":"2","name":"Jane"}}`) {
		return errors.New("a changed value was not sent")
	}
	for namespace, reason := range map[string]string{d.namespace: "Rejected", ownNamespace: "Usable"} {
		var events eventsv1.EventList
		if err := k8s.List(ctx, &events, client.InNamespace(namespace)); err != nil {
			return err
		}
		if !slices.ContainsFunc(events.Items, func(event eventsv1.Event) bool { return event.Reason == reason }) {
			return fmt.Errorf("there is no event %s in namespace %s", reason, namespace)
		}
	}
	if err := k8s.Get(ctx, client.ObjectKey{Namespace: ownNamespace, Name: "opencx-operator-budget"}, &corev1.ConfigMap{}); err != nil {
		return err
	}
	text, err := d.scrape(ctx, "https://"+metrics+"/metrics", d.scraper)
	if err == nil && !strings.Contains(text, `opencx_contacts{organization="opencx-system/default",ready="True",reason="Synced"} 1`) {
		err = errors.New("the metrics lack the contact")
	}
	if _, open := d.scrape(ctx, "https://"+metrics+"/metrics", "nobody"); err == nil && open == nil {
		err = errors.New("the metrics are open to everybody")
	}
	return err
}

func (d *deployment) scrape(ctx SpecContext, address, token string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	// The certificate of the endpoint is its own.
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	response, err := insecure.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("metrics are answered %d", response.StatusCode)
	}
	return string(text), err
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

	checkEachRule := func(ctx SpecContext, d *deployment, roles [][2]string) {
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
		d := deploy("shop", v1alpha1.AllowedNamespaces{
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
		d := deploy("shop", v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, "--watch-namespaces=shop")
		checkEachRule(ctx, d, [][2]string{
			{"shop", "opencx-manager-role"}, {ownNamespace, "opencx-own-namespace-role"},
		})
	})

	It("keeps the other Secrets of its namespace from the operator, and status says so", func(ctx SpecContext) {
		d := deploy("shop", v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll})
		kubectl("-n", ownNamespace, "create", "secret", "generic", "opencx-api-key", "--from-literal=second="+apiKey)
		other := types.NamespacedName{Namespace: ownNamespace, Name: "other"}
		Expect(controlPlane.CreateOrganization(ctx, other, apiKey)).To(Succeed())
		operator, err := operatortest.StartOperator(ctx, operatortest.OperatorOptions{
			Binary: binary, Kubeconfig: d.kubeconfig, APIURL: d.simulator.URL, Args: []string{"--watch-namespaces=shop"},
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
