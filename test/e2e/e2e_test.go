// Package e2e tests the operator's real binary against a real kube-apiserver
// and, over real HTTP, the simulator.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

const apiKey = "ocx_live_e2e"

var (
	root       = filepath.Join("..", "..")
	binary     string
	kubeconfig string
	k8s        client.Client
)

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(30 * time.Second)
	RunSpecs(t, "E2E")
}

var _ = BeforeSuite(func() {
	var err error
	binary, err = gexec.Build("github.com/opencx-labs/opencx-operator")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(gexec.CleanupBuildArtifacts)
	controlPlane := &envtest.Environment{}
	config, err := controlPlane.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	kubeconfig = filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(kubeconfig, controlPlane.KubeConfig, 0o600)).To(Succeed())

	scheme := runtime.NewScheme()
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	k8s, err = client.New(config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	// What a user applies, instead of what envtest would install.
	kubectl("apply", "--server-side", "-k", filepath.Join(root, "config", "default"))
	kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/opencxcontacts.contacts.open.cx")
})

// kubectl runs the control plane's kubectl and returns what it prints.
func kubectl(args ...string) string {
	GinkgoHelper()
	command := exec.CommandContext(context.Background(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), append([]string{"--kubeconfig", kubeconfig}, args...)...)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	return string(output)
}

// startOperator starts the binary against a simulator.
func startOperator(url string) *gexec.Session {
	GinkgoHelper()
	command := exec.CommandContext(context.Background(), binary, "--kubeconfig="+kubeconfig, "--opencx-api-url="+url, "--health-probe-bind-address=0")
	command.Env = append(os.Environ(), "OPENCX_API_KEY="+apiKey)
	session, err := gexec.Start(command, nil, nil)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { session.Kill().Wait(10 * time.Second) })
	Eventually(session.Err, 30*time.Second).Should(gbytes.Say("Starting workers"))
	return session
}

// startSimulator starts an OpenCX and removes all contacts afterwards.
func startSimulator() (*opencxtest.Server, string) {
	GinkgoHelper()
	simulator := opencxtest.New(opencxtest.Options{Keys: []string{apiKey}, AcceptAnyContact: true})
	server := simulator.StartHTTP()
	DeferCleanup(func(ctx SpecContext) {
		Expect(k8s.DeleteAllOf(ctx, &v1alpha1.OpenCXContact{}, client.InNamespace(metav1.NamespaceDefault))).To(Succeed())
		server.Close()
	})
	return simulator, server.URL
}

func declare(ctx SpecContext, name string) {
	GinkgoHelper()
	Expect(k8s.Create(ctx, &v1alpha1.OpenCXContact{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name},
		Spec:       v1alpha1.OpenCXContactSpec{ContactID: name},
	})).To(Succeed())
}

func isReady(ctx SpecContext, name string) func() bool {
	return func() bool {
		contact := &v1alpha1.OpenCXContact{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: name}, contact)).To(Succeed())
		return meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition)
	}
}

var _ = Describe("The operator", func() {
	It("finishes a PATCH and its status when it is stopped in the middle", func(ctx SpecContext) {
		simulator, url := startSimulator()
		operator := startOperator(url)
		release := simulator.Hold()
		declare(ctx, "jane")
		Eventually(simulator.Journal).Should(HaveLen(1))
		operator.Terminate()
		Consistently(operator, 500*time.Millisecond).ShouldNot(gexec.Exit())
		Expect(isReady(ctx, "jane")()).To(BeFalse())
		release()
		Eventually(operator).Should(gexec.Exit(0))
		Expect(isReady(ctx, "jane")()).To(BeTrue())
		Expect(simulator.Journal()).To(HaveLen(1))
	})

	It("sends nothing after a kill and a restart", func(ctx SpecContext) {
		simulator, url := startSimulator()
		operator := startOperator(url)
		declare(ctx, "jane")
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		operator.Signal(syscall.SIGKILL)
		Eventually(operator).Should(gexec.Exit())
		startOperator(url)
		declare(ctx, "john")
		Eventually(isReady(ctx, "john")).Should(BeTrue())
		Expect(simulator.Journal()).To(HaveLen(2))
	})

	It("logs one JSON line for a change of state and none for anything else", func(ctx SpecContext) {
		_, url := startSimulator()
		operator := startOperator(url)
		before := bytes.Count(operator.Err.Contents(), []byte("\n"))
		declare(ctx, "jane")
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		for i := range 5 {
			kubectl("label", "--overwrite", "oxc", "jane", "edit="+strings.Repeat("x", i+1))
			kubectl("patch", "oxc", "jane", "--type=merge", "-p", `{"spec":{"suspend":`+[]string{"true", "false"}[i%2]+`}}`)
		}
		Eventually(func() string {
			return kubectl("get", "oxc", "jane", "-o", "jsonpath={.metadata.generation}={.status.observedGeneration}")
		}).Should(Equal("6=6"))
		lines := strings.Split(strings.TrimSpace(string(operator.Err.Contents())), "\n")
		for _, line := range lines {
			Expect(json.Valid([]byte(line))).To(BeTrue(), line)
		}
		Expect(lines[before:]).To(ConsistOf(And(
			ContainSubstring(`"msg":"Contact changed state"`), ContainSubstring(`"reason":"Synced"`), ContainSubstring(`"contactID":"jane"`))))
	})
})

var _ = Describe("kubectl", func() {
	It("shows contacts without personal data", func(ctx SpecContext) {
		_, url := startSimulator()
		startOperator(url)
		declare(ctx, "jane")
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		table := strings.Split(kubectl("get", "oxc"), "\n")
		Expect(strings.Fields(table[0])).To(Equal([]string{"NAME", "CONTACT", "ID", "READY", "REASON", "LAST", "SYNC", "AGE"}))
		Expect(strings.Fields(table[1])[:4]).To(Equal([]string{"jane", "jane", "True", "Synced"}))
		Expect(kubectl("get", "opencx", "-o", "wide")).To(ContainSubstring("OpenCX has accepted the contact"))
	})

	It("explains a field", func() {
		Expect(kubectl("explain", "oxc.spec.httpActionOverrides.headers")).To(ContainSubstring("headers holds up to 64 HTTP headers."))
	})
})
