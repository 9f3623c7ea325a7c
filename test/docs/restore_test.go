package docs

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// A restored cluster is one in which everything was created anew.
var _ = Describe("A restore", Ordered, func() {
	var simulator *operatortest.Simulator
	var backup []v1alpha1.OpenCXContact
	const namespace = "restored"

	allReady := func(ctx SpecContext) func() int {
		return func() (ready int) {
			var contacts v1alpha1.OpenCXContactList
			Expect(controlPlane.Client.List(ctx, &contacts, client.InNamespace(namespace))).To(Succeed())
			for _, contact := range contacts.Items {
				if meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition) {
					ready++
				}
			}
			return ready
		}
	}
	// paths are those of the requests since the last look.
	paths := func() (paths []string) {
		for _, request := range simulator.Journal() {
			paths = append(paths, request.Path[strings.LastIndex(request.Path, "/")+1:])
		}
		simulator.ResetJournal()
		return paths
	}
	secret := func() *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "jane"}, StringData: map[string]string{"phone": "+12025550123"}}
	}
	// recreate makes all objects anew, the status of contacts only if it is wanted.
	recreate := func(ctx SpecContext, status bool) {
		Expect(controlPlane.Client.DeleteAllOf(ctx, &v1alpha1.OpenCXContact{}, client.InNamespace(namespace))).To(Succeed())
		Expect(controlPlane.Client.Delete(ctx, secret())).To(Succeed())
		Expect(controlPlane.Client.Create(ctx, secret())).To(Succeed())
		for _, old := range backup {
			contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: old.Name}, Spec: old.Spec}
			Expect(controlPlane.Client.Create(ctx, contact)).To(Succeed())
			Expect(contact.UID).NotTo(Equal(old.UID))
			if status {
				contact.Status = old.Status
				Expect(controlPlane.Client.Status().Update(ctx, contact)).To(Succeed())
			}
		}
	}

	BeforeAll(func(ctx SpecContext) {
		simulator = startOpenCX()
		Expect(controlPlane.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
		organization := client.ObjectKey{Namespace: namespace, Name: "default"}
		Expect(controlPlane.CreateOrganization(ctx, organization, apiKey)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { // others use the same key
			Expect(controlPlane.Client.DeleteAllOf(ctx, &v1alpha1.OpenCXContact{}, client.InNamespace(namespace))).To(Succeed())
			Expect(controlPlane.DeleteOrganization(ctx, organization)).To(Succeed())
		})
		Expect(controlPlane.Client.Create(ctx, secret())).To(Succeed())
		operator := startOperator(simulator.URL, "--default-organization="+namespace+"/default", "--watch-namespaces="+namespace)
		for name, spec := range map[string]v1alpha1.OpenCXContactSpec{
			"plain":   {ContactID: "plain", Name: new("Jane Doe")},
			"private": {ContactID: "private", PhoneFrom: &v1alpha1.ValueSource{SecretKeyRef: &v1alpha1.KeySelector{Name: "jane", Key: "phone"}}},
		} {
			Expect(controlPlane.Client.Create(ctx, &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec})).To(Succeed())
		}
		Eventually(allReady(ctx)).Should(Equal(2))
		Expect(operator.Stop()).To(Succeed())
		var contacts v1alpha1.OpenCXContactList
		Expect(controlPlane.Client.List(ctx, &contacts, client.InNamespace(namespace))).To(Succeed())
		backup = contacts.Items
		Expect(paths()).To(ConsistOf("plain", "private"))
	})

	It("with status sends those contacts alone that have values from Secrets", func(ctx SpecContext) {
		recreate(ctx, true)
		operator := startOperator(simulator.URL, "--default-organization="+namespace+"/default", "--watch-namespaces="+namespace)
		Eventually(simulator.Journal).Should(HaveLen(1))
		Eventually(allReady(ctx)).Should(Equal(2))
		Expect(operator.Stop()).To(Succeed())
		Expect(paths()).To(Equal([]string{"private"}))
	})

	It("without status sends every contact once", func(ctx SpecContext) {
		recreate(ctx, false)
		operator := startOperator(simulator.URL, "--default-organization="+namespace+"/default", "--watch-namespaces="+namespace)
		Eventually(allReady(ctx)).Should(Equal(2))
		Expect(operator.Stop()).To(Succeed())
		Expect(paths()).To(ConsistOf("plain", "private"))
	})
})
