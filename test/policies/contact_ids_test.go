package policies

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apitypes "k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
)

const notAllowed = "contactID starts with none of the prefixes that this namespace may use: correct contactID, or ask whoever manages the Namespace to add a prefix of it to its annotation contacts.open.cx/contact-id-prefixes"

var _ = describePolicy("contact_id_prefixes.yaml", func() {
	r := &refusals{
		policy: "opencx-contact-id-prefixes", file: "contact_id_prefixes.yaml",
		prepare:  "kubectl annotate namespace shop contacts.open.cx/contact-id-prefixes=acme-,7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41",
		accepted: `{"contactID":"acme-1"}`, refused: `{"contactID":"globex-1"}`, values: []string{"globex"},
		message: notAllowed, changed: "contactID is immutable",
		exception: "kubectl annotate namespace shop --overwrite contacts.open.cx/contact-id-prefixes=acme-,7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41,globex-1",
	}
	withPrefixes := func(ctx SpecContext, prefixes string) string {
		GinkgoHelper()
		return newNamespace(ctx, map[string]string{"contacts.open.cx/contact-id-prefixes": prefixes})
	}
	r.declareCases(func() {
		DescribeTable("allows a contactID",
			func(ctx SpecContext, prefixes, contactID string) {
				Expect(try(ctx, withPrefixes(ctx, prefixes), `{"contactID":"`+contactID+`"}`)).To(Succeed())
			},
			Entry("that starts with a prefix", "acme-", "acme-1"),
			Entry("that is a prefix", "acme-1", "acme-1"),
			Entry("in other capitals than the prefix", "Acme-", "aCME-1"),
			Entry("that starts with a prefix between spaces", "globex-,\n acme- ,initech-", "acme-1"),
			Entry("that starts with a prefix beside an empty one", ",acme-,,", "acme-1"),
			Entry("that is a UUID", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41"),
			Entry("that is a UUID in capitals without hyphens", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41", "7D1F0C529B7E4E0BA1D40C1F6A3D2B41"),
			Entry("that is a UUID of which the annotation lacks the hyphens", "7d1f0c529b7e4e0ba1d40c1f6a3d2b41", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41"),
			Entry("that is a UUID with other hyphens than the annotation", "7d1f-0c529b7e4e0ba1d40c1f6a3d2b41", "7d1f0c529b7e-4e0ba1d40c1f6a3d2b41"),
			Entry("that is a UUID and starts with a prefix", "7d1f0c52-9B", "7d1f0c529b7e4e0ba1d40c1f6a3d2b41"),
			Entry("that is a UUID with hyphens and starts with a prefix without", "7d1f0c529b", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41"),
			Entry("that is the last of as many UUIDs as an annotation has room for", manyUUIDs(7000), "7d1f0c52-9b7e-4e0b-a1d4-000000006999"),
		)

		DescribeTable("refuses a contactID",
			func(ctx SpecContext, prefixes, contactID string) {
				Expect(try(ctx, withPrefixes(ctx, prefixes), `{"contactID":"`+contactID+`"}`)).To(MatchError(HaveSuffix("denied request: " + notAllowed)))
			},
			Entry("when the annotation is empty", "", "acme-1"),
			Entry("when the annotation is a comma", ",", "acme-1"),
			Entry("when the prefixes are spaces", " , ", "acme-1"),
			Entry("beside an empty prefix", "acme-,,globex-", "initech-1"),
			Entry("that has a prefix in its middle", "acme-", "my-acme-1"),
			Entry("that is shorter than the prefix", "acme-", "acme"),
			Entry("that lacks the prefix's hyphen", "acme-", "acme1"),
			Entry("that matches a prefix only as a pattern", "a.*", "acme-1"),
			Entry("of another UUID", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b42"),
			// It is ace12345-6789-…, which is somebody else's.
			Entry("of a UUID that only its hyphens give the prefix", "ace-", "ace-12345-6789-4abc-8def-0123456789ab"),
			Entry("of a UUID that begins with a hyphen", "-", "-ace12345-6789-4abc-8def-0123456789ab"),
		)

		It("refuses every contactID where the Namespace has no annotation", func(ctx SpecContext) {
			Expect(try(ctx, newNamespace(ctx, nil), r.accepted)).To(r.deny(notAllowed))
			Expect(try(ctx, newNamespace(ctx, map[string]string{"example.com/other": "acme-"}), r.accepted)).To(r.deny(notAllowed))
		})

		DescribeTable("allows and refuses what is one contactID to the operator alike",
			func(ctx SpecContext, prefix string, spellings ...string) {
				own, foreign := withPrefixes(ctx, prefix), withPrefixes(ctx, "globex-")
				for _, spelling := range spellings {
					spelled := &v1alpha1.OpenCXContact{Spec: v1alpha1.OpenCXContactSpec{ContactID: spelling}}
					first := &v1alpha1.OpenCXContact{Spec: v1alpha1.OpenCXContactSpec{ContactID: spellings[0]}}
					Expect(ownership.ClaimOf(spelled, apitypes.NamespacedName{})).To(Equal(ownership.ClaimOf(first, apitypes.NamespacedName{})))
					Expect(try(ctx, own, `{"contactID":"`+spelling+`"}`)).To(Succeed(), spelling)
					Expect(try(ctx, foreign, `{"contactID":"`+spelling+`"}`)).To(MatchError(ContainSubstring(notAllowed)), spelling)
				}
			},
			Entry("a name", "acme-", "acme-1", "ACME-1", "aCmE-1"),
			Entry("a UUID", "7d1f0c52-", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41", "7D1F0C529B7E4E0BA1D40C1F6A3D2B41",
				"7-d1f0c529b7e4e0ba1d40c1f6a3d2b41", "-7d1f0c529b7e4e0ba1d40c1f6a3d2b41-", "7d1f0c52--9b7e4e0ba1d40c1f6a3d2b41"),
		)

		It("says of a manifest without a contactID what the CRD says", func(ctx SpecContext) {
			Expect(try(ctx, shop, `{}`)).To(MatchError(ContainSubstring("spec.contactID: Required value")))
		})

		It("forgets a prefix that is taken away", func(ctx SpecContext) {
			namespace := withPrefixes(ctx, "acme-")
			Expect(try(ctx, namespace, r.accepted)).To(Succeed())
			object := &corev1.Namespace{}
			object.SetName(namespace)
			Expect(k8s.Patch(ctx, object, client.RawPatch(apitypes.MergePatchType, []byte(`{"metadata":{"annotations":null}}`)))).To(Succeed())
			Eventually(func() error { return try(ctx, namespace, r.accepted) }).Should(r.deny(notAllowed))
		})
	})
})

func manyUUIDs(n int) string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("7d1f0c52-9b7e-4e0b-a1d4-%012d", i)
	}
	return strings.Join(ids, ",")
}
