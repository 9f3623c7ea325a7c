package docs

import (
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// run are the pages whose commands are run here.
var run = map[string]bool{
	"docs/quick-start.md": true, "docs/opencxorganization.md": true,
	"docs/opencxcontact.md": true, "docs/operations.md": true,
	"docs/drift.md": true,
}

var _ = Describe("The commands", func() {
	It("of the pages of both kinds and of operations do what they say", func(ctx SpecContext) {
		crm, shop := "crm", "shop"
		simulator := startOpenCX()
		startOperator(simulator.URL, "--default-organization=crm/default")
		for _, namespace := range []string{crm, shop} {
			Expect(controlPlane.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
		}
		r := newReader(ctx, controlPlane, shop)

		By("an organization that has no key yet")
		apply(ctx, "docs/opencxorganization.md", 0)
		organization := &v1alpha1.OpenCXOrganization{}
		reason := func() string {
			Expect(controlPlane.Client.Get(ctx, client.ObjectKey{Namespace: crm, Name: "default"}, organization)).To(Succeed())
			return reasonOf(organization.Status.Conditions)
		}
		Eventually(reason).Should(Equal(v1alpha1.APIKeyNotFoundReason))
		for _, b := range commandsOf("docs/opencxorganization.md") {
			r.read(ctx, b)
		}
		Eventually(reason).Should(Equal(v1alpha1.UsableReason))

		By("the first example of a contact")
		apply(ctx, "docs/opencxcontact.md", 0)
		r.shell(ctx, "kubectl wait --for=condition=Ready --timeout=60s oxc/jane-doe")
		Expect(simulator.Journal()).To(HaveLen(1))
		var printed []string
		for _, b := range commandsOf("docs/opencxcontact.md") {
			printed = append(printed, r.read(ctx, b))
		}
		Expect(printed[len(printed)-1]).To(Equal("OpenCX has accepted the contact\n"))
		Eventually(simulator.Journal).Should(HaveLen(2)) // what was asked for, and nothing else

		By("operations")
		simulator.SetKeys("rotated-key")
		r.shell(ctx, "kubectl annotate oxc jane-doe --overwrite contacts.open.cx/reconcile-at=refused")
		r.shell(ctx, "kubectl wait --for=condition=Stalled --timeout=60s oxc/jane-doe")
		rotated := r
		rotated.instead = strings.NewReplacer("$OPENCX_API_KEY", "rotated-key")
		printed = nil
		for _, b := range commandsOf("docs/operations.md") {
			printed = append(printed, rotated.read(ctx, b))
			r.shell(ctx, "kubectl wait --for=condition=Ready --timeout=60s oxc/jane-doe")
		}
		Expect(simulator.Journal()).To(HaveLen(4)) // the refused one, and one with the new key
		Expect(printed[0]).To(ContainSubstring("secret/opencx-api-key configured"))

		By("the second example of a contact")
		apply(ctx, "docs/opencxcontact.md", 1)
		Eventually(func() string {
			return r.shell(ctx, `kubectl get oxc jane-doe -o jsonpath='{.status.conditions[?(@.type=="Ready")].reason}'`)
		}).
			Should(Equal(v1alpha1.ValueNotFoundReason))
		r.shell(ctx, "kubectl create secret generic jane-doe --from-literal=phone=+12025550123 --from-literal=bearer=token")
		r.shell(ctx, "kubectl wait --for=condition=Ready --timeout=60s oxc/jane-doe")
		Expect(simulator.Journal()).To(HaveLen(5))

		By("drift")
		introduce(ctx, r, simulator)
	})

	It("of the quick start lead from nothing to a contact, and back to nothing", func(ctx SpecContext) {
		nothing, err := operatortest.StartControlPlane()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(nothing.Stop()).To(Succeed()) })
		address, err := operatortest.FreeAddress(ctx)
		Expect(err).NotTo(HaveOccurred())
		r := newReader(ctx, nothing, "default",
			"--accept-any-contact", "--accept-any-contact --listen="+address,
			"ARGS=--opencx-api-url=http://127.0.0.1:8085", `ARGS="--health-probe-bind-address=0 --opencx-api-url=http://`+address+`"`)
		for _, b := range commandsOf("docs/quick-start.md") {
			r.read(ctx, b)
		}
		Expect(r.shell(ctx, "kubectl get crd")).NotTo(ContainSubstring("open.cx"))
		Expect(r.shell(ctx, "kubectl get secrets,configmaps -o name")).NotTo(ContainSubstring("opencx"))
	})
})

var _ = Describe("The examples", func() {
	It("are what the API server accepts", func(ctx SpecContext) {
		examples := 0
		for _, p := range pages {
			for _, b := range p.blocks {
				if b.language != "yaml" {
					continue
				}
				for document := range strings.SplitSeq(b.text, "\n---\n") {
					var object struct{ APIVersion string }
					Expect(yaml.Unmarshal([]byte(document), &object)).To(Succeed(), b.String())
					if object.APIVersion != v1alpha1.GroupVersion.String() {
						continue // of another program, whose CRDs are not here
					}
					examples++
					// The namespaces of the examples need not exist.
					document = strings.NewReplacer("namespace: shop\nspec", "namespace: default\nspec", "namespace: crm\nspec", "namespace: default\nspec").Replace(document)
					output, err := controlPlane.Kubectl(ctx, document, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
					Expect(err).NotTo(HaveOccurred(), "%s\n%s", b, output)
				}
			}
		}
		Expect(examples).To(BeNumerically(">=", 5))
	})
})

// apply applies an example of a page.
func apply(ctx SpecContext, path string, number int) {
	GinkgoHelper()
	examples := slices.DeleteFunc(slices.Clone(pageOf(path).blocks), func(b block) bool { return b.language != "yaml" })
	_, err := controlPlane.Kubectl(ctx, examples[number].text, "apply", "-f", "-")
	Expect(err).NotTo(HaveOccurred())
}

func reasonOf(conditions []metav1.Condition) string {
	for _, condition := range conditions {
		if condition.Type == v1alpha1.ReadyCondition {
			return condition.Reason
		}
	}
	return ""
}

// startOpenCX starts a simulated OpenCX that has the contacts which are asked for.
func startOpenCX() *operatortest.Simulator {
	simulator := operatortest.StartSimulator(opencxtest.Options{Keys: []string{apiKey}, AcceptAnyContact: true})
	DeferCleanup(simulator.Close)
	return simulator
}

// startOperator starts the operator, whose own namespace is default.
func startOperator(url string, args ...string) *operatortest.Operator {
	GinkgoHelper()
	operator, err := operatortest.LaunchOperator(operatortest.OperatorOptions{
		Binary: binary, Kubeconfig: controlPlane.Kubeconfig, APIURL: url, Args: args,
		LogFile: filepath.Join(GinkgoT().TempDir(), "operator.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)
	return operator
}
