//go:build platforms

// Package flux lets Flux's real kustomize-controller apply organizations and contacts,
// and watch their health, beside a real operator.
package flux

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// notificationController is the module of Flux's notification-controller, for its CRDs.
const notificationController = "github.com/fluxcd/notification-controller@v1.9.3"

var (
	root         = filepath.Join("..", "..")
	controlPlane *operatortest.ControlPlane
	simulator    *operatortest.Simulator
	source       *artifacts
	events       *receiver
)

func TestFlux(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(time.Minute)
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	SetDefaultConsistentlyDuration(3 * time.Second)
	RunSpecs(t, "Flux")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	log.SetLogger(GinkgoLogr)
	binary, err := gexec.Build("github.com/opencx-labs/opencx-operator")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(gexec.CleanupBuildArtifacts)
	// Flux takes CRDs from Git, too; here they are there before.
	controlPlane, err = operatortest.StartControlPlane(filepath.Join(root, "config", "crd", "bases"),
		filepath.Join(folderOf(ctx, "github.com/fluxcd/kustomize-controller@"+versionOf(ctx, "github.com/fluxcd/kustomize-controller")), "config", "crd", "bases"),
		filepath.Join(folderOf(ctx, "github.com/fluxcd/source-controller@"+versionOf(ctx, "github.com/fluxcd/source-controller/api")), "config", "crd", "bases"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	simulator = operatortest.StartSimulator(opencxtest.Options{AcceptAnyContact: true, Limit: -1})
	DeferCleanup(simulator.Close)
	operator, err := operatortest.StartOperator(ctx, operatortest.OperatorOptions{
		Binary: binary, Kubeconfig: controlPlane.Kubeconfig, APIURL: simulator.URL,
		// So that the specs' new API keys do not wait for each other.
		Args:    []string{"--opencx-rate-limit=2000/1m", "--metrics-bind-address=0"},
		LogFile: filepath.Join(GinkgoT().TempDir(), "operator.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)

	source, events = serveArtifacts(), receiveEvents()
	DeferCleanup(source.server.Close)
	DeferCleanup(events.server.Close)
	startKustomizeController(ctx)
})

// startKustomizeController builds Flux's controller, as hack/flux pins it, and runs it.
func startKustomizeController(ctx context.Context) {
	GinkgoHelper()
	program := strings.TrimSpace(run(ctx, "go", "tool", "-modfile="+modfile(), "-n", "github.com/fluxcd/kustomize-controller"))
	run(ctx, program, "--help") // which also builds it
	health, err := operatortest.FreeAddress(ctx)
	Expect(err).NotTo(HaveOccurred())
	output, err := os.Create(filepath.Join(GinkgoT().TempDir(), "kustomize-controller.log"))
	Expect(err).NotTo(HaveOccurred())
	command := exec.CommandContext(context.Background(), program, "--metrics-addr=0", "--health-addr="+health,
		"--events-addr="+events.server.URL, "--requeue-dependency=1s", "--watch-all-namespaces=true")
	command.Env = append(os.Environ(), "KUBECONFIG="+controlPlane.Kubeconfig, "RUNTIME_NAMESPACE=default")
	command.Stdout, command.Stderr = output, output
	Expect(command.Start()).To(Succeed())
	DeferCleanup(func() {
		_ = command.Process.Kill() // it holds nothing that outlives the control plane
		_ = command.Wait()
		_ = output.Close()
		if CurrentSpecReport().Failed() {
			text, _ := os.ReadFile(output.Name())
			_, _ = GinkgoWriter.Write(text)
		}
	})
}

func modfile() string {
	GinkgoHelper()
	path, err := filepath.Abs(filepath.Join(root, "hack", "flux", "go.mod"))
	Expect(err).NotTo(HaveOccurred())
	return path
}

// versionOf is that of a module among those that hack/flux pins.
func versionOf(ctx context.Context, module string) string {
	GinkgoHelper()
	return strings.TrimSpace(run(ctx, "go", "list", "-modfile="+modfile(), "-m", "-f", "{{.Version}}", module))
}

// folderOf is where Go keeps a module, which it gets when it does not.
func folderOf(ctx context.Context, module string) string {
	GinkgoHelper()
	var downloaded struct{ Dir string }
	Expect(json.Unmarshal([]byte(run(ctx, "go", "mod", "download", "-json", module)), &downloaded)).To(Succeed())
	return downloaded.Dir
}

func run(ctx context.Context, program string, args ...string) string {
	GinkgoHelper()
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = root
	var stderr strings.Builder
	command.Stderr = &stderr
	output, err := command.Output()
	Expect(err).NotTo(HaveOccurred(), "%s: %s", command, &stderr)
	return string(output)
}
