package v1alpha1_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var (
	byNoMarker = regexp.MustCompile(`(?m)^ +(maxLength: 16384|nullable: true)\n`)
	aTime      = regexp.MustCompile(`(?m)pattern: \^\(\[1-9\].*$`)
)

// generated is the CRD of contacts or organizations as controller-gen makes it, and as
// it is committed.
func generated(kinds string) (raw, committed string) {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(crds, "contacts.open.cx_"+kinds+".yaml"))
	Expect(err).NotTo(HaveOccurred())
	committed = string(data)
	return aTime.ReplaceAllString(byNoMarker.ReplaceAllString(committed, ""), "format: date-time"), committed
}

// postprocess runs hack/crd.awk on a CRD.
func postprocess(ctx SpecContext, crd string) (output, complaints string, err error) {
	var stderr strings.Builder
	command := exec.CommandContext(ctx, "awk", "-f", filepath.Join("..", "..", "hack", "crd.awk"))
	command.Stdin, command.Stderr = strings.NewReader(crd), &stderr
	printed, err := command.Output()
	return string(printed), stderr.String(), err
}

var _ = Describe("hack/crd.awk", func() {
	DescribeTable("makes the CRD that is committed",
		func(ctx SpecContext, kinds string) {
			raw, committed := generated(kinds)
			Expect(raw).NotTo(Equal(committed))
			output, complaints, err := postprocess(ctx, raw)
			Expect(err).NotTo(HaveOccurred(), complaints)
			Expect(output).To(Equal(committed))
		},
		Entry("of contacts", "opencxcontacts"),
		Entry("of organizations", "opencxorganizations"),
	)

	DescribeTable("fails when it does not find what it is to change",
		func(ctx SpecContext, kinds, old, changed, complaint string) {
			raw, _ := generated(kinds)
			Expect(raw).To(ContainSubstring(old))
			_, complaints, err := postprocess(ctx, strings.Replace(raw, old, changed, 1))
			Expect(err).To(MatchError("exit status 1"))
			Expect(complaints).To(ContainSubstring(complaint))
		},
		Entry("as when a map is renamed", "opencxcontacts", " headers:\n", " httpHeaders:\n", "0 maps headers instead of 1"),
		Entry("as when a map is new", "opencxcontacts", " headers:\n", " httpHeaders:\n", "the map httpHeaders is not known"),
		Entry("as when a map of sources holds something else", "opencxcontacts", "customDataFrom:\n                additionalProperties:\n", "customDataFrom:\n                items:\n", "0 maps customDataFrom instead of 1"),
		Entry("as when the values of a map are bounded otherwise", "opencxcontacts", "additionalProperties:\n                  type: string\n", "additionalProperties:\n                  maxLength: 5\n                  type: string\n", "values of customData are no plain strings"),
		Entry("as when a time is gone", "opencxcontacts", "format: date-time", "format: date", "5 times instead of 6"),
		Entry("as when the selector of an organization has no labels", "opencxorganizations", " matchLabels:\n", " labels:\n", "0 maps matchLabels instead of 1"),
		Entry("as when an organization has one time less", "opencxorganizations", "format: date-time", "format: date", "5 times instead of 6"),
		Entry("as in a CRD of another kind", "opencxorganizations", "    kind: OpenCXOrganization\n", "    kind: OpenCXInbox\n", "the kind 'OpenCXInbox' is not known"),
	)

	It("fails on nothing", func(ctx SpecContext) {
		_, complaints, err := postprocess(ctx, "")
		Expect(err).To(MatchError("exit status 1"))
		Expect(complaints).To(ContainSubstring("the kind '' is not known"))
	})

	It("makes make crds fail, also for a CRD that is not the last", func(ctx SpecContext) {
		folder := GinkgoT().TempDir()
		contacts, _ := generated("opencxcontacts")
		organizations, _ := generated("opencxorganizations")
		broken := filepath.Join(folder, "contacts.yaml")
		Expect(os.WriteFile(broken, []byte(strings.Replace(contacts, "format: date-time", "format: date", 1)), 0o600)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(folder, "organizations.yaml"), []byte(organizations), 0o600)).To(Succeed())
		crds := func() (string, error) {
			command := exec.CommandContext(ctx, "make", "-C", filepath.Join("..", ".."), "crds", "CONTROLLER_GEN=true", "CRDS="+folder)
			command.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
			output, err := command.CombinedOutput()
			return string(output), err
		}
		output, err := crds()
		Expect(err).To(HaveOccurred(), output)
		Expect(output).To(ContainSubstring("hack/crd.awk: " + broken + ": 5 times instead of 6"))

		Expect(os.WriteFile(broken, []byte(contacts), 0o600)).To(Succeed())
		output, err = crds()
		Expect(err).NotTo(HaveOccurred(), output)
		left, err := filepath.Glob(filepath.Join(folder, "*"))
		Expect(err).NotTo(HaveOccurred())
		Expect(left).To(HaveLen(2))
	})
})
