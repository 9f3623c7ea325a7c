package e2e

import (
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// The API server answers every write to an object that breaks a rule made later with a
// warning that holds the value, and client-go logs warnings.
var _ = Describe("The log", func() {
	It("has no value of a contact that was stored before the API server refused it", func(ctx SpecContext) {
		const private = "jane.private@intranet"
		stored := func(name string) *v1alpha1.OpenCXContact {
			return &v1alpha1.OpenCXContact{
				ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
				Spec:       v1alpha1.OpenCXContactSpec{ContactID: name, Email: new(private)},
			}
		}
		isRefused := func() error { return k8s.Create(ctx, stored("other"), client.DryRunAll) }
		simulator := startSimulator(ctx)

		By("an older version of the CRD")
		today := func() {
			kubectl("apply", "--server-side", "--force-conflicts", "-k", filepath.Join(root, "config", "crd"))
		}
		DeferCleanup(today)
		kubectl("patch", "crd", "opencxcontacts.contacts.open.cx", "--type=json", "-p",
			`[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/email/x-kubernetes-validations"}]`)
		Eventually(func() error { return k8s.Create(ctx, stored("jane")) }).Should(Succeed())

		By("this one")
		today()
		Eventually(isRefused).Should(MatchError(ContainSubstring("email must be an address that OpenCX accepts")))
		Expect(kubectl("label", "oxc", "jane", "team=support")).To(And(ContainSubstring("Warning"), ContainSubstring(private)))

		operator := startOperator(ctx, simulator.URL)
		Eventually(func() int64 {
			jane := &v1alpha1.OpenCXContact{}
			Expect(k8s.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "jane"}, jane)).To(Succeed())
			return jane.Status.ObservedGeneration
		}).Should(Equal(int64(1)))
		Eventually(operator.Log).Should(ContainSubstring(`"contactID":"jane"`)) // so what there is to say is said
		Consistently(operator.Log, time.Second).ShouldNot(ContainSubstring("private"))
	})
})
