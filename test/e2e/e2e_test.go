// Package e2e tests the operator's real binary against a real kube-apiserver
// and, over real HTTP, the simulator.
package e2e

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const apiKey = "ocx_live_e2e"

var (
	root         = filepath.Join("..", "..")
	binary       string
	controlPlane *operatortest.ControlPlane
	k8s          client.Client

	// defaultOrganization is what an operator outside a cluster looks for.
	defaultOrganization = types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: "default"}
)

func TestE2E(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(90 * time.Second)               // after kills, what was reserved counts as used for a window
	SetDefaultEventuallyPollingInterval(100 * time.Millisecond) // a journal may be long
	RunSpecs(t, "E2E")
}

var _ = BeforeSuite(func() {
	var err error
	binary, err = gexec.Build("github.com/opencx-labs/opencx-operator")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(gexec.CleanupBuildArtifacts)
	controlPlane, err = operatortest.StartControlPlane()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	k8s = controlPlane.Client
	// What a user applies, instead of what envtest would install.
	kubectl("apply", "--server-side", "-k", filepath.Join(root, "config", "default"))
	kubectl("wait", "--for=condition=Established", "--timeout=30s",
		"crd/opencxcontacts.contacts.open.cx", "crd/opencxorganizations.contacts.open.cx")
})

// kubectl runs the control plane's kubectl and returns what it prints.
func kubectl(args ...string) string {
	GinkgoHelper()
	output, err := controlPlane.Kubectl(context.Background(), "", args...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

// startOperator starts the binary against a simulator.
func startOperator(ctx SpecContext, url string, args ...string) *operatortest.Operator {
	GinkgoHelper()
	operator, err := operatortest.StartOperator(ctx, operatortest.OperatorOptions{
		Binary: binary, Kubeconfig: controlPlane.Kubeconfig, APIURL: url, Args: args,
		LogFile: filepath.Join(GinkgoT().TempDir(), "operator.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(operator.Kill)
	return operator
}

// startSimulator starts an OpenCX with an organization that everybody may use,
// and removes that and all contacts afterwards.
func startSimulator(ctx SpecContext) *operatortest.Simulator {
	GinkgoHelper()
	simulator := operatortest.StartSimulator(opencxtest.Options{Keys: []string{apiKey}, AcceptAnyContact: true})
	DeferCleanup(simulator.Close)
	Expect(controlPlane.CreateOrganization(ctx, defaultOrganization, apiKey)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) {
		Expect(k8s.DeleteAllOf(ctx, &v1alpha1.OpenCXContact{}, client.InNamespace(metav1.NamespaceDefault))).To(Succeed())
		Expect(controlPlane.DeleteOrganization(ctx, defaultOrganization)).To(Succeed())
	})
	return simulator
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
		simulator := startSimulator(ctx)
		operator := startOperator(ctx, simulator.URL)
		release := simulator.Hold()
		declare(ctx, "jane")
		Eventually(simulator.Journal).Should(HaveLen(1))
		stopped := make(chan error, 1)
		go func() { stopped <- operator.Stop() }()
		Consistently(stopped, 500*time.Millisecond).ShouldNot(Receive())
		Expect(isReady(ctx, "jane")()).To(BeFalse())
		release()
		Eventually(stopped).Should(Receive(BeNil()))
		Expect(isReady(ctx, "jane")()).To(BeTrue())
		Expect(simulator.Journal()).To(HaveLen(1))
	})

	It("sends nothing after a kill and a restart", func(ctx SpecContext) {
		simulator := startSimulator(ctx)
		operator := startOperator(ctx, simulator.URL)
		declare(ctx, "jane")
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		operator.Kill()
		startOperator(ctx, simulator.URL)
		declare(ctx, "john")
		Eventually(isReady(ctx, "john")).Should(BeTrue())
		Expect(simulator.Journal()).To(HaveLen(2))
	})

	It("logs one JSON line for a change of state and none for anything else", func(ctx SpecContext) {
		operator := startOperator(ctx, startSimulator(ctx).URL)
		declare(ctx, "first") // after which all has been said about the start
		Eventually(operator.Log).Should(ContainSubstring(`"contactID":"first"`))
		Eventually(isReady(ctx, "first")).WithTimeout(2 * time.Minute).Should(BeTrue()) // a busy machine is slow
		kubectl("wait", "--for=condition=Ready", "--timeout=30s", "oxo/default")
		before := len(logLines(operator))
		declare(ctx, "jane")
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		for i := range 5 {
			kubectl("label", "--overwrite", "oxc", "jane", "edit="+strings.Repeat("x", i+1))
			kubectl("patch", "oxc", "jane", "--type=merge", "-p", `{"spec":{"suspend":`+[]string{"true", "false"}[i%2]+`}}`)
		}
		Eventually(func() string {
			return kubectl("get", "oxc", "jane", "-o", "jsonpath={.metadata.generation}={.status.observedGeneration}")
		}).Should(Equal("6=6"))
		lines := logLines(operator)
		for _, line := range lines {
			Expect(json.Valid([]byte(line))).To(BeTrue(), line)
		}
		Expect(lines[before:]).To(ConsistOf(And(
			ContainSubstring(`"msg":"Contact changed state"`), ContainSubstring(`"reason":"Synced"`), ContainSubstring(`"contactID":"jane"`))))
	})
})

func logLines(operator *operatortest.Operator) []string {
	return strings.Split(strings.TrimSpace(operator.Log()), "\n")
}

var _ = Describe("kubectl", func() {
	It("shows contacts without personal data", func(ctx SpecContext) {
		startOperator(ctx, startSimulator(ctx).URL)
		declare(ctx, "jane")
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		table := strings.Split(kubectl("get", "oxc"), "\n")
		Expect(strings.Fields(table[0])).To(Equal([]string{"NAME", "CONTACT", "ID", "READY", "REASON", "LAST", "SYNC", "AGE"}))
		Expect(strings.Fields(table[1])[:4]).To(Equal([]string{"jane", "jane", "True", "Synced"}))
		Expect(kubectl("get", "oxc", "-o", "wide")).To(ContainSubstring("OpenCX has accepted the contact"))
	})

	It("shows contacts and their organization together", func(ctx SpecContext) {
		startOperator(ctx, startSimulator(ctx).URL)
		declare(ctx, "jane")
		Eventually(func() string { return kubectl("get", "opencx") }).Should(And(
			MatchRegexp(`opencxcontact\S*/jane +jane +True +Synced`), MatchRegexp(`opencxorganization\S*/default +True +Usable`)))
	})

	It("explains a field", func() {
		Expect(kubectl("explain", "oxc.spec.httpActionOverrides.headers")).To(ContainSubstring("headers holds up to 64 HTTP headers."))
	})
})
