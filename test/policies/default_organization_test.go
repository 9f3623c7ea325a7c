package policies

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// belongsTo matches a contact by what its organizationRef says.
func belongsTo(namespace, name string) types.GomegaMatcher {
	return HaveField("Spec.OrganizationRef", Equal(&v1alpha1.OrganizationReference{Namespace: namespace, Name: name}))
}

var belongsToNone = HaveField("Spec.OrganizationRef", BeNil())

// get returns a contact as it is stored in namespace shop.
func get(ctx context.Context, name string) *v1alpha1.OpenCXContact {
	GinkgoHelper()
	stored := &v1alpha1.OpenCXContact{}
	Expect(k8s.Get(ctx, client.ObjectKey{Namespace: shop, Name: name}, stored)).To(Succeed())
	return stored
}

// trial is a contact as it would be created.
func trial(ctx context.Context, namespace, spec string) *v1alpha1.OpenCXContact {
	GinkgoHelper()
	object := contact(namespace, "", spec)
	Expect(k8s.Create(ctx, object, client.DryRunAll)).To(Succeed())
	return decoded(object)
}

// decoded is a contact as the operator reads it.
func decoded(object *unstructured.Unstructured) *v1alpha1.OpenCXContact {
	GinkgoHelper()
	typed := &v1alpha1.OpenCXContact{}
	Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, typed)).To(Succeed())
	return typed
}

var _ = describePolicy("default_organization.yaml", func() {
	const spec, own = `{"contactID":"jane"}`, `{"contactID":"jane","organizationRef":{"name":"mine"}}`
	withDefault := func(ctx SpecContext, value string) string {
		GinkgoHelper()
		return newNamespace(ctx, map[string]string{"contacts.open.cx/default-organization": value})
	}
	BeforeAll(func(ctx SpecContext) {
		Expect(k8s.Create(ctx, contact(shop, "stored", spec))).To(Succeed())
		Expect(k8s.Create(ctx, contact(shop, "explicit", own))).To(Succeed())
		Expect(runFromPage(ctx, `kubectl get opencxcontacts -A -o go-template='{{range .items}}{{if not .spec.organizationRef}}{{.metadata.namespace}}/{{.metadata.name}}{{"\n"}}{{end}}{{end}}'`)).
			To(Equal("shop/stored\n"))
		runFromPage(ctx, "kubectl apply -f config/policies/default_organization.yaml")
		runFromPage(ctx, "kubectl annotate namespace shop contacts.open.cx/default-organization=crm/default")
		Eventually(trial).WithArguments(ctx, shop, spec).Should(belongsTo("crm", "default"))
	})
	AfterAll(func(ctx SpecContext) {
		DeferCleanup(func(ctx SpecContext) {
			Expect(k8s.DeleteAllOf(ctx, &v1alpha1.OpenCXContact{}, client.InNamespace(shop))).To(Succeed())
			kubectl("", "annotate", "namespace", shop, "contacts.open.cx/default-organization-")
		})
		runFromPage(ctx, "kubectl delete -f config/policies/default_organization.yaml")
		Expect(kubectl("", "get", installed, "-o", "name")).To(BeEmpty())
		Eventually(trial).WithArguments(ctx, shop, spec).Should(belongsToNone)
		By("what has one keeps it")
		Expect(patchSpec(ctx, "explicit", `{"suspend":true}`)).To(Succeed())
		Expect(get(ctx, "explicit")).To(belongsTo("", "mine"))
		Expect(patchSpec(ctx, "stored", `{"suspend":true}`)).To(Succeed())
		Expect(get(ctx, "stored")).To(belongsTo("crm", "default"))
	})

	DescribeTable("gives the organization of the Namespace to a contact that is created",
		func(ctx SpecContext, create func(ctx context.Context, object *unstructured.Unstructured) error) {
			object := contact(shop, "created", spec)
			Expect(create(ctx, object)).To(Succeed())
			Expect(get(ctx, object.GetName())).To(And(belongsTo("crm", "default"), HaveField("Generation", Equal(int64(1)))))
			Expect(k8s.Delete(ctx, object)).To(Succeed())
		},
		Entry("by POST", func(ctx context.Context, object *unstructured.Unstructured) error { return k8s.Create(ctx, object) }),
		Entry("without a name", func(ctx context.Context, object *unstructured.Unstructured) error {
			object.SetName("")
			object.SetGenerateName("c-")
			return k8s.Create(ctx, object)
		}),
		Entry("with null for it", func(ctx context.Context, object *unstructured.Unstructured) error {
			object.Object["spec"] = map[string]any{"contactID": "jane", "organizationRef": nil}
			return k8s.Create(ctx, object)
		}),
		Entry("by server-side apply", func(ctx context.Context, object *unstructured.Unstructured) error {
			return k8s.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("tenant"))
		}),
	)

	DescribeTable("shows no difference and changes nothing when a manifest is applied once more",
		func(ctx SpecContext, how ...string) {
			manifest := manifestOf(contact(shop, "applied", spec))
			run := func(command string) { kubectl(manifest, append([]string{command, "-f", "-"}, how...)...) }
			run("apply")
			first := get(ctx, "applied")
			Expect(first).To(belongsTo("crm", "default"))
			Expect(first.Generation).To(Equal(int64(1)))
			run("diff") // which fails when there is one
			run("apply")
			Expect(get(ctx, "applied")).To(And(belongsTo("crm", "default"), HaveField("Generation", Equal(int64(1)))))
			run("diff")
			again := contact(shop, "applied", spec)
			Expect(k8s.Apply(ctx, client.ApplyConfigurationFromUnstructured(again), client.FieldOwner("a-gitops-tool"), client.DryRunAll)).To(Succeed())
			Expect(decoded(again).Spec).To(Equal(first.Spec))
			Expect(k8s.Delete(ctx, first)).To(Succeed())
		},
		Entry("by the server", "--server-side"),
		Entry("by the client"),
	)

	It("gives it again to a contact that is replaced by its manifest", func(ctx SpecContext) {
		object := contact(shop, "replaced", spec)
		Expect(k8s.Create(ctx, object)).To(Succeed())
		kubectl(manifestOf(contact(shop, "replaced", spec)), "replace", "-f", "-")
		Expect(get(ctx, "replaced")).To(And(belongsTo("crm", "default"), HaveField("Generation", Equal(int64(1)))))
		Expect(patchSpec(ctx, "replaced", `{"organizationRef":null}`)).To(Succeed())
		Expect(get(ctx, "replaced")).To(And(belongsTo("crm", "default"), HaveField("Generation", Equal(int64(1)))))
	})

	It("leaves alone what names one itself", func(ctx SpecContext) {
		Expect(trial(ctx, shop, own)).To(belongsTo("", "mine"))
		Expect(patchSpec(ctx, "explicit", `{"name":"Jane Doe"}`)).To(Succeed())
		Expect(get(ctx, "explicit")).To(belongsTo("", "mine"))
	})

	It("lets a contact name another one later, and the default again", func(ctx SpecContext) {
		apply := func(spec string, how ...string) {
			kubectl(manifestOf(contact(shop, "moved", spec)), append([]string{"apply", "-f", "-"}, how...)...)
		}
		apply(spec, "--server-side")
		apply(own, "--server-side")
		Expect(get(ctx, "moved")).To(belongsTo("", "mine"))
		apply(spec, "--server-side")
		Expect(get(ctx, "moved")).To(belongsTo("crm", "default"))
		Expect(k8s.Delete(ctx, contact(shop, "moved", "{}"))).To(Succeed())

		// The page warns of it: a merge keeps what the manifest does not name.
		apply(spec)
		apply(own)
		Expect(get(ctx, "moved")).To(belongsTo("crm", "mine"))
		apply(`{"contactID":"jane","organizationRef":{"name":"mine","namespace":"shop"}}`)
		Expect(get(ctx, "moved")).To(belongsTo("shop", "mine"))
	})

	DescribeTable("changes nothing when the annotation is",
		func(ctx SpecContext, value string) {
			Expect(trial(ctx, withDefault(ctx, value), spec)).To(belongsToNone)
		},
		Entry("empty", ""),
		Entry("a name alone", "default"),
		Entry("without a name", "crm/"),
		Entry("without a namespace", "/default"),
		Entry("of three parts", "crm/default/"),
		Entry("in capitals", "CRM/default"),
		Entry("with a space", "crm/ default"),
		Entry("of a namespace with a dot", "crm.x/default"),
		Entry("of a namespace that is too long", strings.Repeat("n", 64)+"/default"),
		Entry("of a name that is too long", "crm/"+strings.Repeat("n", 254)),
	)

	It("takes every reference that a contact may have", func(ctx SpecContext) {
		namespace, name := strings.Repeat("n", 63), "a."+strings.Repeat("n", 251)
		Expect(trial(ctx, withDefault(ctx, namespace+"/"+name), spec)).To(belongsTo(namespace, name))
	})

	It("changes nothing without the annotation", func(ctx SpecContext) {
		Expect(trial(ctx, newNamespace(ctx, nil), spec)).To(belongsToNone)
		Expect(trial(ctx, newNamespace(ctx, map[string]string{"example.com/other": "crm/default"}), spec)).To(belongsToNone)
	})

	It("keeps where it is what has one, when the annotation changes", func(ctx SpecContext) {
		kubectl("", "annotate", "namespace", shop, "--overwrite", "contacts.open.cx/default-organization=crm/second")
		Eventually(trial).WithArguments(ctx, shop, spec).Should(belongsTo("crm", "second"))
		Expect(patchSpec(ctx, "replaced", `{"suspend":true}`)).To(Succeed())
		Expect(get(ctx, "replaced")).To(belongsTo("crm", "default"))
		kubectl("", "annotate", "namespace", shop, "--overwrite", "contacts.open.cx/default-organization=crm/default")
		Eventually(trial).WithArguments(ctx, shop, spec).Should(belongsTo("crm", "default"))
	})

	It("lets the operator write status, and gives what was stored before one with its next change", func(ctx SpecContext) {
		kubectl("", "-n", shop, "patch", "oxc", "stored", "--subresource=status", "--type=merge", "-p", `{"status":{"observedGeneration":1}}`)
		Expect(get(ctx, "stored")).To(And(belongsToNone, HaveField("Status.ObservedGeneration", Equal(int64(1)))))
		kubectl("", "-n", shop, "label", "oxc", "stored", "team=support")
		Expect(get(ctx, "stored")).To(belongsTo("crm", "default"))
	})

	DescribeTable("says of a manifest that is malformed what the CRD says",
		func(ctx SpecContext, spec, message string) {
			Expect(try(ctx, shop, spec)).To(MatchError(ContainSubstring(message)))
		},
		Entry("without a spec", `null`, "spec: Required value"),
		Entry("with a text for a spec", `"jane"`, "spec in body must be of type object"),
		Entry("with an organization without a name", `{"contactID":"jane","organizationRef":{}}`, "spec.organizationRef.name: Required value"),
	)
})
