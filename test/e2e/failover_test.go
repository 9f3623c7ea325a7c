package e2e

import (
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// startReplica starts one that waits for its turn to lead.
func startReplica(url string) *operatortest.Operator {
	GinkgoHelper()
	replica, err := operatortest.LaunchOperator(operatortest.OperatorOptions{
		Binary: binary, Kubeconfig: controlPlane.Kubeconfig, APIURL: url, Args: []string{"--leader-elect"},
		LogFile: filepath.Join(GinkgoT().TempDir(), "replica.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(replica.Kill)
	return replica
}

// startTwoReplicas returns one that leads, with a contact in sync, and another one.
func startTwoReplicas(ctx SpecContext) (simulator *operatortest.Simulator, leader, standby *operatortest.Operator) {
	GinkgoHelper()
	simulator = startSimulator(ctx)
	leader = startReplica(simulator.URL)
	Expect(leader.WaitForWorkers(ctx)).To(Succeed())
	DeferCleanup(func() { kubectl("delete", "lease", "--all") })
	declare(ctx, "jane")
	Eventually(isReady(ctx, "jane")).Should(BeTrue())
	standby = startReplica(simulator.URL)
	Eventually(standby.Log).Should(ContainSubstring("Attempting to acquire leader lease"))
	Consistently(standby.Log, 5*time.Second).ShouldNot(ContainSubstring("Starting workers"))
	return simulator, leader, standby
}

// renamed edits a contact, and returns how long after since OpenCX has taken it.
func renamed(simulator *operatortest.Simulator, since time.Time) time.Duration {
	GinkgoHelper()
	kubectl("patch", "oxc", "jane", "--type=merge", "-p", `{"spec":{"name":"Jane Roe"}}`)
	var taken opencxtest.Request
	Eventually(func() []opencxtest.Request {
		journal := simulator.Journal()
		taken = journal[len(journal)-1]
		return journal
	}).WithTimeout(time.Minute).Should(HaveLen(2))
	Expect(string(taken.Body)).To(Equal(`{"contact":{"name":"Jane Roe"}}`))
	Expect(taken.Status).To(Equal(200))
	return time.Since(since)
}

var _ = Describe("A second replica", func() {
	It("takes over from a leader that stops, with one request for the edit of that moment", func(ctx SpecContext) {
		simulator, leader, _ := startTwoReplicas(ctx)
		stopped := make(chan error, 1)
		since := time.Now()
		go func() { stopped <- leader.Stop() }()
		took := renamed(simulator, since)
		AddReportEntry("after a graceful stop", took)
		Expect(took).To(BeNumerically("<", 20*time.Second), "the lease was not let go of: it lasts 25 s")
		Eventually(stopped).Should(Receive(BeNil()))
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		Consistently(simulator.Journal, time.Second).Should(HaveLen(2))
	})

	It("takes over from a leader that is killed, with one request for the edit of that moment", func(ctx SpecContext) {
		simulator, leader, _ := startTwoReplicas(ctx)
		since := time.Now()
		leader.Kill()
		AddReportEntry("after a kill", renamed(simulator, since))
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		Consistently(simulator.Journal, time.Second).Should(HaveLen(2))
	})

	It("waits without a write, while the leader writes its lease every two seconds", func(ctx SpecContext) {
		startTwoReplicas(ctx)
		lease := func() *coordinationv1.Lease {
			found := &coordinationv1.Lease{}
			Expect(k8s.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "opencx-operator.open.cx"}, found)).To(Succeed())
			return found
		}
		versions := map[string]bool{}
		holders := map[string]bool{}
		for range 50 {
			now := lease()
			versions[now.ResourceVersion], holders[*now.Spec.HolderIdentity] = true, true
			time.Sleep(200 * time.Millisecond)
		}
		Expect(len(versions)).To(BeNumerically("<=", 7), "in ten seconds")
		Expect(holders).To(HaveLen(1))
		Expect(strings.Contains(kubectl("get", "oxc", "jane"), "Synced")).To(BeTrue())
	})
})
