package v1alpha1_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// organization is the spec of one, in JSON, with the fields that are given beside the
// required one.
func organization(fields string) string {
	return strings.Join([]string{`{"apiKeySecretRef":{"name":"a"}`, fields + "}"}, ",")
}

// selecting is the spec of an organization that allows what a selector matches.
func selecting(selector string) string {
	return organization(`"allowedNamespaces":{"from":"Selector","selector":` + selector + `}`)
}

// requirement is a selector with one of them.
func requirement(key, operator, more string) string {
	return selecting(fmt.Sprintf(`{"matchExpressions":[{"key":%q,"operator":%q%s}]}`, key, operator, more))
}

// labelled makes n labels.
func labelled(n int) string {
	labels := make([]string, n)
	for i := range labels {
		labels[i] = fmt.Sprintf(`"l%d":""`, i)
	}
	return "{" + strings.Join(labels, ",") + "}"
}

var _ = Describe("An organization", func() {
	long := strings.Repeat("a", 63)
	longest := strings.Join([]string{long, long, long, strings.Repeat("a", 61)}, ".") + "/" + long // the longest name of a label

	DescribeTable("is accepted, and decodes",
		func(ctx SpecContext, spec string) {
			_, err := createOrganization(ctx, spec, client.DryRunAll)
			Expect(err).NotTo(HaveOccurred())
		},
		Entry("with a Secret alone", `{"apiKeySecretRef":{"name":"opencx.keys-1"}}`),
		Entry("with a key in a Secret", `{"apiKeySecretRef":{"name":"opencx","key":"api_key.V-1"}}`),
		Entry("with the smallest rate limit", organization(`"rateLimit":{"requests":1,"window":"1s"}`)),
		Entry("with the largest rate limit", organization(`"rateLimit":{"requests":100000,"window":"1h"}`)),
		Entry("with a request a minute", organization(`"rateLimit":{"requests":60,"window":"1h"}`)),
		Entry("with a window in several units", organization(`"rateLimit":{"requests":100,"window":"0h30m5s"}`)),
		Entry("with a window of an hour in seconds", organization(`"rateLimit":{"requests":100,"window":"3600s"}`)),
		Entry("with an interval of never", organization(`"resyncInterval":"0s"`)),
		Entry("with an interval of five minutes", organization(`"resyncInterval":"5m"`)),
		Entry("with an interval of a year", organization(`"resyncInterval":"8760h"`)),
		Entry("that never looks for drift", organization(`"driftCheckInterval":"0s"`)),
		Entry("that looks for drift every minute", organization(`"driftCheckInterval":"1m"`)),
		Entry("that looks for drift every year", organization(`"driftCheckInterval":"8760h"`)),
		Entry("suspended", organization(`"suspend":true`)),
		Entry("with nothing said of namespaces", organization(`"allowedNamespaces":{}`)),
		Entry("for its own namespace", organization(`"allowedNamespaces":{"from":"Same"}`)),
		Entry("for all namespaces", organization(`"allowedNamespaces":{"from":"All"}`)),
		Entry("for a label with a value", selecting(`{"matchLabels":{"example.com/team":"support"}}`)),
		Entry("for a label with an empty value", selecting(`{"matchLabels":{"team":""}}`)),
		Entry("for the longest label and value", selecting(`{"matchLabels":{"`+longest+`":"`+long+`"}}`)),
		Entry("for 16 labels", selecting(`{"matchLabels":`+labelled(16)+`}`)),
		Entry("for some values of a label", requirement("team", "In", `,"values":["support","sales"]`)),
		Entry("for any value of a label, with an empty list of values", requirement("team", "Exists", `,"values":[]`)),
		Entry("for no label of some values", requirement("team", "NotIn", `,"values":[""]`)),
		Entry("for any value of a label", requirement("team", "Exists", "")),
		Entry("for namespaces without a label", requirement("team", "DoesNotExist", "")),
		Entry("for labels and requirements", selecting(`{"matchLabels":{"team":"support"},"matchExpressions":[{"key":"stage","operator":"Exists"}]}`)),
		Entry("with fields that it does not know", organization(`"fromALaterVersion":true`)),
	)

	DescribeTable("is refused with a sentence that names field and remedy",
		func(ctx SpecContext, spec, field, remedy string) {
			_, err := createOrganization(ctx, spec, client.DryRunAll)
			Expect(err).To(MatchError(And(ContainSubstring(field), ContainSubstring(remedy))))
		},
		Entry("without a Secret", `{}`, "spec.apiKeySecretRef", "Required value"),
		Entry("without a Secret's name", `{"apiKeySecretRef":{"key":"apiKey"}}`, "spec.apiKeySecretRef.name", "Required value"),
		Entry("with an empty name of a Secret", `{"apiKeySecretRef":{"name":""}}`, "spec.apiKeySecretRef.name", "at least 1 char"),
		Entry("with a Secret that cannot exist", `{"apiKeySecretRef":{"name":"Not_A_Secret"}}`, "spec.apiKeySecretRef.name", "lower-case letters"),
		Entry("with a Secret of another namespace", `{"apiKeySecretRef":{"name":"crm/a"}}`, "spec.apiKeySecretRef.name", "lower-case letters"),
		Entry("with a name of a Secret that is too long", `{"apiKeySecretRef":{"name":"`+strings.Repeat("a", 254)+`"}}`, "spec.apiKeySecretRef.name", "may not be more than 253"),
		Entry("with an empty key of a Secret", `{"apiKeySecretRef":{"name":"a","key":""}}`, "spec.apiKeySecretRef.key", "at least 1 char"),
		Entry("with a key that a Secret cannot have", `{"apiKeySecretRef":{"name":"a","key":"a/b"}}`, "spec.apiKeySecretRef.key", "letters, digits, '-', '_' and '.'"),
		Entry("with less than a request a minute", organization(`"rateLimit":{"requests":59,"window":"1h"}`), "spec.rateLimit", "must allow at least one request a minute: raise requests, or shorten window"),
		Entry("with a rate limit of nothing", organization(`"rateLimit":{"requests":0,"window":"1m"}`), "spec.rateLimit.requests", "greater than or equal to 1"),
		Entry("with a rate limit that is too large", organization(`"rateLimit":{"requests":100001,"window":"1m"}`), "spec.rateLimit.requests", "less than or equal to 100000"),
		Entry("with a rate limit that is no whole number", organization(`"rateLimit":{"requests":1.5,"window":"1m"}`), "spec.rateLimit.requests", "must be of type integer"),
		Entry("with a rate limit that is text", organization(`"rateLimit":{"requests":"100","window":"1m"}`), "spec.rateLimit.requests", "must be of type integer"),
		Entry("with a rate limit as of the flag", organization(`"rateLimit":"100/1m"`), "spec.rateLimit", "must be of type object"),
		Entry("without requests", organization(`"rateLimit":{"window":"1m"}`), "spec.rateLimit.requests", "Required value"),
		Entry("without a window", organization(`"rateLimit":{"requests":100}`), "spec.rateLimit.window", "Required value"),
		Entry("that looks for drift more often than every minute", organization(`"driftCheckInterval":"59s"`), "spec.driftCheckInterval", "from 1m to 8760h"),
		Entry("that looks for drift without a unit", organization(`"driftCheckInterval":"10"`), "spec.driftCheckInterval", "use 0s to turn the look for drift off"),
		Entry("with an interval without a unit", organization(`"resyncInterval":"24"`), "spec.resyncInterval", "use 0s to turn re-sending off"),
		Entry("with an interval in days", organization(`"resyncInterval":"1d"`), "spec.resyncInterval", "use 0s to turn re-sending off"),
		Entry("with an interval of more than a year", organization(`"resyncInterval":"8761h"`), "spec.resyncInterval", "from 5m to 8760h"),
		Entry("with an interval of less than five minutes", organization(`"resyncInterval":"4m59.999s"`), "spec.resyncInterval", "from 5m to 8760h"),
		Entry("with suspend as text", organization(`"suspend":"yes"`), "spec.suspend", "must be of type boolean"),
		Entry("for namespaces of another kind", organization(`"allowedNamespaces":{"from":"Some"}`), "spec.allowedNamespaces.from", `"Same", "Selector", "All"`),
		Entry("for what a selector matches, without one", organization(`"allowedNamespaces":{"from":"Selector"}`), "spec.allowedNamespaces", "needs a selector when from is Selector"),
		Entry("for its own namespace and what a selector matches", organization(`"allowedNamespaces":{"from":"Same","selector":{"matchLabels":{"a":"b"}}}`), "spec.allowedNamespaces", "must have none otherwise"),
		Entry("for all namespaces and what a selector matches", organization(`"allowedNamespaces":{"from":"All","selector":{"matchLabels":{"a":"b"}}}`), "spec.allowedNamespaces", "must have none otherwise"),
		Entry("with a selector alone", organization(`"allowedNamespaces":{"selector":{"matchLabels":{"a":"b"}}}`), "spec.allowedNamespaces", "must have none otherwise"),
		Entry("with a list of namespaces", organization(`"allowedNamespaces":["shop"]`), "spec.allowedNamespaces", "must be of type object"),
		Entry("with an empty selector", selecting(`{}`), "spec.allowedNamespaces.selector", "an empty selector would allow every namespace: use from: All for that, or name a label"),
		Entry("with a selector of nothing that it knows", selecting(`{"matchlabels":{"a":"b"}}`), "spec.allowedNamespaces.selector", "an empty selector would allow every namespace: use from: All for that, or name a label"),
		Entry("with a selector of no labels", selecting(`{"matchLabels":{}}`), "spec.allowedNamespaces.selector", "an empty selector would allow every namespace: use from: All for that, or name a label"),
		Entry("with a selector of no requirements", selecting(`{"matchExpressions":[]}`), "spec.allowedNamespaces.selector", "an empty selector would allow every namespace: use from: All for that, or name a label"),
		Entry("with a label without a value", selecting(`{"matchLabels":{"team":null}}`), "spec.allowedNamespaces.selector.matchLabels", "to match any value, use matchExpressions with operator Exists"),
		Entry("with a label without a value among others", selecting(`{"matchLabels":{"stage":"live","team":null}}`), "spec.allowedNamespaces.selector.matchLabels", "to match any value, use matchExpressions with operator Exists"),
		Entry("with a label that is a number", selecting(`{"matchLabels":{"team":1}}`), "spec.allowedNamespaces.selector.matchLabels.team", "must be of type string"),
		Entry("with a name that no label has", selecting(`{"matchLabels":{"a b":"c"}}`), "spec.allowedNamespaces.selector.matchLabels", "must be the name of a label"),
		Entry("with an empty name of a label", selecting(`{"matchLabels":{"":"c"}}`), "spec.allowedNamespaces.selector.matchLabels", "must be the name of a label"),
		Entry("with a name of a label that is too long", selecting(`{"matchLabels":{"`+longest+`a":"c"}}`), "spec.allowedNamespaces.selector.matchLabels", "must be the name of a label"),
		Entry("with a value that no label has", selecting(`{"matchLabels":{"team":"a/b"}}`), "spec.allowedNamespaces.selector.matchLabels", "must be the value of a label"),
		Entry("with a value of a label that is too long", selecting(`{"matchLabels":{"team":"`+long+`a"}}`), "spec.allowedNamespaces.selector.matchLabels", "may not be more than 63"),
		Entry("with 17 labels", selecting(`{"matchLabels":`+labelled(17)+`}`), "spec.allowedNamespaces.selector.matchLabels", "must have at most 16"),
		Entry("with 17 requirements", selecting(`{"matchExpressions":[`+strings.Repeat(`{"key":"a","operator":"Exists"},`, 16)+`{"key":"a","operator":"Exists"}]}`), "spec.allowedNamespaces.selector.matchExpressions", "must have at most 16"),
		Entry("with In and no values", requirement("team", "In", ""), "spec.allowedNamespaces.selector.matchExpressions[0]", "In and NotIn need values"),
		Entry("with In and an empty list of values", requirement("team", "In", `,"values":[]`), "spec.allowedNamespaces.selector.matchExpressions[0]", "In and NotIn need values"),
		Entry("with NotIn and no values", requirement("team", "NotIn", ""), "spec.allowedNamespaces.selector.matchExpressions[0]", "In and NotIn need values"),
		Entry("with Exists and values", requirement("team", "Exists", `,"values":["a"]`), "spec.allowedNamespaces.selector.matchExpressions[0]", "Exists and DoesNotExist must have none"),
		Entry("with DoesNotExist and values", requirement("team", "DoesNotExist", `,"values":["a"]`), "spec.allowedNamespaces.selector.matchExpressions[0]", "Exists and DoesNotExist must have none"),
		Entry("with an operator that there is not", requirement("team", "Gt", `,"values":["1"]`), "spec.allowedNamespaces.selector.matchExpressions[0].operator", `"In", "NotIn", "Exists", "DoesNotExist"`),
		Entry("with an operator in lower case", requirement("team", "in", `,"values":["a"]`), "spec.allowedNamespaces.selector.matchExpressions[0].operator", `"In", "NotIn", "Exists", "DoesNotExist"`),
		Entry("with a requirement without a label", selecting(`{"matchExpressions":[{"operator":"Exists"}]}`), "spec.allowedNamespaces.selector.matchExpressions[0].key", "Required value"),
		Entry("with a requirement without an operator", selecting(`{"matchExpressions":[{"key":"team"}]}`), "spec.allowedNamespaces.selector.matchExpressions[0].operator", "Required value"),
		Entry("with a requirement on a name that no label has", requirement("-team", "Exists", ""), "spec.allowedNamespaces.selector.matchExpressions[0].key", "must be the name of a label"),
		Entry("with a requirement of a value that no label has", requirement("team", "In", `,"values":["a","-"]`), "spec.allowedNamespaces.selector.matchExpressions[0].values", "must be values of a label"),
		Entry("with a requirement of null", requirement("team", "In", `,"values":[null]`), "spec.allowedNamespaces.selector.matchExpressions[0].values", "must be of type string"),
		Entry("with a requirement of 65 values", requirement("team", "In", `,"values":[`+strings.Repeat(`"a",`, 64)+`"a"]`), "spec.allowedNamespaces.selector.matchExpressions[0].values", "must have at most 64"),
	)

	DescribeTable("is refused with a window",
		func(ctx SpecContext, window string) {
			_, err := createOrganization(ctx, organization(`"rateLimit":{"requests":1,"window":`+quote(window)+`}`), client.DryRunAll)
			Expect(err).To(MatchError(And(ContainSubstring("spec.rateLimit.window"), ContainSubstring("from 1s to 1h, such as 1m"))))
		},
		Entry("that is empty", ""),
		Entry("of nothing", "0s"),
		Entry("of less than a second", "999ms"),
		Entry("with a fraction", "1.5m"),
		Entry("of more than an hour", "1h1s"),
		Entry("of more than an hour, in seconds", "3601s"),
		Entry("of a day", "24h"),
		Entry("of a hundred hours", "100h"),
		Entry("without a unit", "60"),
		Entry("that is negative", "-1m"),
		Entry("that is no duration", "minute"),
		Entry("with a newline", "1m\n"),
	)

	It("has a window that is what it says", func(ctx SpecContext) {
		o, err := createOrganization(ctx, organization(`"rateLimit":{"requests":50,"window":"0h30m5s"},"resyncInterval":"1.5h"`), client.DryRunAll)
		Expect(err).NotTo(HaveOccurred())
		Expect(o.Spec.RateLimit.Requests).To(Equal(int32(50)))
		Expect(o.Spec.RateLimit.Window.Duration).To(Equal(30*time.Minute + 5*time.Second))
		Expect(o.Spec.ResyncInterval.Duration).To(Equal(90 * time.Minute))
	})

	It("says before the operator has seen it that it has not", func(ctx SpecContext) {
		o, err := createOrganization(ctx, organization(`"suspend":true`), client.DryRunAll)
		Expect(err).NotTo(HaveOccurred())
		Expect(o.Status).To(Equal(v1alpha1.OpenCXOrganizationStatus{ObservedGeneration: -1}))
	})

	// With fields that merge one by one, the selector of before would stay, and the
	// API server refuse what is left.
	DescribeTable("allows namespaces as a whole",
		func(ctx SpecContext, second string, options ...client.ApplyOption) {
			name := "allows-" + second
			const selector = `"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"team":"support"}}}`
			const same = `"allowedNamespaces":{"from":"Same"}`
			Expect(apply(ctx, "OpenCXOrganization", name, "first", organization(selector))).To(Succeed())
			Expect(apply(ctx, "OpenCXOrganization", name, second, organization(same), options...)).To(Succeed())
			stored := &v1alpha1.OpenCXOrganization{}
			Expect(k8s.Get(ctx, client.ObjectKey{Namespace: "default", Name: name}, stored)).To(Succeed())
			Expect(stored.Spec.AllowedNamespaces).To(Equal(&v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}))
			Expect(apply(ctx, "OpenCXOrganization", name, second, organization(selector))).To(Succeed())
		},
		Entry("applied by one tool", "first"),
		Entry("applied by another tool", "second", client.ForceOwnership),
	)
})
