//go:build platforms

// Package chart tests charts/opencx-operator with the real Helm: that it is what
// kustomize makes of config, and that each value does something.
package chart

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var (
	root      = filepath.Join("..", "..")
	chart     = filepath.Join(root, "charts", "opencx-operator")
	helmPath  string
	kubectl   = filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	nameSpace = []string{"opencx", "--namespace", "opencx-system"}
)

func TestChart(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Chart")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	helmPath, err = operatortest.BuildHelm(ctx, root)
	Expect(err).NotTo(HaveOccurred())
})

// run runs a program, which knows no cluster, and returns what it prints.
func run(program string, args ...string) (string, error) {
	home := GinkgoT().TempDir()
	command := exec.CommandContext(context.Background(), program, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(home, "none"), "HOME="+home)
	printed, err := command.CombinedOutput()
	return string(printed), err
}

// template renders a chart as the docs have it installed.
func template(chart string, args ...string) (string, error) {
	return run(helmPath, append([]string{"template", nameSpace[0], chart, nameSpace[1], nameSpace[2]}, args...)...)
}

// rendered is template that must succeed.
func rendered(args ...string) string {
	GinkgoHelper()
	text, err := template(chart, args...)
	Expect(err).NotTo(HaveOccurred(), text)
	return text
}

var _ = Describe("The chart", func() {
	It("has nothing that helm lint finds fault with", func() {
		for _, args := range [][]string{
			nil,
			{"--set", "watchNamespaces={shop}"},
			{"--set", "networkPolicy.enabled=true,crds.keep=false,replicas=1"},
		} {
			text, err := run(helmPath, append([]string{"lint", "--strict", chart}, args...)...)
			Expect(err).NotTo(HaveOccurred(), text)
			Expect(text).NotTo(Or(ContainSubstring("[WARNING]"), ContainSubstring("[ERROR]")))
		}
	})

	It("documents each value in its README", func() {
		values, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
		Expect(err).NotTo(HaveOccurred())
		readme, err := os.ReadFile(filepath.Join(chart, "README.md"))
		Expect(err).NotTo(HaveOccurred())
		table := tableOf(documented(string(values)))
		Expect(strings.Contains(string(readme), "\n"+table)).To(BeTrue(), "README.md needs this table:\n"+table)
	})

	It("says what to do next", func() {
		// helm template prints no notes.
		text, err := run(helmPath, "install", "--dry-run=client", "opencx", chart, "--namespace", "opencx-system", "--set", "watchNamespaces={shop,crm},defaultOrganization=crm/main")
		Expect(err).NotTo(HaveOccurred(), text)
		_, notes, _ := strings.Cut(text, "\nNOTES:\n")
		Expect(notes).To(And(
			ContainSubstring("kubectl -n crm create secret generic opencx-api-key --from-literal=apiKey="),
			ContainSubstring("     name: main\n     namespace: crm\n"),
			ContainSubstring("in the namespaces shop, crm"),
			ContainSubstring("kubectl get oxo,oxc --all-namespaces"),
			ContainSubstring("docs/gitops.md"),
			ContainSubstring("helm uninstall leaves the CRDs"),
		))
	})
})
