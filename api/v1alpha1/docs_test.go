package v1alpha1_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("docs/validation.md", func() {
	It("says what the API server says, row for row", func(ctx SpecContext) {
		page, err := os.ReadFile(filepath.Join("..", "..", "docs", "validation.md"))
		Expect(err).NotTo(HaveOccurred())
		rows := 0
		for line := range strings.Lines(string(page)) {
			cells := strings.Split(strings.TrimSpace(line), "|")
			if len(cells) != 4 || !strings.HasPrefix(cells[1], " `{") {
				continue
			}
			rows++
			declared, message := strings.Trim(cells[1], " `"), strings.Trim(cells[2], " `")
			spec := map[string]any{"contactID": "c"}
			var fields map[string]any
			Expect(json.Unmarshal([]byte(declared), &fields)).To(Succeed(), declared)
			maps.Copy(spec, fields)
			_, err := create(ctx, quote(spec), client.DryRunAll)
			Expect(err).To(MatchError(ContainSubstring(message)), declared)
		}
		Expect(rows).To(BeNumerically(">=", 20))
	})
})

var _ = Describe("kubectl explain", func() {
	It("says what every field is, beginning with its name", func() {
		schema, err := crdSchema()
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
		}
		spec, status := schema.Properties["spec"], schema.Properties["status"]
		walk("spec", &spec)
		walk("status", &status)
		Expect(documented).To(BeNumerically(">", 20))
	})
})
