package v1alpha1_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// plainMaps are the fields that hold values by name.
var plainMaps = []string{"customData", "queryParams", "pathParams", "bodyParams", "headers"}

// inField is a spec with a value, in JSON, in the field of that name.
func inField(field, value string) string {
	switch strings.TrimSuffix(field, "From") {
	case "queryParams", "pathParams", "bodyParams", "headers":
		return `{"contactID":"c","httpActionOverrides":{` + quote(field) + `:` + value + `}}`
	}
	return `{"contactID":"c",` + quote(field) + `:` + value + `}`
}

// values is a map with values of these lengths, under names of three characters.
func values(character string, lengths ...int) string {
	GinkgoHelper()
	all := map[string]string{}
	for i, length := range lengths {
		all[fmt.Sprintf("%03d", i)] = strings.Repeat(character, length)
	}
	return quote(all)
}

// within are maps of which each is exactly at one bound.
func within() []string {
	return []string{
		`{"` + strings.Repeat("k", 256) + `":""}`,
		values("a", 16384),
		values("a", 16384, 16384, 8183),
		values("é", 16384, 16384, 8183),
		values("<", 5000, 5240),
		values("\n", 16384, 16384),
	}
}

// beyond are maps, in the field of that name, that are one character beyond a bound,
// each with what the API server says.
func beyond(field string) map[string]string {
	key := "a name in " + field + " must have at most 256 characters and no U+0000: shorten it, or remove that character"
	total := field + " must have at most 40960 characters in all, names and values together: shorten or remove some"
	costly := field + " must have at most 10240 of the characters <, >, & and control characters, each of which takes six bytes in the cluster: remove some"
	return map[string]string{
		`{"` + strings.Repeat("k", 257) + `":""}`:         key,
		`{"a":"","` + strings.Repeat("é", 257) + `":""}`:  key,
		values("a", 16385):                                "Too long: may not be more than 16384 bytes",
		values("é", 16385):                                "Too long: may not be more than 16384 bytes",
		values("a", 16384, 16384, 8184):                   total,
		values("😀", 16384, 16384, 8184):                   total,
		values("<", 5000, 5241):                           costly,
		values("\x01", 10241):                             costly,
		`{"&":"` + strings.Repeat("\u2028", 10240) + `"}`: costly,
	}
}

var _ = Describe("A bound", func() {
	It("lets in what is just within it, in every map", func(ctx SpecContext) {
		for _, field := range plainMaps {
			for _, value := range within() {
				_, err := create(ctx, inField(field, value), client.DryRunAll)
				Expect(err).NotTo(HaveOccurred(), field)
			}
			for _, value := range []string{sources(1, 256), sources(16, 256), sources(64, 64)} {
				_, err := create(ctx, inField(field+"From", value), client.DryRunAll)
				Expect(err).NotTo(HaveOccurred(), field)
			}
		}
	})

	It("refuses what is just beyond it, in every map, without a word of the value", func(ctx SpecContext) {
		for _, field := range plainMaps {
			for value, message := range beyond(field) {
				_, err := create(ctx, inField(field, value), client.DryRunAll)
				Expect(err).To(MatchError(And(ContainSubstring("."+field), ContainSubstring(message))))
				Expect(len(err.Error())).To(BeNumerically("<", 1000), field)
			}
			_, err := create(ctx, inField(field+"From", sources(1, 257)), client.DryRunAll)
			Expect(err).To(MatchError(ContainSubstring("a name in " + field + "From must have at most 256 characters and no U+0000: shorten it, or remove that character")))
			_, err = create(ctx, inField(field+"From", sources(63, 65)), client.DryRunAll)
			Expect(err).NotTo(HaveOccurred(), field)
			_, err = create(ctx, inField(field+"From", sources(17, 241)), client.DryRunAll)
			Expect(err).To(MatchError(ContainSubstring("the names in " + field + "From must have at most 4096 characters together: shorten some")))
		}
	})

	DescribeTable("counts characters, not bytes, of",
		func(ctx SpecContext, field string, characters int) {
			_, err := create(ctx, inField(field, quote(strings.Repeat("é", characters))), client.DryRunAll)
			Expect(err).NotTo(HaveOccurred())
			_, err = create(ctx, inField(field, quote(strings.Repeat("1", characters+1))), client.DryRunAll)
			Expect(err).To(MatchError(And(ContainSubstring("spec."+field), ContainSubstring("Too long: may not be more than %d bytes", characters))))
		},
		Entry("a phone", "phone", 64),
		Entry("a name", "name", 1024),
	)

	DescribeTable("stands on every string",
		func(kind string, count int) {
			schema, err := crdSchema(kind)
			Expect(err).NotTo(HaveOccurred())
			bounded := 0
			var walk func(path string, s *apiextensionsv1.JSONSchemaProps)
			walk = func(path string, s *apiextensionsv1.JSONSchemaProps) {
				if s.Type == "string" {
					Expect(s.MaxLength != nil || len(s.Enum) > 0 || isTime(path[strings.LastIndex(path, ".")+1:])).To(BeTrue(), path)
					bounded++
				}
				for name, property := range s.Properties {
					walk(path+"."+name, &property)
				}
				if s.Items != nil {
					walk(path+"[]", s.Items.Schema)
				}
				if s.AdditionalProperties != nil {
					Expect(s.MaxProperties).NotTo(BeNil(), path)
					Expect(s.AdditionalProperties.Schema.Nullable).To(BeTrue(), path)
					walk(path+".*", s.AdditionalProperties.Schema)
				}
			}
			spec, status := schema.Properties["spec"], schema.Properties["status"]
			walk("spec", &spec)
			walk("status", &status)
			Expect(bounded).To(Equal(count))
		},
		Entry("of a contact", "OpenCXContact", 62),
		Entry("of an organization", "OpenCXOrganization", 21),
	)
})
