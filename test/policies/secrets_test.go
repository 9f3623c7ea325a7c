package policies

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	plainEmail    = "email must come from a Secret: remove it, put the address into a Secret and name that in emailFrom.secretKeyRef"
	plainPhone    = "phone must come from a Secret: remove it, put the number into a Secret and name that in phoneFrom.secretKeyRef"
	openEmailFrom = "emailFrom must name a Secret, not a ConfigMap: use emailFrom.secretKeyRef"
	openPhoneFrom = "phoneFrom must name a Secret, not a ConfigMap: use phoneFrom.secretKeyRef"
	plainHeader   = "httpActionOverrides.headers must not hold values: remove them, put them into a Secret and name that in httpActionOverrides.headersFrom"
	openHeader    = "httpActionOverrides.headersFrom must name Secrets, not ConfigMaps: use secretKeyRef"
)

// patchSpec merges fields into the spec of a contact of namespace shop.
func patchSpec(ctx SpecContext, name, fields string) error {
	return k8s.Patch(ctx, contact(shop, name, "{}"), client.RawPatch(types.MergePatchType, []byte(`{"spec":`+fields+`}`)))
}

var _ = describePolicy("personal_data_from_secrets.yaml", func() {
	r := &refusals{
		policy: "opencx-personal-data-from-secrets", file: "personal_data_from_secrets.yaml",
		accepted: `{"contactID":"jane"}`, refused: `{"email":"jane.doe@example.com","phoneFrom":{"configMapKeyRef":{"name":"phones","key":"jane"}}}`,
		values:    []string{"jane.doe", "phones"},
		message:   plainEmail,
		changed:   "denied request: " + plainEmail,
		exception: `kubectl patch validatingadmissionpolicybinding opencx-personal-data-from-secrets --type=merge -p '{"spec":{"matchResources":{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["shop"]}]}}}}'`,
	}
	BeforeAll(func(ctx SpecContext) {
		Expect(k8s.Create(ctx, contact(shop, "empty", `{"contactID":"empty","phone":""}`))).To(Succeed())
		Expect(k8s.Create(ctx, contact(shop, "other", `{"contactID":"other","phone":"+12025550123","emailFrom":{"configMapKeyRef":{"name":"mails","key":"jane"}}}`))).To(Succeed())
	})
	r.declareCases(func() {
		DescribeTable("refuses", func(ctx SpecContext, fields, message string) {
			Expect(try(ctx, shop, with(r.accepted, fields))).To(r.deny("denied request: " + message))
		},
			Entry("an email", `{"email":"jane.doe@example.com"}`, plainEmail),
			Entry("a phone", `{"phone":"+12025550123"}`, plainPhone),
			Entry("an empty phone", `{"phone":""}`, plainPhone),
			Entry("an email from a ConfigMap", `{"emailFrom":{"configMapKeyRef":{"name":"mails","key":"jane"}}}`, openEmailFrom),
			Entry("a phone from a ConfigMap that need not exist", `{"phoneFrom":{"configMapKeyRef":{"name":"phones","key":"jane","optional":true}}}`, openPhoneFrom),
			Entry("a phone beside an email from a Secret", `{"phone":"1","emailFrom":{"secretKeyRef":{"name":"jane","key":"email"}}}`, plainPhone),
		)

		DescribeTable("allows", func(ctx SpecContext, fields string) {
			Expect(try(ctx, shop, with(r.accepted, fields))).To(Succeed())
		},
			Entry("both from Secrets", `{"emailFrom":{"secretKeyRef":{"name":"jane","key":"email"}},"phoneFrom":{"secretKeyRef":{"name":"jane","key":"phone"}}}`),
			Entry("a name", `{"name":"Jane Doe"}`),
			Entry("other data from a ConfigMap", `{"customDataFrom":{"tier":{"configMapKeyRef":{"name":"tiers","key":"jane"}}}}`),
		)

		It("lets what was stored before go on as it is, field by field", func(ctx SpecContext) {
			Expect(patchSpec(ctx, "other", `{"suspend":true}`)).To(Succeed())
			Expect(patchSpec(ctx, "other", `{"phone":"+12025550199"}`)).To(MatchError(ContainSubstring(plainPhone)))
			Expect(patchSpec(ctx, "other", `{"emailFrom":{"configMapKeyRef":{"key":"john"}}}`)).To(MatchError(ContainSubstring(openEmailFrom)))
			Expect(patchSpec(ctx, "stored", `{"email":"john.roe@example.com"}`)).To(MatchError(ContainSubstring(plainEmail)))
			Expect(patchSpec(ctx, "stored", `{"phoneFrom":{"configMapKeyRef":{"key":"john"}}}`)).To(MatchError(ContainSubstring(openPhoneFrom)))
			Expect(patchSpec(ctx, "other", `{"phone":null,"phoneFrom":{"secretKeyRef":{"name":"jane","key":"phone"}}}`)).To(Succeed())
			Expect(patchSpec(ctx, "other", `{"phone":"+12025550123","phoneFrom":null}`)).To(MatchError(ContainSubstring(plainPhone)))
		})

		It("leaves a list of what was stored before", func(ctx SpecContext) {
			Expect(runFromPage(ctx, `kubectl get opencxcontacts -A -o go-template='{{range .items}}{{$phone := false}}{{range $field, $value := .spec}}{{if eq $field "phone"}}{{$phone = true}}{{end}}{{end}}{{if or .spec.email $phone .spec.emailFrom.configMapKeyRef .spec.phoneFrom.configMapKeyRef}}{{.metadata.namespace}}/{{.metadata.name}}{{"\n"}}{{end}}{{end}}'`)).
				To(Equal("shop/empty\nshop/other\nshop/stored\n"))
		})
	})
})

var _ = describePolicy("headers_from_secrets.yaml", func() {
	r := &refusals{
		policy: "opencx-headers-from-secrets", file: "headers_from_secrets.yaml",
		accepted: `{"contactID":"jane"}`, refused: `{"httpActionOverrides":{"headers":{"X-Tenant":"acme-secret"}}}`,
		values:    []string{"acme-secret", "X-Tenant"},
		message:   plainHeader,
		changed:   "denied request: " + plainHeader,
		exception: `kubectl patch validatingadmissionpolicybinding opencx-headers-from-secrets --type=merge -p '{"spec":{"matchResources":{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["shop"]}]}}}}'`,
	}
	BeforeAll(func(ctx SpecContext) {
		Expect(k8s.Create(ctx, contact(shop, "other", `{"contactID":"other","httpActionOverrides":{"headers":{"X-A":"a","X-B":"b"},"headersFrom":{"X-C":{"configMapKeyRef":{"name":"c","key":"c"}}}}}`))).To(Succeed())
	})
	r.declareCases(func() {
		DescribeTable("refuses", func(ctx SpecContext, overrides, message string) {
			Expect(try(ctx, shop, with(r.accepted, `{"httpActionOverrides":`+overrides+`}`))).To(r.deny("denied request: " + message))
		},
			Entry("a header", `{"headers":{"X-Tenant":"acme-secret"}}`, plainHeader),
			Entry("an empty header", `{"headers":{"X-Tenant":""}}`, plainHeader),
			Entry("a header beside one from a Secret", `{"headers":{"X-Tenant":"acme-secret"},"headersFrom":{"X-A":{"secretKeyRef":{"name":"a","key":"a"}}}}`, plainHeader),
			Entry("a header from a ConfigMap", `{"headersFrom":{"X-Tenant":{"configMapKeyRef":{"name":"a","key":"a"}}}}`, openHeader),
			Entry("a header from a ConfigMap beside one from a Secret", `{"headersFrom":{"X-A":{"secretKeyRef":{"name":"a","key":"a"}},"X-Tenant":{"configMapKeyRef":{"name":"a","key":"a"}}}}`, openHeader),
		)

		DescribeTable("allows", func(ctx SpecContext, overrides string) {
			Expect(try(ctx, shop, with(r.accepted, `{"httpActionOverrides":`+overrides+`}`))).To(Succeed())
		},
			Entry("headers from Secrets", `{"headersFrom":{"X-A":{"secretKeyRef":{"name":"a","key":"a"}}}}`),
			Entry("no headers at all", `{}`),
			Entry("an empty map, which erases them in OpenCX", `{"headers":{}}`),
			Entry("other values", `{"queryParams":{"locale":"en-GB"},"bodyParamsFrom":{"b":{"configMapKeyRef":{"name":"b","key":"b"}}}}`),
		)

		It("lets each header that was stored before go on as it is", func(ctx SpecContext) {
			Expect(patchSpec(ctx, "other", `{"suspend":true,"httpActionOverrides":{"queryParams":{"locale":"en-GB"}}}`)).To(Succeed())
			Expect(patchSpec(ctx, "other", `{"httpActionOverrides":{"headers":{"X-A":"b"}}}`)).To(MatchError(ContainSubstring(plainHeader)))
			Expect(patchSpec(ctx, "other", `{"httpActionOverrides":{"headers":{"X-D":"a"}}}`)).To(MatchError(ContainSubstring(plainHeader)))
			Expect(patchSpec(ctx, "other", `{"httpActionOverrides":{"headersFrom":{"X-C":{"configMapKeyRef":{"key":"d"}}}}}`)).To(MatchError(ContainSubstring(openHeader)))
			Expect(patchSpec(ctx, "other", `{"httpActionOverrides":{"headersFrom":{"X-D":{"configMapKeyRef":{"name":"c","key":"c"}}}}}`)).To(MatchError(ContainSubstring(openHeader)))
			Expect(patchSpec(ctx, "other", `{"httpActionOverrides":{"headers":{"X-A":null},"headersFrom":{"X-A":{"secretKeyRef":{"name":"a","key":"a"}}}}}`)).To(Succeed())
			Expect(patchSpec(ctx, "other", `{"httpActionOverrides":{"headers":{"X-A":"a"},"headersFrom":{"X-A":null}}}`)).To(MatchError(ContainSubstring(plainHeader)))
		})

		It("leaves a list of what was stored before", func(ctx SpecContext) {
			Expect(runFromPage(ctx, `kubectl get opencxcontacts -A -o go-template='{{range .items}}{{$c := .metadata}}{{with .spec.httpActionOverrides}}{{if .headers}}{{$c.namespace}}/{{$c.name}}{{"\n"}}{{end}}{{range .headersFrom}}{{if .configMapKeyRef}}{{$c.namespace}}/{{$c.name}}{{"\n"}}{{end}}{{end}}{{end}}{{end}}' | sort -u`)).
				To(Equal("shop/other\nshop/stored\n"))
		})
	})
})
