package v1alpha1_test

import (
	"context"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// patchCRD applies a JSON patch of one operation to the CRD of a kind.
func patchCRD(ctx context.Context, kind, operation string) {
	GinkgoHelper()
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	crd.SetName(strings.ToLower(kind) + "s." + v1alpha1.GroupVersion.Group)
	Expect(k8s.Patch(ctx, crd, client.RawPatch(types.JSONPatchType, []byte("["+operation+"]")))).To(Succeed())
}

// The operator writes status, and people edit, also where an older version let in what
// is refused now.
var _ = DescribeTable("What was stored before it was refused",
	func(ctx SpecContext, kind, field, required, value, refused string) {
		schema, err := crdSchema(kind)
		Expect(err).NotTo(HaveOccurred())
		path, property := "/spec/versions/0/schema/openAPIV3Schema/properties/spec", schema.Properties["spec"]
		for name := range strings.SplitSeq(field, ".") {
			path, property = path+"/properties/"+name, property.Properties[name]
		}
		path += "/x-kubernetes-validations"
		Expect(property.XValidations).NotTo(BeEmpty())
		object := &unstructured.Unstructured{}
		admit := func(options ...client.CreateOption) error {
			object, err = createAs(ctx, declaration(kind), `{`+required+`,`+value+`}`, options...)
			return err
		}

		By("an older version of the CRD")
		DeferCleanup(func(ctx SpecContext) {
			patchCRD(ctx, kind, `{"op":"add","path":"`+path+`","value":`+quote(property.XValidations)+`}`)
			Eventually(func() error { return admit(client.DryRunAll) }).WithTimeout(30 * time.Second).ShouldNot(Succeed())
		})
		patchCRD(ctx, kind, `{"op":"remove","path":"`+path+`"}`)
		Eventually(func() error { return admit() }).WithTimeout(30 * time.Second).Should(Succeed())
		stored := object

		By("this one")
		patchCRD(ctx, kind, `{"op":"add","path":"`+path+`","value":`+quote(property.XValidations)+`}`)
		Eventually(func() error { return admit(client.DryRunAll) }).WithTimeout(30 * time.Second).ShouldNot(Succeed())
		patch := func(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }
		Expect(k8s.Status().Patch(ctx, stored, patch(`{"status":{"observedGeneration":1}}`))).To(Succeed())
		Expect(k8s.Patch(ctx, stored, patch(`{"metadata":{"labels":{"team":"support"}}}`))).To(Succeed())
		Expect(k8s.Patch(ctx, stored, patch(`{"spec":{"suspend":true}}`))).To(Succeed())
		Expect(k8s.Patch(ctx, stored, patch(`{"spec":{`+refused+`}}`))).To(MatchError(ContainSubstring(property.XValidations[0].Message)))
	},
	Entry("as a contact's resyncInterval", "OpenCXContact", "resyncInterval", `"contactID":"c"`, `"resyncInterval":"1s"`, `"resyncInterval":"2s"`),
	Entry("as an organization's resyncInterval", "OpenCXOrganization", "resyncInterval", `"apiKeySecretRef":{"name":"a"}`, `"resyncInterval":"1s"`, `"resyncInterval":"2s"`),
	Entry("as the window of a rate limit", "OpenCXOrganization", "rateLimit.window", `"apiKeySecretRef":{"name":"a"}`, `"rateLimit":{"requests":100000,"window":"24h"}`, `"rateLimit":{"requests":100000,"window":"23h"}`),
)

// declaration is an object of a kind, without a spec.
func declaration(kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return object
}
