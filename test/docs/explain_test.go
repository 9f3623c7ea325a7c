package docs

import (
	"context"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var (
	// explained is a field of what kubectl explain printed: name, type and description.
	explained = regexp.MustCompile(`(?m)^  (\w+)\t<([^\n]+?)>(?: -required-)?\n(?:  enum: [^\n]*\n)?((?:(?:    [^\n]*)?\n)+)`)
	// goisms are what only a reader of the source understands.
	goisms = regexp.MustCompile("`|\\*|\\bnil\\b|\\bstruct\\b|metav1|\\+optional|\\+kubebuilder|omitempty|TODO|https?://")
)

// explain asks kubectl about a field and all below it, and returns how many there are.
func explain(ctx context.Context, path string) (fields int) {
	GinkgoHelper()
	_, listed, found := strings.Cut(kubectl(ctx, "explain", path), "\nFIELDS:\n")
	Expect(found).To(BeTrue(), path)
	all := explained.FindAllStringSubmatch(listed+"\n", -1)
	Expect(all).NotTo(BeEmpty(), path)
	for _, field := range all {
		name, of, text := field[1], field[2], strings.Join(strings.Fields(field[3]), " ")
		Expect(text).To(HavePrefix(name+" "), path+"."+name)
		Expect(text).To(HaveSuffix("."), path+"."+name)
		Expect(goisms.FindString(text)).To(BeEmpty(), "%s.%s: %s", path, name, text)
		fields++
		if strings.HasSuffix(of, "Object") {
			fields += explain(ctx, path+"."+name)
		}
	}
	return fields
}

var _ = Describe("kubectl explain", func() {
	DescribeTable("says in full sentences what every field is", func(ctx SpecContext, kind string, fields int) {
		recursive := regexp.MustCompile(`(?m)^ +\w+\t<`)
		Eventually(func() error { // the API server tells of a CRD a moment after it has it
			_, err := controlPlane.Kubectl(ctx, "", "explain", kind+".spec")
			return err
		}).Should(Succeed())
		all := 0
		for _, part := range []string{kind + ".spec", kind + ".status"} {
			here := explain(ctx, part)
			Expect(recursive.FindAllString(kubectl(ctx, "explain", "--recursive", part), -1)).To(HaveLen(here), part)
			all += here
		}
		Expect(all).To(BeNumerically(">=", fields))
	},
		Entry("of a contact", "opencxcontact", 70),
		Entry("of an organization", "opencxorganization", 30),
	)
})

func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	output, err := controlPlane.Kubectl(ctx, "", args...)
	Expect(err).NotTo(HaveOccurred())
	return output
}
