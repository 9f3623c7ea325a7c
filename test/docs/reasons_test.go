package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// shared are the reasons of an organization that are declared among a contact's.
var shared = []string{"APIKeyNotFound", "APIKeyInvalid", "Unauthorized", "RateLimited", "Suspended", "Waiting"}

// declaredReasons are the constants whose block of the source begins with the comment.
func declaredReasons(comment string) (reasons []string) {
	GinkgoHelper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "api", "v1alpha1", "condition_types.go"), nil, parser.ParseComments)
	Expect(err).NotTo(HaveOccurred())
	for _, declaration := range file.Decls {
		constants, is := declaration.(*ast.GenDecl)
		if !is || !strings.HasPrefix(constants.Doc.Text(), comment) {
			continue
		}
		for _, constant := range constants.Specs {
			reason, err := strconv.Unquote(constant.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			Expect(err).NotTo(HaveOccurred())
			reasons = append(reasons, reason)
		}
	}
	Expect(reasons).NotTo(BeEmpty(), comment)
	return reasons
}

// troubleshooting are the texts of a page by reason.
func troubleshooting(path string) map[string]string {
	GinkgoHelper()
	_, after, found := strings.Cut(pageOf(path).text, "\n## Troubleshooting by reason\n")
	Expect(found).To(BeTrue(), path)
	after, _, _ = strings.Cut(after, "\n## ")
	sections := map[string]string{}
	for _, section := range strings.Split(after, "\n### ")[1:] {
		heading, text, _ := strings.Cut(section, "\n")
		Expect(sections).NotTo(HaveKey(heading))
		sections[heading] = text
	}
	return sections
}

func keysOf[V any](m map[string]V) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}

var _ = Describe("Troubleshooting", func() {
	inOrder := regexp.MustCompile(`(?s)\*\*What happened\.\*\* \S.*\*\*What to do\.\*\* \S.*\*\*Next\.\*\* \S`)

	DescribeTable("has a heading for every reason and for nothing else", func(path string, reasons func() []string) {
		sections := troubleshooting(path)
		Expect(keysOf(sections)).To(ConsistOf(reasons()))
		for reason, text := range sections {
			Expect(inOrder.MatchString(text)).To(BeTrue(), "%s, %s: what happened, what to do, what comes next", path, reason)
		}
	},
		Entry("of a contact", "docs/opencxcontact.md", func() []string { return declaredReasons("Reasons of a contact's Ready condition") }),
		Entry("of an organization", "docs/opencxorganization.md", func() []string {
			return slices.Concat(declaredReasons("Reasons of an organization's Ready condition"),
				declaredReasons("Reasons of an organization's Overcommitted condition"),
				declaredReasons("Reasons of an organization's DriftChecked condition"), shared)
		}),
	)

	It("has in the table of Drifted its reasons", func() {
		_, table, found := strings.Cut(pageOf("docs/opencxcontact.md").text, "\n| Drifted | reason | meaning |\n")
		Expect(found).To(BeTrue())
		table, _, _ = strings.Cut(table, "\n\n")
		var reasons []string
		for _, row := range regexp.MustCompile("(?m)^\\| (?:True|False|Unknown) \\| `(\\w+)` \\|").FindAllStringSubmatch(table, -1) {
			reasons = append(reasons, row[1])
		}
		Expect(reasons).To(ConsistOf(declaredReasons("Reasons of a contact's Drifted condition")))
	})

	It("has in the table of organizations the reasons of Ready", func() {
		rows := regexp.MustCompile("(?m)^\\| (?:True|False|Unknown) \\| `(\\w+)` \\|").FindAllStringSubmatch(pageOf("docs/opencxorganization.md").text, -1)
		var reasons []string
		for _, row := range rows {
			reasons = append(reasons, row[1])
		}
		Expect(reasons).To(ConsistOf(append(declaredReasons("Reasons of an organization's Ready condition"), shared...)))
	})
})
