package v1alpha1_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
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

// loosened is a property as it was before its bounds, and those of what it holds.
func loosened(property apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
	property.XValidations, property.MaxLength = nil, nil
	if values := property.AdditionalProperties; values != nil && values.Schema.Type == "string" {
		property.AdditionalProperties = &apiextensionsv1.JSONSchemaPropsOrBool{Schema: &apiextensionsv1.JSONSchemaProps{Type: "string"}}
	}
	return property
}

// The operator writes status, and people edit, also where an older version let in what
// is refused now.
var _ = DescribeTable("What was stored before it was refused",
	func(ctx SpecContext, kind, field, required, value, refused, message string) {
		schema, err := crdSchema(kind)
		Expect(err).NotTo(HaveOccurred())
		path, property := "/spec/versions/0/schema/openAPIV3Schema/properties/spec", schema.Properties["spec"]
		for name := range strings.SplitSeq(field, ".") {
			path, property = path+"/properties/"+name, property.Properties[name]
		}
		object := &unstructured.Unstructured{}
		admit := func(options ...client.CreateOption) error {
			object, err = createAs(ctx, declaration(kind), `{`+required+`,`+value+`}`, options...)
			return err
		}

		By("an older version of the CRD")
		DeferCleanup(func(ctx SpecContext) {
			patchCRD(ctx, kind, `{"op":"replace","path":"`+path+`","value":`+quote(property)+`}`)
			Eventually(func() error { return admit(client.DryRunAll) }).WithTimeout(30 * time.Second).ShouldNot(Succeed())
		})
		Expect(admit(client.DryRunAll)).To(MatchError(ContainSubstring(message)))
		patchCRD(ctx, kind, `{"op":"replace","path":"`+path+`","value":`+quote(loosened(property))+`}`)
		Eventually(func() error { return admit() }).WithTimeout(30 * time.Second).Should(Succeed())
		stored := object

		By("this one")
		patchCRD(ctx, kind, `{"op":"replace","path":"`+path+`","value":`+quote(property)+`}`)
		Eventually(func() error { return admit(client.DryRunAll) }).WithTimeout(30 * time.Second).ShouldNot(Succeed())
		patch := func(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }
		Expect(k8s.Status().Patch(ctx, stored, patch(`{"status":{"observedGeneration":1}}`))).To(Succeed())
		Expect(k8s.Patch(ctx, stored, patch(`{"metadata":{"labels":{"team":"support"}}}`))).To(Succeed())
		Expect(k8s.Patch(ctx, stored, patch(`{"spec":{"suspend":true}}`))).To(Succeed())
		Expect(k8s.Patch(ctx, stored, patch(`{"spec":{`+refused+`}}`))).To(MatchError(ContainSubstring(message)))
	},
	Entry("as a contact's resyncInterval", "OpenCXContact", "resyncInterval", `"contactID":"c"`, `"resyncInterval":"1s"`, `"resyncInterval":"2s"`, "resyncInterval must be a duration"),
	Entry("as an organization's resyncInterval", "OpenCXOrganization", "resyncInterval", `"apiKeySecretRef":{"name":"a"}`, `"resyncInterval":"1s"`, `"resyncInterval":"2s"`, "resyncInterval must be a duration"),
	Entry("as the window of a rate limit", "OpenCXOrganization", "rateLimit.window", `"apiKeySecretRef":{"name":"a"}`, `"rateLimit":{"requests":100000,"window":"24h"}`, `"rateLimit":{"requests":100000,"window":"23h"}`, "window must be a duration"),
	Entry("as a phone that is too long", "OpenCXContact", "phone", `"contactID":"c"`, `"phone":"`+strings.Repeat("1", 65)+`"`, `"phone":"`+strings.Repeat("2", 65)+`"`, "may not be more than 64"),
	Entry("as a name with U+0000", "OpenCXContact", "name", `"contactID":"c"`, `"name":"\u0000"`, `"name":"a\u0000"`, "name must not contain U+0000"),
	Entry("as a value with U+0000", "OpenCXContact", "customData", `"contactID":"c"`, `"customData":{"plan":"\u0000"}`, `"customData":{"tier":"1"}`, "a value in customData must be text without U+0000"),
	Entry("as a name of a value that is too long", "OpenCXContact", "customData", `"contactID":"c"`, `"customData":{"`+strings.Repeat("k", 5000)+`":""}`, `"customData":{"tier":"1"}`, "a name in customData must have at most 256 characters"),
	Entry("as a value that is too long", "OpenCXContact", "customData", `"contactID":"c"`, `"customData":{"plan":"`+strings.Repeat("a", 16385)+`"}`, `"customData":{"plan":"`+strings.Repeat("b", 16385)+`"}`, "may not be more than 16384"),
	Entry("as a map that is too large", "OpenCXContact", "customData", `"contactID":"c"`, `"customData":{"a":"`+strings.Repeat("a", 16384)+`","b":"`+strings.Repeat("b", 16384)+`","c":"`+strings.Repeat("c", 16384)+`"}`, `"customData":{"tier":"1"}`, "customData must have at most 40960 characters"),
	Entry("as a map that takes too many bytes", "OpenCXContact", "customData", `"contactID":"c"`, `"customData":{"a":"`+strings.Repeat("<", 10241)+`"}`, `"customData":{"tier":"1"}`, "customData must have at most 10240"),
	Entry("as a header's name that is too long, beside one from a Secret", "OpenCXContact", "httpActionOverrides.headers", `"contactID":"c"`,
		`"httpActionOverrides":{"headers":{"`+strings.Repeat("k", 2000)+`":""},"headersFrom":{"Authorization":{"secretKeyRef":{"name":"a","key":"k"}}}}`, `"httpActionOverrides":{"headers":{"tier":"1"}}`, "a name in headers must have at most 256 characters"),
	Entry("as a name of a source with U+0000", "OpenCXContact", "customDataFrom", `"contactID":"c"`, `"customDataFrom":{"a\u0000":{"secretKeyRef":{"name":"a","key":"k"}}}`, `"customDataFrom":{"b":{"secretKeyRef":{"name":"a","key":"k"}}}`, "a name in customDataFrom must have at most 256 characters"),
	Entry("as names of sources that are too long", "OpenCXContact", "customDataFrom", `"contactID":"c"`, `"customDataFrom":`+sources(17, 256), `"customDataFrom":{"b":{"secretKeyRef":{"name":"a","key":"k"}}}`, "the names in customDataFrom must have at most 4096 characters"),
)

// sources is a map of n sources, in JSON, under names of that length.
func sources(n, length int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"%03d%s":{"configMapKeyRef":{"name":"a","key":"k"}}`, i, strings.Repeat("k", length-3))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// declaration is an object of a kind, without a spec.
func declaration(kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return object
}
