//go:build platforms

package gitops

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var _ = Describe("Argo CD's engine", func() {
	// test/argocd is a module of its own, because Argo CD needs older modules than the
	// operator. This gives its specs a cluster.
	It("syncs, compares and replaces what the operator looks after", func(ctx SpecContext) {
		startOperator(ctx)
		command := exec.CommandContext(ctx, "go", "test", "-tags=cluster", "-count=1", "-timeout=10m", ".")
		command.Dir = filepath.Join(root, "test", "argocd")
		command.Env = append(os.Environ(), "OPENCX_TEST_KUBECONFIG="+controlPlane.Kubeconfig, "OPENCX_TEST_SIMULATOR="+simulator.URL)
		output, err := command.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(output))
	})
})

var _ = Describe("docs/gitops.md", func() {
	It("adds to Argo CD's ConfigMap and changes nothing else in it", func(ctx SpecContext) {
		page, err := operatortest.ReadPage(root, "docs/gitops.md", "./test/gitops")
		Expect(err).NotTo(HaveOccurred())
		Expect(page.Unrun()).To(HaveExactElements(HavePrefix("kubectl ")), "the only command that is run here")
		command := strings.Fields(strings.ReplaceAll(page.Unrun()[0], "config/argocd", filepath.Join(root, "config", "argocd")))
		kubectl(ctx, "default", "", "create", "namespace", "argocd")
		kubectl(ctx, "argocd", "", "create", "configmap", "argocd-cm", "--from-literal=url=https://argocd.example.com")
		kubectl(ctx, "default", "", command[1:]...)
		after := &corev1.ConfigMap{}
		Expect(controlPlane.Client.Get(ctx, types.NamespacedName{Namespace: "argocd", Name: "argocd-cm"}, after)).To(Succeed())
		shipped := &corev1.ConfigMap{}
		text, err := os.ReadFile(filepath.Join(root, "config", "argocd", "argocd-cm.yaml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(yaml.UnmarshalStrict(text, shipped)).To(Succeed())
		shipped.Data["url"] = "https://argocd.example.com"
		Expect(after.Data).To(Equal(shipped.Data))
		Expect(after.Data).To(HaveLen(4))
	})
})
