package policies

import (
	"context"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apitypes "k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// refusals are of one policy, in namespace shop.
type refusals struct {
	policy, file string
	prepare      string // a command of the page, "" when there is nothing to prepare
	accepted     string // a spec
	refused      string // fields that are refused beside those of accepted, with values that no message may have
	values       []string
	message      string
	// changed is what is said when a stored contact gets the refused fields: not message
	// where the CRD refuses that before.
	changed string
	// exception is a command of the page after which what is refused is accepted.
	exception string
}

// deny matches a refusal for a reason, without a word of what was declared.
func (r *refusals) deny(reason string) types.GomegaMatcher {
	var leaks []types.GomegaMatcher
	for _, value := range r.values {
		leaks = append(leaks, ContainSubstring(value))
	}
	return And(MatchError(ContainSubstring(reason)), Not(MatchError(Or(leaks...))))
}

// spec is accepted, with what is refused.
func (r *refusals) spec() string { return with(r.accepted, r.refused) }

// try has a contact created that is refused.
func (r *refusals) try(ctx context.Context) error { return try(ctx, shop, r.spec()) }

// declareCases declares those that every policy has which refuses, and before the last
// of them more, of this one. They find it installed, a contact "stored" from before that
// it would refuse, and one "accepted".
func (r *refusals) declareCases(more func()) {
	BeforeAll(func(ctx SpecContext) {
		Expect(k8s.Create(ctx, contact(shop, "stored", r.spec()))).To(Succeed())
		if r.prepare != "" {
			runFromPage(ctx, r.prepare)
		}
	})
	AfterAll(func(ctx SpecContext) {
		Expect(k8s.DeleteAllOf(ctx, contact(shop, "", "{}"), client.InNamespace(shop))).To(Succeed())
		elsewhere := newNamespace(ctx, nil) // where the page's exception is none
		Expect(try(ctx, elsewhere, r.spec())).To(r.deny("denied request: " + r.message))
		runFromPage(ctx, "kubectl delete -f config/policies/"+r.file)
		Expect(kubectl("", "get", installed, "-o", "name")).To(BeEmpty())
		Eventually(try).WithArguments(ctx, elsewhere, r.spec()).Should(Succeed())
	})
	r.declareInstallation()
	r.declareCreation()
	r.declareChange()
	more()
	r.declareStored()
	It("makes the exception of the page", func(ctx SpecContext) {
		Expect(r.try(ctx)).NotTo(Succeed())
		runFromPage(ctx, r.exception)
		Eventually(r.try).WithArguments(ctx).Should(Succeed())
	})
}

// declareInstallation installs the policy, after an audit.
func (r *refusals) declareInstallation() {
	It("says what it would refuse, when it is audited first", func(ctx SpecContext) {
		runFromPage(ctx, "sed 's/\\[Deny\\]/[Audit, Warn]/' config/policies/"+r.file+" | kubectl apply -f -")
		manifest := manifestOf(contact(shop, "audited", r.spec()))
		Eventually(func() string { return kubectl(manifest, "create", "--dry-run=server", "-f", "-") }).
			Should(And(ContainSubstring("Warning: Validation failed for ValidatingAdmissionPolicy '"+r.policy+"'"), ContainSubstring(r.message), ContainSubstring("created")))
		Expect(runFromPage(ctx, "kubectl get --raw /metrics | grep ^apiserver_validating_admission_policy_check_total")).
			To(MatchRegexp(`enforcement_action="audit".*policy="` + r.policy + `"`))
	})

	It("is installed alone, and refuses", func(ctx SpecContext) {
		runFromPage(ctx, "kubectl apply -f config/policies/"+r.file)
		Eventually(r.try).WithArguments(ctx).Should(r.deny("denied request: " + r.message))
		Expect(k8s.Create(ctx, contact(shop, "accepted", r.accepted))).To(Succeed())
	})

	It("says what the page says, row for row", func(ctx SpecContext) {
		rows := 0
		for line := range strings.Lines(sectionOf(r.file)) {
			cells := strings.Split(strings.TrimSpace(line), "|")
			if len(cells) != 4 || !strings.HasPrefix(cells[1], " `{") {
				continue
			}
			rows++
			declared, message := strings.Trim(cells[1], " `"), strings.Trim(cells[2], " `")
			Expect(try(ctx, shop, with(r.accepted, declared))).To(MatchError(HaveSuffix("denied request: "+message)), declared)
		}
		Expect(rows).To(BeNumerically(">=", 1))
	})
}

// declareCreation is about every way to create a contact.
func (r *refusals) declareCreation() {
	DescribeTable("refuses a contact that is created",
		func(ctx SpecContext, create func(ctx context.Context, object *unstructured.Unstructured) error) {
			Expect(create(ctx, contact(shop, "created", r.spec()))).To(r.deny("denied request: " + r.message))
			Expect(create(ctx, contact(shop, "created", r.accepted))).To(Succeed())
		},
		Entry("by POST", func(ctx context.Context, object *unstructured.Unstructured) error {
			return remove(ctx, object, k8s.Create(ctx, object))
		}),
		Entry("without a name", func(ctx context.Context, object *unstructured.Unstructured) error {
			object.SetName("")
			object.SetGenerateName("c-")
			return remove(ctx, object, k8s.Create(ctx, object))
		}),
		Entry("in a dry run", func(ctx context.Context, object *unstructured.Unstructured) error {
			return k8s.Create(ctx, object, client.DryRunAll)
		}),
		Entry("by server-side apply", func(ctx context.Context, object *unstructured.Unstructured) error {
			return remove(ctx, object, k8s.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("tenant")))
		}),
		Entry("by kubectl apply", func(ctx context.Context, object *unstructured.Unstructured) error {
			_, err := controlPlane.Kubectl(ctx, manifestOf(object), "apply", "-f", "-")
			return remove(ctx, object, err)
		}),
	)
}

// declareChange is about every way to change one.
func (r *refusals) declareChange() {
	DescribeTable("refuses a contact that is changed",
		func(ctx SpecContext, change func(ctx context.Context, spec string) error) {
			Expect(change(ctx, r.spec())).To(MatchError(ContainSubstring(r.changed)))
			Expect(change(ctx, r.accepted)).To(Succeed())
		},
		Entry("by PUT", func(ctx context.Context, spec string) error { return put(ctx, "accepted", spec) }),
		Entry("by PUT in a dry run", func(ctx context.Context, spec string) error {
			return put(ctx, "accepted", spec, client.DryRunAll)
		}),
		Entry("by a merge patch", func(ctx context.Context, spec string) error {
			return k8s.Patch(ctx, contact(shop, "accepted", "{}"), client.RawPatch(apitypes.MergePatchType, []byte(`{"spec":`+spec+`}`)))
		}),
		Entry("by a JSON patch", func(ctx context.Context, spec string) error {
			return k8s.Patch(ctx, contact(shop, "accepted", "{}"), client.RawPatch(apitypes.JSONPatchType, []byte(`[{"op":"replace","path":"/spec","value":`+spec+`}]`)))
		}),
		Entry("by server-side apply", func(ctx context.Context, spec string) error {
			return k8s.Apply(ctx, client.ApplyConfigurationFromUnstructured(contact(shop, "accepted", spec)), client.FieldOwner("tenant"), client.ForceOwnership)
		}),
	)

	It("is not got round by way of status, which changes no spec", func(ctx SpecContext) {
		object := contact(shop, "accepted", "{}")
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
		object.Object["spec"] = contact(shop, "accepted", r.spec()).Object["spec"]
		Expect(k8s.Status().Update(ctx, object)).To(Succeed())
		Expect(object.Object["spec"]).To(Equal(contact(shop, "accepted", r.accepted).Object["spec"]))
	})
}

// declareStored is about what was there before the policy.
func (r *refusals) declareStored() {
	It("lets what was stored before go on", func(ctx SpecContext) {
		merge := func(text string, to client.Object) error {
			return k8s.Patch(ctx, to, client.RawPatch(apitypes.MergePatchType, []byte(text)))
		}
		stored := contact(shop, "stored", "{}")
		Expect(merge(`{"metadata":{"labels":{"team":"support"}}}`, stored)).To(Succeed())
		Expect(merge(`{"metadata":{"annotations":{"contacts.open.cx/reconcile-at":"now"}}}`, stored)).To(Succeed())
		Expect(merge(`{"spec":{"suspend":true}}`, stored)).To(Succeed())
		Expect(merge(`{"spec":{"name":"Jane Doe"}}`, stored)).To(Succeed())
		Expect(put(ctx, "stored", with(r.spec(), `{"customData":{"plan":"enterprise"}}`))).To(Succeed())
		kubectl(manifestOf(contact(shop, "stored", r.spec())), "apply", "--server-side", "--force-conflicts", "-f", "-")
		Expect(k8s.Status().Patch(ctx, stored, client.RawPatch(apitypes.MergePatchType, []byte(`{"status":{"observedGeneration":1}}`)))).To(Succeed())
		Expect(k8s.Delete(ctx, stored)).To(Succeed())
	})
}

// remove deletes what was created without an error.
func remove(ctx context.Context, object *unstructured.Unstructured, err error) error {
	if err == nil {
		err = k8s.Delete(ctx, object)
	}
	return err
}

// put replaces the spec of a contact.
func put(ctx context.Context, name, spec string, options ...client.UpdateOption) error {
	GinkgoHelper()
	object := contact(shop, name, "{}")
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	object.Object["spec"] = contact(shop, name, spec).Object["spec"]
	return k8s.Update(ctx, object, options...)
}
