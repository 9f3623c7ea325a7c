package policies

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	tooManyLabels     = "a contact may have 64 labels: remove those that nobody selects by"
	tooManyFinalizers = "a contact may have 16 finalizers: remove those that nobody waits for"
	tooManyOwners     = "a contact may have 16 ownerReferences: remove those of objects that are gone"
	noOwner           = "ownerReferences of a contact must name objects as they are called: correct apiVersion, kind, name and uid"
)

var _ = describePolicy("bounded_metadata.yaml", func() {
	labels := func(n int) map[string]string {
		all := map[string]string{}
		for i := range n {
			all[fmt.Sprint("l", i)] = "v"
		}
		return all
	}
	finalizers := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprint("example.com/f", i))
		}
		return all
	}
	owners := func(n int, name string) (all []metav1.OwnerReference) {
		for i := range n {
			all = append(all, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name, UID: types.UID(fmt.Sprint(i))})
		}
		return all
	}
	create := func(ctx context.Context, namespace string, labels map[string]string, finalizers []string, owners []metav1.OwnerReference) error {
		object := contact(namespace, "", `{"contactID":"jane"}`)
		object.SetLabels(labels)
		object.SetFinalizers(finalizers)
		object.SetOwnerReferences(owners)
		return k8s.Create(ctx, object, client.DryRunAll)
	}
	patch := func(ctx context.Context, metadata string) error {
		return k8s.Patch(ctx, contact(shop, "stored", "{}"), client.RawPatch(types.MergePatchType, []byte(`{"metadata":`+metadata+`}`)))
	}

	BeforeAll(func(ctx SpecContext) {
		stored := contact(shop, "stored", `{"contactID":"stored"}`)
		stored.SetLabels(labels(100))
		Expect(k8s.Create(ctx, stored)).To(Succeed())
		runFromPage(ctx, "sed 's/\\[Deny\\]/[Audit, Warn]/' config/policies/bounded_metadata.yaml | kubectl apply -f -")
		runFromPage(ctx, "kubectl apply -f config/policies/bounded_metadata.yaml")
		Eventually(func() error { return create(ctx, shop, labels(65), nil, nil) }).Should(MatchError(ContainSubstring("denied request: " + tooManyLabels)))
	})
	AfterAll(func(ctx SpecContext) {
		Expect(k8s.DeleteAllOf(ctx, contact(shop, "", "{}"), client.InNamespace(shop))).To(Succeed())
		runFromPage(ctx, "kubectl delete -f config/policies/bounded_metadata.yaml")
		Expect(kubectl("", "get", installed, "-o", "name")).To(BeEmpty())
		elsewhere := newNamespace(ctx, nil)
		Eventually(func() error { return create(ctx, elsewhere, labels(65), nil, nil) }).Should(Succeed())
	})

	DescribeTable("refuses", func(ctx SpecContext, labels map[string]string, finalizers []string, owners []metav1.OwnerReference, message string) {
		Expect(create(ctx, shop, labels, finalizers, owners)).To(MatchError(HaveSuffix("denied request: " + message)))
		Expect(sectionOf("bounded_metadata.yaml")).To(ContainSubstring("`" + message + "`"))
	},
		Entry("many labels", labels(65), nil, nil, tooManyLabels),
		Entry("many finalizers", nil, finalizers(17), nil, tooManyFinalizers),
		Entry("many owner references", nil, nil, owners(17, "a"), tooManyOwners),
		Entry("an owner reference with a name that no object has", nil, nil, owners(1, strings.Repeat("a", 254)), noOwner),
	)

	It("allows what anybody needs", func(ctx SpecContext) {
		Expect(create(ctx, shop, nil, nil, nil)).To(Succeed())
		Expect(create(ctx, shop, labels(64), finalizers(16), owners(16, strings.Repeat("a", 253)))).To(Succeed())
	})

	It("lets what was stored before change, but not grow", func(ctx SpecContext) {
		Expect(patchSpec(ctx, "stored", `{"name":"Jane"}`)).To(Succeed())
		Expect(patch(ctx, `{"labels":{"one":"more"}}`)).To(MatchError(ContainSubstring(tooManyLabels)))
		Expect(patch(ctx, `{"labels":{"l0":null}}`)).To(Succeed())
		Expect(patch(ctx, `{"labels":{"l0":"v"}}`)).To(MatchError(ContainSubstring(tooManyLabels)))
	})
})
