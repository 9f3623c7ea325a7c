package v1alpha1_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// entries makes n properties with values "".
func entries(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = quote(strings.Repeat("k", i+1)) + `:""`
	}
	return "{" + strings.Join(names, ",") + "}"
}

var _ = Describe("A contact", func() {
	DescribeTable("is accepted, and decodes",
		func(ctx SpecContext, spec string) {
			_, err := create(ctx, spec, client.DryRunAll)
			Expect(err).NotTo(HaveOccurred())
		},
		Entry("with an ID alone", `{"contactID":"3c90c3cc-0d44-4b50-8888-8dd25736052a"}`),
		Entry("with an ID of every allowed kind of character", `{"contactID":"aZ0._~-"}`),
		Entry("with an ID of three dots", `{"contactID":"..."}`),
		Entry("with an ID of 128 characters", `{"contactID":"`+strings.Repeat("a", 128)+`"}`),
		Entry("with 64 properties in each map", `{"contactID":"c","customData":`+entries(64)+`,"httpActionOverrides":{"queryParams":`+entries(64)+`,"pathParams":`+entries(64)+`,"bodyParams":`+entries(64)+`,"headers":`+entries(64)+`}}`),
		Entry("with an organization of its own namespace", `{"contactID":"c","organizationRef":{"name":"acme.eu-1"}}`),
		Entry("with an organization of another namespace", `{"contactID":"c","organizationRef":{"name":"acme","namespace":"crm-1"}}`),
		Entry("of which drift is reported", `{"contactID":"c","driftPolicy":"Report"}`),
		Entry("with fields that it does not know", `{"contactID":"c","fromALaterVersion":true}`),
	)

	DescribeTable("is refused with a sentence that names field and remedy",
		func(ctx SpecContext, spec, field, remedy string) {
			_, err := create(ctx, spec, client.DryRunAll)
			Expect(err).To(MatchError(And(ContainSubstring(field), ContainSubstring(remedy))))
		},
		Entry("without an ID", `{}`, "spec.contactID", "Required value"),
		Entry("with an empty ID", `{"contactID":""}`, "spec.contactID", "at least 1 char"),
		Entry("with an ID of 129 characters", `{"contactID":"`+strings.Repeat("a", 129)+`"}`, "spec.contactID", "may not be more than 128"),
		Entry("with a slash in the ID", `{"contactID":"../keys"}`, "spec.contactID", "may contain only letters"),
		Entry("with a dot as the ID", `{"contactID":"."}`, "spec.contactID", "must not be '.' or '..'"),
		Entry("with two dots as the ID", `{"contactID":".."}`, "spec.contactID", "must not be '.' or '..'"),
		Entry("with a newline after the ID", `{"contactID":"a\n"}`, "spec.contactID", "may contain only letters"),
		Entry("with a policy that there is not", `{"contactID":"c","driftPolicy":"report"}`, "spec.driftPolicy", `"Correct", "Report", "Ignore"`),
		Entry("with an empty email", `{"contactID":"c","email":""}`, "spec.email", "remove the field"),
		Entry("with a dot before the email", `{"contactID":"c","email":".a@example.com"}`, "spec.email", "must not start with a dot"),
		Entry("with two dots in the email", `{"contactID":"c","email":"a..b@example.com"}`, "spec.email", "two dots in a row"),
		Entry("with a number as phone", `{"contactID":"c","phone":12025550123}`, "spec.phone", "must be of type string"),
		Entry("with a number in custom data", `{"contactID":"c","customData":{"seats":5}}`, "spec.customData.seats", "must be of type string"),
		Entry("with 65 properties in a map", `{"contactID":"c","customData":`+entries(65)+`}`, "spec.customData", "must have at most 64"),
		Entry("with an organization without a name", `{"contactID":"c","organizationRef":{}}`, "spec.organizationRef.name", "Required value"),
		Entry("with an organization's namespace alone", `{"contactID":"c","organizationRef":{"namespace":"crm"}}`, "spec.organizationRef.name", "Required value"),
		Entry("with an empty name of an organization", `{"contactID":"c","organizationRef":{"name":""}}`, "spec.organizationRef.name", "at least 1 char"),
		Entry("with an organization that cannot exist", `{"contactID":"c","organizationRef":{"name":"Acme_1"}}`, "spec.organizationRef.name", "lower-case letters"),
		Entry("with a name of an organization that is too long", `{"contactID":"c","organizationRef":{"name":"`+strings.Repeat("a", 254)+`"}}`, "spec.organizationRef.name", "may not be more than 253"),
		Entry("with namespace and name in one", `{"contactID":"c","organizationRef":{"name":"crm/acme"}}`, "spec.organizationRef.name", "lower-case letters"),
		Entry("with an empty namespace of the organization", `{"contactID":"c","organizationRef":{"name":"acme","namespace":""}}`, "spec.organizationRef.namespace", "at least 1 char"),
		Entry("with a namespace that cannot exist", `{"contactID":"c","organizationRef":{"name":"acme","namespace":"crm.eu"}}`, "spec.organizationRef.namespace", "the name of a namespace"),
		Entry("with a namespace that is too long", `{"contactID":"c","organizationRef":{"name":"acme","namespace":"`+strings.Repeat("a", 64)+`"}}`, "spec.organizationRef.namespace", "may not be more than 63"),
	)

	DescribeTable("has a resyncInterval that is what it says",
		func(ctx SpecContext, interval string, want time.Duration) {
			contact, err := create(ctx, `{"contactID":"c","resyncInterval":`+quote(interval)+`}`, client.DryRunAll)
			Expect(err).NotTo(HaveOccurred())
			Expect(contact.Spec.ResyncInterval.Duration).To(Equal(want))
		},
		Entry("in hours", "24h", 24*time.Hour),
		Entry("in several units", "1h30m5s250ms", time.Hour+30*time.Minute+5*time.Second+250*time.Millisecond),
		Entry("with a fraction", "1.5h", 90*time.Minute),
		Entry("of nothing", "0s", time.Duration(0)),
		Entry("of nothing, in hours and minutes", "0h0.0m", time.Duration(0)),
		Entry("of five minutes", "5m", 5*time.Minute),
		Entry("of five minutes in seconds", "300s", 5*time.Minute),
		Entry("of a year", "8760h", 8760*time.Hour),
		Entry("of a year in milliseconds", "31536000000ms", 8760*time.Hour),
	)

	DescribeTable("is refused with a resyncInterval",
		func(ctx SpecContext, interval string) {
			_, err := create(ctx, `{"contactID":"c","resyncInterval":`+quote(interval)+`}`, client.DryRunAll)
			Expect(err).To(MatchError(And(ContainSubstring("spec.resyncInterval"), ContainSubstring("from 5m to 8760h"), ContainSubstring("use 0s to turn re-sending off"))))
		},
		Entry("that is empty", ""),
		Entry("without a unit", "24"),
		Entry("in days", "1d"),
		Entry("in microseconds", "5us"),
		Entry("that is negative", "-1h"),
		Entry("that has a sign", "+1h"),
		Entry("of a millisecond", "1ms"),
		Entry("of less than five minutes", "4m59.999s"),
		Entry("of more than a year", "8761h"),
		Entry("of many years", "9999h9999h9999h9999h9999h9999h"),
		Entry("that overflows", "99999999999999999999h"),
		Entry("that is no duration", "daily"),
		Entry("with a newline", "1h\n"),
	)

	It("keeps its ID", func(ctx SpecContext) {
		contact, err := create(ctx, `{"contactID":"c"}`)
		Expect(err).NotTo(HaveOccurred())
		contact.Spec.ContactID = "d"
		Expect(k8s.Update(ctx, contact)).To(MatchError(ContainSubstring("contactID is immutable: to manage another contact, create another OpenCXContact")))
	})

	It("names its organization as a whole", func(ctx SpecContext) {
		By("one tool that names an organization of another namespace")
		Expect(apply(ctx, "OpenCXContact", "moves", "policy", `{"contactID":"c","organizationRef":{"name":"acme","namespace":"crm"}}`)).To(Succeed())
		By("another one that names one of the contact's own, with no word of a namespace")
		Expect(apply(ctx, "OpenCXContact", "moves", "tenant", `{"contactID":"c","organizationRef":{"name":"mine"}}`, client.ForceOwnership)).To(Succeed())
		contact := &v1alpha1.OpenCXContact{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: "default", Name: "moves"}, contact)).To(Succeed())
		Expect(contact.Spec.OrganizationRef).To(Equal(&v1alpha1.OrganizationReference{Name: "mine"}))
	})

	It("says before the operator has seen it that it has not", func(ctx SpecContext) {
		contact, err := create(ctx, `{"contactID":"c"}`)
		Expect(err).NotTo(HaveOccurred())
		Expect(contact.Status).To(Equal(v1alpha1.OpenCXContactStatus{ObservedGeneration: -1}))
	})

	It("keeps absent and empty apart", func(ctx SpecContext) {
		contact, err := create(ctx, `{"contactID":"c","name":"","customData":{},"httpActionOverrides":{"headers":{}}}`, client.DryRunAll)
		Expect(err).NotTo(HaveOccurred())
		Expect(quote(contact.Spec)).To(Equal(`{"contactID":"c","name":"","customData":{},"httpActionOverrides":{"headers":{}}}`))
	})
})
