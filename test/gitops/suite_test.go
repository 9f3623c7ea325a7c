//go:build platforms

// Package gitops shows what GitOps tools see: it exports objects in every state, which
// Argo CD's own tests read, and lets Argo CD's engine sync against a real operator.
package gitops

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var (
	root         = filepath.Join("..", "..")
	binary       string
	controlPlane *operatortest.ControlPlane
	simulator    *operatortest.Simulator
)

func TestGitOps(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	RunSpecs(t, "GitOps")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	log.SetLogger(GinkgoLogr)
	var err error
	binary, err = gexec.Build("github.com/opencx-labs/opencx-operator")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(gexec.CleanupBuildArtifacts)
	controlPlane, err = operatortest.StartControlPlane(filepath.Join(root, "config", "crd", "bases"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	simulator = operatortest.StartSimulator(opencxtest.Options{AcceptAnyContact: true, Limit: -1})
	DeferCleanup(simulator.Close)
})

// startOperator starts the binary. It may make more requests than OpenCX allows, so that
// no state waits for another one.
func startOperator(ctx context.Context) *operatortest.Operator {
	GinkgoHelper()
	operator, err := operatortest.StartOperator(ctx, operatortest.OperatorOptions{
		Binary: binary, Kubeconfig: controlPlane.Kubeconfig, APIURL: simulator.URL,
		Args:    []string{"--opencx-rate-limit=2000/1m", "--metrics-bind-address=0", "--default-organization=shop/default"},
		LogFile: filepath.Join(GinkgoT().TempDir(), "operator.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)
	return operator
}

// kubectl runs kubectl in a namespace and returns what it prints.
func kubectl(ctx context.Context, namespace, stdin string, args ...string) string {
	GinkgoHelper()
	output, err := controlPlane.Kubectl(ctx, stdin, append([]string{"-n", namespace}, args...)...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

func inNamespace(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "shop", Name: name}
}
