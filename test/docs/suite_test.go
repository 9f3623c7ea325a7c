// Package docs tests what the documentation says: its commands, its examples, its links
// and its tables, on a real kube-apiserver, with the real operator and a simulated OpenCX.
package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var (
	root         = filepath.Join("..", "..")
	controlPlane *operatortest.ControlPlane
	binary       string // of the operator
)

func TestDocs(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond)
	RunSpecs(t, "Documentation")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	log.SetLogger(GinkgoLogr)
	Expect(readPages()).To(Succeed())
	binary = filepath.Join(GinkgoT().TempDir(), "manager")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = root
	output, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	controlPlane, err = operatortest.StartControlPlane(filepath.Join(root, "config", "crd", "bases"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
})

// pageOf is the page at a path.
func pageOf(path string) *page {
	GinkgoHelper()
	for _, p := range pages {
		if p.path == path {
			return p
		}
	}
	Fail("there is no page " + path)
	return nil
}

// environment is that of a reader whose kubeconfig is given.
func environment(kubeconfig string) []string {
	return append(os.Environ(), "KUBECONFIG="+kubeconfig, "OPENCX_API_KEY="+apiKey,
		"PATH="+filepath.Dir(controlPlane.KubectlPath)+string(os.PathListSeparator)+os.Getenv("PATH"))
}
