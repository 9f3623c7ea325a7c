//go:build platforms

// Package install runs the commands of docs/install.md: it installs the operator in each
// way on a real kube-apiserver, has the real binary work as the Deployment says, upgrades
// and uninstalls it.
package install

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var (
	root         = filepath.Join("..", "..")
	binary, old  string // the operator as it is, and with the name of an older version
	controlPlane *operatortest.ControlPlane
	k8s          client.Client
	docs         *page
	programs     string // a folder with kubectl and helm
)

func TestInstall(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute)
	RunSpecs(t, "Install")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	binary, err = gexec.Build("github.com/opencx-labs/opencx-operator")
	Expect(err).NotTo(HaveOccurred())
	old, err = gexec.Build("github.com/opencx-labs/opencx-operator", "-ldflags", "-X main.version=v0.0.1")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(gexec.CleanupBuildArtifacts)
	helm, err := operatortest.BuildHelm(ctx, root)
	Expect(err).NotTo(HaveOccurred())
	controlPlane, err = operatortest.StartControlPlane()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	k8s = controlPlane.Client
	docs = readPage()
	programs = GinkgoT().TempDir()
	Expect(os.Symlink(helm, filepath.Join(programs, "helm"))).To(Succeed())
	Expect(os.Symlink(controlPlane.KubectlPath, filepath.Join(programs, "kubectl"))).To(Succeed())
	stop := deleteNamespaces()
	DeferCleanup(stop)
})

var _ = AfterSuite(func() {
	if config, _ := GinkgoConfiguration(); len(config.FocusStrings) == 0 {
		Expect(docs.unrun).To(BeEmpty(), "commands of docs/install.md that were not run")
	}
})

// project is a copy of what a user has of this repository.
func project() (folder string) {
	GinkgoHelper()
	folder = GinkgoT().TempDir()
	for _, name := range []string{"config", "charts"} {
		Expect(os.CopyFS(filepath.Join(folder, name), os.DirFS(filepath.Join(root, name)))).To(Succeed())
	}
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(folder, "Makefile"), makefile, 0o600)).To(Succeed())
	return folder
}

// run runs commands in a folder as an administrator of the cluster.
func run(folder, commands string) string {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	command.Dir = folder
	command.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "KUBECONFIG="+controlPlane.Kubeconfig, "HOME="+programs)
	printed, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", commands, printed)
	return string(printed)
}

// deleteNamespaces does what the controller manager does, which is not there: it empties
// the namespaces that are being deleted, and lets them go.
func deleteNamespaces() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			time.Sleep(200 * time.Millisecond)
			var all corev1.NamespaceList
			if k8s.List(ctx, &all) != nil {
				continue
			}
			for i := range all.Items {
				if namespace := &all.Items[i]; namespace.Status.Phase == corev1.NamespaceTerminating {
					empty(ctx, namespace)
				}
			}
		}
	}()
	return func() { cancel(); <-done }
}

// empty is tried again when it fails.
func empty(ctx context.Context, namespace *corev1.Namespace) {
	const all = `kubectl api-resources --namespaced --verbs=delete -o name | paste -sd,`
	command := exec.CommandContext(ctx, "bash", "-c", `kubectl -n "$0" delete --all --wait=false "$(`+all+`)"`, namespace.Name)
	command.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"), "KUBECONFIG="+controlPlane.Kubeconfig)
	if command.Run() == nil {
		namespace.Spec.Finalizers = nil
		_ = k8s.SubResource("finalize").Update(ctx, namespace)
	}
}

// objects lists all objects of the cluster, but for events, which nothing deletes.
func objects() string {
	GinkgoHelper()
	return run(programs, `kinds=$(kubectl api-resources --verbs=list -o name | grep -vE '^(events|events.events.k8s.io|componentstatuses)$' | paste -sd,)
kubectl get "$kinds" --all-namespaces -o go-template='{{range .items}}{{.apiVersion}} {{.kind}} {{.metadata.namespace}}/{{.metadata.name}}{{"\n"}}{{end}}' | sort`)
}
