package policies

import (
	"os"
	"path/filepath"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

var _ = Describe("config/policies", Ordered, func() {
	It("has cases and a section of the page for each of its files", func() {
		entries, err := os.ReadDir(filepath.Join(root, "config", "policies"))
		Expect(err).NotTo(HaveOccurred())
		var files []string
		for _, entry := range entries {
			if entry.Name() != "kustomization.yaml" {
				files = append(files, entry.Name())
			}
		}
		Expect(tested).To(ConsistOf(files))
		var kustomization struct{ Resources []string }
		text, err := os.ReadFile(filepath.Join(root, "config", "policies", "kustomization.yaml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(yaml.UnmarshalStrict(text, &kustomization)).To(Succeed())
		Expect(kustomization.Resources).To(ConsistOf(files))
		Expect(regexp.MustCompile("(?m)^## .*\\.yaml`$").FindAllString(page.Text, -1)).To(HaveLen(len(files)))
		for _, file := range files {
			Expect(sectionOf(file)).To(And(ContainSubstring("kubectl apply -f config/policies/"+file), ContainSubstring("kubectl delete -f config/policies/"+file)))
		}
	})

	It("is no part of config/default", func() {
		Expect(kubectl("", "kustomize", filepath.Join(root, "config", "default"))).NotTo(ContainSubstring("AdmissionPolicy"))
	})

	It("is installed whole, and concerns contacts and nothing else of them", func(ctx SpecContext) {
		runFromPage(ctx, "kubectl apply -k config/policies")
		DeferCleanup(func(ctx SpecContext) {
			runFromPage(ctx, "kubectl delete -k config/policies")
			Eventually(func() error {
				return try(ctx, shop, `{"contactID":"jane","email":"jane.doe@example.com","httpActionOverrides":{"headers":{"X-Tenant":"acme"}}}`)
			}).Should(Succeed())
		})
		Eventually(func() error { return try(ctx, shop, `{"contactID":"jane"}`) }).Should(MatchError(ContainSubstring(notAllowed)))

		var validating admissionv1.ValidatingAdmissionPolicyList
		Expect(k8s.List(ctx, &validating)).To(Succeed())
		var mutating admissionv1.MutatingAdmissionPolicyList
		Expect(k8s.List(ctx, &mutating)).To(Succeed())
		rules := map[string][]admissionv1.NamedRuleWithOperations{}
		for _, policy := range validating.Items {
			Expect(policy.Spec.FailurePolicy).To(HaveValue(Equal(admissionv1.Fail)), policy.Name)
			rules[policy.Name] = policy.Spec.MatchConstraints.ResourceRules
		}
		for _, policy := range mutating.Items {
			Expect(policy.Spec.FailurePolicy).To(HaveValue(Equal(admissionv1.Fail)), policy.Name)
			rules[policy.Name] = policy.Spec.MatchConstraints.ResourceRules
		}
		Expect(rules).To(HaveLen(len(tested)))
		for name, rules := range rules {
			Expect(rules).To(HaveLen(1), name)
			Expect(rules[0].APIGroups).To(Equal([]string{"contacts.open.cx"}), name)
			Expect(rules[0].Resources).To(Equal([]string{"opencxcontacts"}), name) // not of them /status
			Expect(rules[0].Operations).NotTo(ContainElement(admissionv1.Delete), name)
		}
		By("other kinds")
		Expect(k8s.Create(ctx, &v1alpha1.OpenCXOrganization{
			ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "default"},
			Spec:       v1alpha1.OpenCXOrganizationSpec{APIKeySecretRef: v1alpha1.APIKeySecretReference{Name: "opencx-api-key"}},
		}, client.DryRunAll)).To(Succeed())
		Expect(k8s.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "any"}}, client.DryRunAll)).To(Succeed())
	})
})
