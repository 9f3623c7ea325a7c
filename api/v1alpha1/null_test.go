package v1alpha1_test

import (
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// request sends a body to the API server, byte for byte, for the contacts of the
// namespace default, or for the one of that name.
func request(ctx SpecContext, verb, contentType, name, body string) error {
	GinkgoHelper()
	config := rest.CopyConfig(controlPlane.Config)
	config.APIPath, config.GroupVersion, config.NegotiatedSerializer = "/apis", &v1alpha1.GroupVersion, scheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(config)
	Expect(err).NotTo(HaveOccurred())
	r := c.Verb(verb).Namespace("default").Resource("opencxcontacts").SetHeader("Content-Type", contentType).Body([]byte(body))
	if name != "" {
		r = r.Name(name)
	}
	if contentType == string(types.ApplyYAMLPatchType) {
		r = r.Param("fieldManager", "tenant").Param("force", "true")
	}
	return r.Do(ctx).Error()
}

// manifest is a contact, in JSON, which is YAML too.
func manifest(metadata, spec string) string {
	return fmt.Sprintf(`{"apiVersion":%q,"kind":"OpenCXContact","metadata":{%s},"spec":%s}`, v1alpha1.GroupVersion, metadata, spec)
}

// ways are those by which a spec comes to the API server, each with what it says.
var ways = map[string]func(ctx SpecContext, spec string) error{
	"created": func(ctx SpecContext, spec string) error {
		return request(ctx, http.MethodPost, "application/json", "", manifest(`"generateName":"c-"`, spec))
	},
	"created from YAML": func(ctx SpecContext, spec string) error {
		return request(ctx, http.MethodPost, "application/yaml", "", strings.ReplaceAll(manifest(`"generateName":"c-"`, spec), `\u0000`, `\0`))
	},
	"replaced": func(ctx SpecContext, spec string) error {
		stored, err := create(ctx, `{"contactID":"c"}`)
		Expect(err).NotTo(HaveOccurred())
		metadata := fmt.Sprintf(`"name":%q,"resourceVersion":%q`, stored.Name, stored.ResourceVersion)
		return request(ctx, http.MethodPut, "application/json", stored.Name, manifest(metadata, spec))
	},
	"applied as new": func(ctx SpecContext, spec string) error {
		return request(ctx, http.MethodPatch, string(types.ApplyYAMLPatchType), "new", manifest(`"name":"new"`, spec))
	},
	"applied": func(ctx SpecContext, spec string) error {
		stored, err := create(ctx, `{"contactID":"c"}`)
		Expect(err).NotTo(HaveOccurred())
		return request(ctx, http.MethodPatch, string(types.ApplyYAMLPatchType), stored.Name, strings.ReplaceAll(manifest(`"name":"`+stored.Name+`"`, spec), `\u0000`, `\0`))
	},
	"patched": func(ctx SpecContext, spec string) error {
		stored, err := create(ctx, `{"contactID":"c"}`)
		Expect(err).NotTo(HaveOccurred())
		return request(ctx, http.MethodPatch, string(types.JSONPatchType), stored.Name, `[{"op":"replace","path":"/spec","value":`+spec+`}]`)
	},
}

var _ = Describe("U+0000", func() {
	It("is refused in every text of a contact, whichever way it comes", func(ctx SpecContext) {
		messages := map[string]string{
			inField("phone", `"\u0000"`):                                            "phone must not contain U+0000: remove that character",
			inField("name", `"Jane\u0000"`):                                         "name must not contain U+0000: remove that character",
			inField("email", `"jane@example.com\u0000"`):                            "spec.email",
			inField("resyncInterval", `"1h\u0000"`):                                 "spec.resyncInterval",
			inField("organizationRef", `{"name":"a\u0000"}`):                        "spec.organizationRef.name",
			inField("organizationRef", `{"name":"a","namespace":"b\u0000"}`):        "spec.organizationRef.namespace",
			inField("phoneFrom", `{"secretKeyRef":{"name":"a\u0000","key":"k"}}`):   "spec.phoneFrom.secretKeyRef.name",
			inField("nameFrom", `{"configMapKeyRef":{"name":"a","key":"k\u0000"}}`): "spec.nameFrom.configMapKeyRef.key",
			`{"contactID":"c\u0000"}`:                                               "spec.contactID",
		}
		for _, field := range plainMaps {
			messages[inField(field, `{"plan":"a\u0000b","tier":"1"}`)] = "a value in " + field + " must be text without U+0000, not null: write a text, which may be empty, or remove the name"
			messages[inField(field, `{"a\u0000b":"1"}`)] = "a name in " + field + " must have at most 256 characters and no U+0000: shorten it, or remove that character"
			messages[inField(field+"From", `{"a\u0000b":{"secretKeyRef":{"name":"a","key":"k"}}}`)] = "a name in " + field + "From must have at most 256 characters and no U+0000: shorten it, or remove that character"
		}
		for way, send := range ways {
			for spec, message := range messages {
				Expect(send(ctx, spec)).To(MatchError(ContainSubstring(message)), way+" "+spec)
			}
		}
	})

	It("is refused in every text of an organization", func(ctx SpecContext) {
		for spec, field := range map[string]string{
			`{"apiKeySecretRef":{"name":"a\u0000"}}`:                       "spec.apiKeySecretRef.name",
			`{"apiKeySecretRef":{"name":"a","key":"k\u0000"}}`:             "spec.apiKeySecretRef.key",
			organization(`"resyncInterval":"1h\u0000"`):                    "spec.resyncInterval",
			organization(`"rateLimit":{"requests":1,"window":"1m\u0000"}`): "spec.rateLimit.window",
			organization(`"allowedNamespaces":{"from":"All\u0000"}`):       "spec.allowedNamespaces.from",
			selecting(`{"matchLabels":{"a\u0000":"b"}}`):                   "spec.allowedNamespaces.selector.matchLabels",
			selecting(`{"matchLabels":{"a":"b\u0000"}}`):                   "spec.allowedNamespaces.selector.matchLabels",
			`{"apiKeySecretRef":{"name":"a"},"allowedNamespaces":{"from":"Selector","selector":{"matchExpressions":[{"key":"a\u0000","operator":"Exists"}]}}}`:            "matchExpressions[0].key",
			`{"apiKeySecretRef":{"name":"a"},"allowedNamespaces":{"from":"Selector","selector":{"matchExpressions":[{"key":"a","operator":"In\u0000","values":["b"]}]}}}`: "matchExpressions[0].operator",
			requirement("a", "In", `,"values":["b\u0000"]`): "matchExpressions[0].values",
		} {
			_, err := createOrganization(ctx, spec, client.DryRunAll)
			Expect(err).To(MatchError(ContainSubstring(field)), spec)
		}
	})
})

var _ = Describe("A null in a map", func() {
	It("is refused, whichever way it comes, alone or among others", func(ctx SpecContext) {
		messages := map[string]string{}
		for _, field := range plainMaps {
			message := "a value in " + field + " must be text without U+0000, not null: write a text, which may be empty, or remove the name"
			messages[inField(field, `{"plan":null}`)] = message
			messages[inField(field, `{"plan":null,"tier":"1"}`)] = message
			message = "a source in " + field + "From must not be null: name a key of a Secret or ConfigMap, or remove the name"
			messages[inField(field+"From", `{"plan":null}`)] = message
			messages[inField(field+"From", `{"plan":null,"tier":{"secretKeyRef":{"name":"a","key":"k"}}}`)] = message
		}
		for way, send := range ways {
			for spec, message := range messages {
				Expect(send(ctx, spec)).To(MatchError(ContainSubstring(message)), way+" "+spec)
			}
		}
	})

	It("deletes in a merge patch, as RFC 7386 says", func(ctx SpecContext) {
		stored, err := create(ctx, `{"contactID":"c","customData":{"plan":"pro","tier":"1"}}`)
		Expect(err).NotTo(HaveOccurred())
		patch := func(text string) map[string]string {
			GinkgoHelper()
			Expect(request(ctx, http.MethodPatch, string(types.MergePatchType), stored.Name, `{"spec":{"customData":`+text+`}}`)).To(Succeed())
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(stored), stored)).To(Succeed())
			return stored.Spec.CustomData
		}
		Expect(patch(`{"plan":null,"seats":null}`)).To(Equal(map[string]string{"tier": "1"}))
		Expect(patch(`{"tier":null}`)).To(And(BeEmpty(), Not(BeNil())))
		Expect(patch(`null`)).To(BeNil())
	})

	const lone = "apiVersion: contacts.open.cx/v1alpha1\nkind: OpenCXContact\nmetadata: {name: lone}\nspec:\n  contactID: c\n  customData:\n    plan:\n"
	DescribeTable("is refused from kubectl",
		func(ctx SpecContext, args ...string) {
			output, err := controlPlane.Kubectl(ctx, lone, append(args, "-f", "-")...)
			Expect(err).To(HaveOccurred())
			Expect(output).To(ContainSubstring("a value in customData must be text without U+0000, not null"))
		},
		Entry("create", "create"),
		Entry("replace", "replace", "--force"),
		Entry("apply on the server's side", "apply", "--server-side"),
	)

	It("never arrives from kubectl apply on the client's side, which leaves it out", func(ctx SpecContext) {
		_, err := controlPlane.Kubectl(ctx, lone, "apply", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		output, err := controlPlane.Kubectl(ctx, "", "get", "oxc", "lone", "-o", "jsonpath={.spec}")
		Expect(err).NotTo(HaveOccurred())
		Expect(output).To(Equal(`{"contactID":"c","customData":{}}`))
	})
})
