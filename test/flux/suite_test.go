//go:build platforms

// Package flux lets Flux's real kustomize-controller apply organizations and contacts,
// and watch their health, beside a real operator, whose events Flux's real
// notification-controller passes on.
package flux

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var (
	root         = filepath.Join("..", "..")
	controlPlane *operatortest.ControlPlane
	simulator    *operatortest.Simulator
	source       *artifacts
	events       *receiver // of kustomize-controller's
	notifier     *notificationController
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
		crdsOf(ctx, "kustomize-controller", ""), crdsOf(ctx, "source-controller", "/api"), crdsOf(ctx, "notification-controller", ""))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	simulator = operatortest.StartSimulator(opencxtest.Options{AcceptAnyContact: true, Limit: -1})
	DeferCleanup(simulator.Close)
	notifier = newNotificationController(ctx)
	operator, err := operatortest.StartOperator(ctx, operatortest.OperatorOptions{
		Binary: binary, Kubeconfig: controlPlane.Kubeconfig, APIURL: simulator.URL,
		// So that the specs' new API keys do not wait for each other.
		Args:    []string{"--opencx-rate-limit=2000/1m", "--metrics-bind-address=0", "--events-addr=http://" + notifier.address + "/"},
		LogFile: filepath.Join(GinkgoT().TempDir(), "operator.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)

	source, events = serveArtifacts(), receiveEvents()
	DeferCleanup(source.server.Close)
	DeferCleanup(events.server.Close)
	startKustomizeController(ctx)
	notifier.start(ctx)
})

// startKustomizeController builds Flux's controller, and runs it.
func startKustomizeController(ctx context.Context) {
	GinkgoHelper()
	program := build(ctx, "kustomize-controller")
	health, err := operatortest.FreeAddress(ctx)
	Expect(err).NotTo(HaveOccurred())
	startController(controlPlane.Kubeconfig, "default", program, "--metrics-addr=0", "--health-addr="+health,
		"--events-addr="+events.server.URL, "--requeue-dependency=1s", "--watch-all-namespaces=true")
}

// startController runs one of Flux's controllers. It returns where its log is, and what
// kills it, which happens in the end anyway.
func startController(kubeconfig, namespace, program string, args ...string) (logFile string, kill func()) {
	GinkgoHelper()
	output, err := os.CreateTemp(GinkgoT().TempDir(), "controller-*.log")
	Expect(err).NotTo(HaveOccurred())
	command := exec.CommandContext(context.Background(), program, args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "RUNTIME_NAMESPACE="+namespace)
	command.Stdout, command.Stderr = output, output
	Expect(command.Start()).To(Succeed())
	kill = sync.OnceFunc(func() {
		_ = command.Process.Kill() // it holds nothing that outlives the control plane
		_ = command.Wait()
		_ = output.Close()
	})
	DeferCleanup(func() {
		kill()
		if CurrentSpecReport().Failed() {
			text, _ := os.ReadFile(output.Name())
			_, _ = GinkgoWriter.Write(text)
		}
	})
	return output.Name(), kill
}

// build builds one of Flux's controllers, as hack/flux pins it.
func build(ctx context.Context, controller string) (program string) {
	GinkgoHelper()
	program = strings.TrimSpace(run(ctx, "go", "tool", "-modfile="+modfile(), "-n", "github.com/fluxcd/"+controller))
	run(ctx, program, "--help") // which also builds it
	return program
}

// crdsOf is the folder with the CRDs of one of Flux's controllers, in the version that
// hack/flux pins of a module of it.
func crdsOf(ctx context.Context, controller, module string) string {
	GinkgoHelper()
	name := "github.com/fluxcd/" + controller
	return filepath.Join(folderOf(ctx, name+"@"+versionOf(ctx, name+module)), "config", "crd", "bases")
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
