package v1alpha1_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// times is how the page writes a long text: a×65.
var times = regexp.MustCompile(`.×[0-9]+`)

var _ = Describe("docs/validation.md", func() {
	It("says what the API server says, row for row", func(ctx SpecContext) {
		page, err := os.ReadFile(filepath.Join("..", "..", "docs", "validation.md"))
		Expect(err).NotTo(HaveOccurred())
		kind, rows := "", map[string]int{}
		for line := range strings.Lines(string(page)) {
			if heading, is := strings.CutPrefix(line, "## "); is {
				kind = strings.TrimSpace(heading)
			}
			cells := strings.Split(strings.TrimSpace(line), "|")
			if len(cells) != 4 || !strings.HasPrefix(cells[1], " `{") {
				continue
			}
			rows[kind]++
			declared, message := strings.Trim(cells[1], " `"), strings.Trim(cells[2], " `")
			declared = times.ReplaceAllStringFunc(declared, func(short string) string {
				character, count, _ := strings.Cut(short, "×")
				n, _ := strconv.Atoi(count)
				return strings.Repeat(character, n)
			})
			var fields map[string]any
			Expect(json.Unmarshal([]byte(declared), &fields)).To(Succeed(), declared)
			switch kind {
			case "OpenCXContact":
				_, err = create(ctx, withFields(`{"contactID":"c"}`, fields), client.DryRunAll)
			case "OpenCXOrganization":
				_, err = createOrganization(ctx, withFields(`{"apiKeySecretRef":{"name":"opencx-api-key"}}`, fields), client.DryRunAll)
			}
			Expect(err).To(MatchError(ContainSubstring(message)), declared)
		}
		Expect(rows).To(HaveLen(2))
		Expect(rows["OpenCXContact"]).To(BeNumerically(">=", 45))
		Expect(rows["OpenCXOrganization"]).To(BeNumerically(">=", 15))
	})
})

// withFields is a spec, in JSON, with more fields or other ones.
func withFields(spec string, fields map[string]any) string {
	GinkgoHelper()
	var all map[string]any
	Expect(json.Unmarshal([]byte(spec), &all)).To(Succeed())
	maps.Copy(all, fields)
	return quote(all)
}

var _ = Describe("kubectl explain", func() {
	DescribeTable("says what every field is, in sentences of which the first begins with its name",
		func(kind string, fields int) {
			schema, err := crdSchema(kind)
			Expect(err).NotTo(HaveOccurred())
			documented := 0
			var walk func(path string, s *apiextensionsv1.JSONSchemaProps)
			walk = func(path string, s *apiextensionsv1.JSONSchemaProps) {
				for name, property := range s.Properties {
					Expect(property.Description).To(HavePrefix(name+" "), path+"."+name)
					Expect(property.Description).To(HaveSuffix("."), path+"."+name)
					documented++
					walk(path+"."+name, &property)
				}
				if s.Items != nil {
					walk(path+"[]", s.Items.Schema)
				}
				if s.AdditionalProperties != nil {
					walk(path+".*", s.AdditionalProperties.Schema)
				}
			}
			spec, status := schema.Properties["spec"], schema.Properties["status"]
			walk("spec", &spec)
			walk("status", &status)
			Expect(documented).To(BeNumerically(">=", fields))
		},
		Entry("of a contact", "OpenCXContact", 60),
		Entry("of an organization", "OpenCXOrganization", 30),
	)
})
