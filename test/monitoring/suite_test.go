//go:build platforms

// Package monitoring tests what docs/monitoring.md says, and config/prometheus,
// config/grafana and config/kube-state-metrics: a real Prometheus scrapes two replicas of
// the operator's real binary, over TLS and with a token, during a load with faults.
package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

var (
	root         = filepath.Join("..", "..")
	page         *operatortest.Page // docs/monitoring.md
	controlPlane *operatortest.ControlPlane
	simulator    *operatortest.Simulator
	// replicas are the operator's, of which the first one leads.
	replicas []replica
	// token is that of Prometheus' ServiceAccount, bound as the page says.
	token  string
	server prometheus
)

// version is what the operator is built with.
const version = "v9.8.7"

func TestMonitoring(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(90 * time.Second)
	SetDefaultEventuallyPollingInterval(500 * time.Millisecond)
	RunSpecs(t, "Monitoring")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	log.SetLogger(GinkgoLogr)
	for _, program := range []string{"prometheus", "promtool"} {
		_, err := exec.LookPath(program)
		Expect(err).NotTo(HaveOccurred(), "%s is missing: Debian has it in its package prometheus", program)
	}
	var err error
	page, err = operatortest.ReadPage(root, "docs/monitoring.md", "./test/monitoring")
	Expect(err).NotTo(HaveOccurred())
	controlPlane, err = operatortest.StartControlPlane()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	installKindsOfPrometheus(ctx)
	runFromPage(ctx, "make deploy OVERLAY=config/overlays/prometheus IMG=registry.example.com/opencx-operator:v1")
	Expect(kubectl("-n", "opencx-system", "get", "deployments", "-o", "jsonpath={..image}")).To(Equal("registry.example.com/opencx-operator:v1"))
	kubectl("wait", "--for=condition=Established", "--timeout=30s",
		"crd/opencxcontacts.contacts.open.cx", "crd/opencxorganizations.contacts.open.cx")
	token = letPrometheusIn(ctx)

	binary, err := gexec.Build("github.com/opencx-labs/opencx-operator", "-ldflags", "-X main.version="+version)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(gexec.CleanupBuildArtifacts)
	startLoad(ctx)
	leader := startReplica(ctx, binary)
	Expect(leader.WaitForWorkers(ctx)).To(Succeed())
	replicas = []replica{leader, startReplica(ctx, binary)}
	server = startPrometheus(ctx)
	breakThings(ctx)
})

var _ = AfterSuite(func() {
	if config, _ := GinkgoConfiguration(); len(config.FocusStrings) == 0 {
		Expect(page.Unrun()).To(BeEmpty(), "commands of docs/monitoring.md that were not run")
	}
})

func read(path ...string) string {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

func kubectl(args ...string) string {
	GinkgoHelper()
	output, err := controlPlane.Kubectl(context.Background(), "", args...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

// installKindsOfPrometheus installs those of the Prometheus operator that we use.
func installKindsOfPrometheus(ctx context.Context) {
	GinkgoHelper()
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", "github.com/prometheus-operator/prometheus-operator")
	download.Dir = filepath.Join(root, "hack", "monitoring")
	output, err := download.Output()
	Expect(err).NotTo(HaveOccurred(), "%s", output)
	var module struct{ Dir string }
	Expect(json.Unmarshal(output, &module)).To(Succeed())
	for _, kind := range []string{"servicemonitors", "prometheusrules"} {
		kubectl("apply", "--server-side", "-f", filepath.Join(module.Dir, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+kind+".yaml"))
		kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/"+kind+".monitoring.coreos.com")
	}
}

// letPrometheusIn does what the page says, and returns a token of Prometheus.
func letPrometheusIn(ctx context.Context) string {
	GinkgoHelper()
	Expect(controlPlane.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "monitoring"}})).To(Succeed())
	Expect(controlPlane.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "monitoring", Name: "prometheus"}})).To(Succeed())
	runFromPage(ctx, "kubectl create clusterrolebinding opencx-metrics-reader \\\n  --clusterrole=opencx-metrics-reader --serviceaccount=monitoring:prometheus")
	return strings.TrimSpace(kubectl("create", "token", "prometheus", "--namespace=monitoring"))
}

// runFromPage runs a command that stands in the page, as its reader does.
func runFromPage(ctx context.Context, command string) string {
	GinkgoHelper()
	output, err := page.Run(ctx, controlPlane, command)
	Expect(err).NotTo(HaveOccurred())
	return output
}

// promtool runs it in a folder.
func promtool(ctx context.Context, folder, stdin string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "promtool", args...)
	command.Dir, command.Stdin = folder, strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("running promtool %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return string(output), err
}
