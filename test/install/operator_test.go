//go:build platforms

package install

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const (
	namespace = operatortest.DeployedNamespace
	apiKey    = "ocx_live_install"
)

// installed is the Deployment that the API server has.
func installed(ctx SpecContext) *appsv1.Deployment {
	GinkgoHelper()
	deployment := &appsv1.Deployment{}
	Expect(k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "opencx-controller-manager"}, deployment)).To(Succeed())
	return deployment
}

// prepare makes what the installed operator needs to run as its Deployment says, with
// contacts in a namespace.
func prepare(ctx SpecContext, contacts string) *operatortest.Deployment {
	GinkgoHelper()
	d := &operatortest.Deployment{
		ControlPlane: controlPlane, APIKey: apiKey, Namespace: contacts, Folder: GinkgoT().TempDir(),
		Allowed:   v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll},
		Simulator: operatortest.StartSimulator(opencxtest.Options{Keys: []string{apiKey}, AcceptAnyContact: true}),
	}
	DeferCleanup(d.Simulator.Close)
	run(programs, `kubectl -n opencx-system create serviceaccount scraper
kubectl create clusterrolebinding scraper --clusterrole=opencx-metrics-reader --serviceaccount=opencx-system:scraper`)
	return d
}

// start starts a binary exactly as the installed Deployment says, once a Pod of it was
// admitted: as its ServiceAccount, with its arguments and its environment.
func start(ctx SpecContext, d *operatortest.Deployment, binary string) (operator *operatortest.Operator, metrics string) {
	GinkgoHelper()
	deployment := installed(ctx)
	admit(ctx, &deployment.Spec.Template)
	container := deployment.Spec.Template.Spec.Containers[0]
	d.Binary, d.Args, d.Env = binary, container.Args, nil
	for _, env := range container.Env {
		if env.ValueFrom != nil {
			Expect(env.ValueFrom.FieldRef).To(HaveField("FieldPath", "metadata.namespace"))
			env.Value = deployment.Namespace
		}
		d.Env = append(d.Env, env.Name+"="+env.Value)
	}
	Expect(deployment.Spec.Template.Spec.ServiceAccountName).To(Equal("opencx-controller-manager")) // as whom it authenticates
	Expect(d.Authenticate(ctx)).To(Succeed())
	operator, metrics, err := d.Launch(ctx)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)
	return operator, metrics
}

// admit has the API server admit a Pod of the template, in a namespace that refuses one
// that is not restricted.
func admit(ctx SpecContext, template *corev1.PodTemplateSpec) {
	GinkgoHelper()
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
	pod.Namespace, pod.GenerateName = namespace, "opencx-"
	lax := pod.DeepCopy()
	lax.Spec.Containers[0].SecurityContext = nil
	Expect(k8s.Create(ctx, lax)).To(MatchError(ContainSubstring(`violates PodSecurity "restricted`)))
	Expect(k8s.Create(ctx, pod)).To(Succeed())
	Expect(k8s.Delete(ctx, pod, client.GracePeriodSeconds(0))).To(Succeed())
}

// stop ends an operator as Kubernetes does. Its log must have no complaint, but for that of
// controller-runtime that it lets go of the lease, which is logged if there is time left.
func stop(operator *operatortest.Operator) {
	GinkgoHelper()
	Expect(operator.Stop()).To(Succeed())
	for line := range strings.Lines(operator.Log()) {
		if strings.Contains(line, `"error":"leader election lost"`) {
			continue
		}
		Expect(line).NotTo(Or(ContainSubstring(`"level":"error"`), ContainSubstring("unknown namespace")))
	}
}

// sendsNothing starts the operator and has it send one new contact: nothing else is sent,
// and the contact that it had sent before is as it was.
func sendsNothing(ctx SpecContext, d *operatortest.Deployment, fresh string) {
	GinkgoHelper()
	jane := &v1alpha1.OpenCXContact{}
	key := client.ObjectKey{Namespace: d.Namespace, Name: "jane"}
	Expect(k8s.Get(ctx, key, jane)).To(Succeed())
	before := jane.ResourceVersion
	d.Simulator.ResetJournal()
	operator, _ := start(ctx, d, binary)
	Expect(k8s.Create(ctx, &v1alpha1.OpenCXContact{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: fresh}, Spec: v1alpha1.OpenCXContactSpec{ContactID: fresh},
	})).To(Succeed())
	run(programs, fmt.Sprintf("kubectl -n %s wait --for=condition=Ready --timeout=100s oxc/jane oxc/%s", d.Namespace, fresh))
	stop(operator)
	Expect(d.Simulator.Journal()).To(HaveExactElements(HaveField("Path", HaveSuffix("/"+fresh))))
	Expect(k8s.Get(ctx, key, jane)).To(Succeed())
	Expect(jane.ResourceVersion).To(Equal(before))
}
