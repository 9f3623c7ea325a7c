package policies

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tenant is somebody who has, in a namespace, what an administrator of it has of
// Kubernetes' roles and of those that are shipped, and more roles.
func tenant(ctx SpecContext, namespace string, roles ...rbacv1.RoleRef) client.Client {
	GinkgoHelper()
	name := "tenant-of-" + namespace
	// The parts of admin, which the controller manager would put together.
	for _, part := range []string{
		"system:aggregate-to-admin", "system:aggregate-to-edit", "system:aggregate-to-view",
		"opencx-opencxcontact-editor-role", "opencx-opencxcontact-viewer-role",
		"opencx-opencxorganization-editor-role", "opencx-opencxorganization-viewer-role",
	} {
		Expect(k8s.Get(ctx, client.ObjectKey{Name: part}, &rbacv1.ClusterRole{})).To(Succeed())
		roles = append(roles, rbacv1.RoleRef{Kind: "ClusterRole", Name: part})
	}
	for _, role := range roles {
		role.APIGroup = rbacv1.GroupName
		Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "tenant-"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
			RoleRef:    role,
		})).To(Succeed())
	}
	config := rest.CopyConfig(controlPlane.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: name}
	impersonated, err := client.New(config, client.Options{Scheme: controlPlane.Scheme})
	Expect(err).NotTo(HaveOccurred())
	Eventually(func() error { // until the API server has noticed the last of the roles
		return impersonated.Create(ctx, contact(namespace, "", `{"contactID":"acme-1"}`), client.DryRunAll)
	}).Should(Succeed())
	return impersonated
}

// annotate allows a prefix in a namespace.
func annotate(ctx SpecContext, by client.Client, namespace string) error {
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	return by.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"contacts.open.cx/contact-id-prefixes":"globex-"}}}`)))
}

var _ = Describe("A tenant", func() {
	It("cannot change what the policies go by, with the roles that are shipped", func(ctx SpecContext) {
		namespace := newNamespace(ctx, nil)
		by := tenant(ctx, namespace)
		binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "opencx-contact-id-prefixes"}}
		for _, err := range []error{
			annotate(ctx, by, namespace),
			by.Update(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}),
			by.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}),
			by.Delete(ctx, binding),
			by.Delete(ctx, &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "opencx-contact-id-prefixes"}}),
			by.Patch(ctx, binding, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"validationActions":["Audit"]}}`))),
		} {
			Expect(errors.IsForbidden(err)).To(BeTrue(), "%v", err)
		}
	})

	// Why the page says who must not have it.
	DescribeTable("can change the annotations of its Namespace",
		func(ctx SpecContext, role rbacv1.RoleRef) {
			namespace, other := newNamespace(ctx, nil), newNamespace(ctx, nil)
			Expect(k8s.Create(ctx, &rbacv1.Role{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "patches-namespaces"},
				Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"namespaces"}, Verbs: []string{"patch"}}},
			})).To(Succeed())
			by := tenant(ctx, namespace, role)
			Expect(annotate(ctx, by, namespace)).To(Succeed())
			Expect(errors.IsForbidden(annotate(ctx, by, other))).To(BeTrue())
		},
		Entry("with a Role in it that lets it patch Namespaces", rbacv1.RoleRef{Kind: "Role", Name: "patches-namespaces"}),
		Entry("with cluster-admin in a RoleBinding", rbacv1.RoleRef{Kind: "ClusterRole", Name: "cluster-admin"}),
	)

	It("is found by the page's command", func(ctx SpecContext) {
		const question = "kubectl auth can-i patch namespace/shop -n shop --as=somebody"
		Expect(page.Take(question)).To(Succeed())
		answer := func() string {
			output, _ := controlPlane.Kubectl(ctx, "", strings.Fields(question)[1:]...) // which fails when it is no
			return output
		}
		Expect(answer()).To(HaveSuffix("no\n"))
		kubectl("", "-n", shop, "create", "rolebinding", "somebody", "--clusterrole=cluster-admin", "--user=somebody")
		DeferCleanup(func() { kubectl("", "-n", shop, "delete", "rolebinding", "somebody") })
		Eventually(answer).Should(HaveSuffix("yes\n"))
	})
})
