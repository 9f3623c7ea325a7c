package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const apiKey = "docs-key"

// reader types the commands of a page into terminals.
type reader struct {
	kubeconfig string
	// instead are texts of the page and what stands for them: an address that is free
	// on this machine.
	instead *strings.Replacer
}

// newReader has a kubeconfig of its own, with a namespace.
func newReader(ctx context.Context, cluster *operatortest.ControlPlane, namespace string, instead ...string) reader {
	GinkgoHelper()
	text, err := os.ReadFile(cluster.Kubeconfig)
	Expect(err).NotTo(HaveOccurred())
	r := reader{kubeconfig: filepath.Join(GinkgoT().TempDir(), "kubeconfig"), instead: strings.NewReplacer(instead...)}
	Expect(os.WriteFile(r.kubeconfig, text, 0o600)).To(Succeed())
	r.shell(ctx, "kubectl config set-context --current --namespace="+namespace)
	return r
}

func (r reader) command(ctx context.Context, text string) *exec.Cmd {
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", r.instead.Replace(text))
	shell.Dir = root
	shell.Env = environment(r.kubeconfig)
	return shell
}

// shell runs commands and returns what they print.
func (r reader) shell(ctx context.Context, text string) string {
	GinkgoHelper()
	output, err := r.command(ctx, text).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", text, output)
	return string(output)
}

// read runs a block as its mark says.
func (r reader) read(ctx context.Context, b block) string {
	GinkgoHelper()
	By(b.String())
	switch b.mark {
	case background:
		r.launch(b)
		return ""
	case fails:
		output, err := r.command(ctx, b.text).CombinedOutput()
		Expect(err).To(HaveOccurred(), b.String())
		Expect(string(output)).To(ContainSubstring(b.about), b.String())
		return string(output)
	}
	return r.shell(ctx, b.text)
}

// launch starts a program that runs until Ctrl-C, which comes at the end of the test.
func (r reader) launch(b block) {
	GinkgoHelper()
	program := r.command(context.Background(), b.text)
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches all of it, and nothing else
	program.Stdout, program.Stderr = GinkgoWriter, GinkgoWriter
	Expect(program.Start()).To(Succeed())
	exited := make(chan error, 1)
	go func() { exited <- program.Wait() }()
	DeferCleanup(func() {
		Expect(syscall.Kill(-program.Process.Pid, syscall.SIGINT)).To(Succeed())
		Eventually(exited).Should(Receive())
	})
}
