//go:build faults

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	"github.com/rs/zerolog"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest/history"
)

const (
	// marker is in every value of a Secret, and nowhere else.
	marker    = "MARKED5550100"
	markedKey = "ocx_live_" + marker
	// inFlight is how many requests an operator has under way at most.
	inFlight = 10
	// unnoted is of how many requests an operator that is killed has not stored that OpenCX
	// accepted them: of each worker, of which there are two more, one.
	unnoted = inFlight + 2
	// patience is for what takes windows, restarts and leases, on a busy machine.
	patience = 5 * time.Minute
)

// shortLimit is OpenCX's limit in a tenth of the time.
var shortLimit = budget.Limit{Requests: 100, Window: 6 * time.Second}

// replicaBinaries are operators whose requests tell them apart: their User-Agent ends
// with the key.
var replicaBinaries = sync.OnceValues(func() (map[string]string, error) {
	binaries := map[string]string{}
	for _, name := range []string{"a", "b"} {
		path, err := gexec.Build("github.com/opencx-labs/opencx-operator", "-ldflags=-X main.version="+name)
		if err != nil {
			return nil, err
		}
		binaries[name] = path
	}
	return binaries, nil
})

// replica is a process of the operator.
type replica struct {
	*operatortest.Operator
	sender  string // its User-Agent
	metrics string // address
}

// world is what a scenario happens in: one organization and its contacts, replicas of the
// operator with the rights that config gives them, faults on both of their sides, and
// what happened so far.
type world struct {
	simulator *operatortest.Simulator
	network   *toxiproxy.Proxy // between operator and simulator
	api       *operatortest.APIProxy
	url       string // what operators take for OpenCX
	args, env []string
	launch    func(operatortest.OperatorOptions) (*operatortest.Operator, error)
	limit     budget.Limit
	folder    string

	replicas   []*replica // also those that have ended
	namespaces []string

	// mu is held by who writes what follows, because the watch and several who declare
	// contacts do. Who is the only one to declare them reads names and versions without it.
	mu       sync.Mutex
	names    []types.NamespacedName // that exist, in an order that a seed repeats
	contacts map[types.NamespacedName]*history.Contact
	manifest map[types.NamespacedName]int // versions
	secret   map[string]int               // versions, by namespace
	kept     map[types.NamespacedName]v1alpha1.OpenCXContactStatus
	excused  []history.Interval
	forced   int // requests that were asked for

	before         []opencxtest.Request // of which a long test has dropped the rest
	excusedRepeats int                  // by what has happened in a long test
}

var worlds int

// newWorld starts one without replicas. Its contacts are in as many namespaces as are
// asked for.
func newWorld(ctx SpecContext, namespaces int, options opencxtest.Options) *world {
	GinkgoHelper()
	w := &world{
		contacts: map[types.NamespacedName]*history.Contact{}, manifest: map[types.NamespacedName]int{},
		secret: map[string]int{}, kept: map[types.NamespacedName]v1alpha1.OpenCXContactStatus{},
		launch: operatortest.LaunchOperator, limit: shortLimit, folder: GinkgoT().TempDir(),
	}
	options.Keys, options.AcceptAnyContact, options.OneOrganization = []string{markedKey}, true, true
	if options.Limit == 0 {
		options.Limit, options.Window = w.limit.Requests, w.limit.Window
	}
	w.limit = budget.Limit{Requests: options.Limit, Window: options.Window}
	w.simulator = operatortest.StartSimulator(options)
	DeferCleanup(w.simulator.Close)
	w.network = toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "OpenCX", "127.0.0.1:0", strings.TrimPrefix(w.simulator.URL, "http://"))
	Expect(w.network.Start()).To(Succeed())
	DeferCleanup(w.network.Stop)
	w.url = "http://" + w.network.Listen
	var err error
	w.api, err = controlPlane.StartAPIProxy()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.api.Close)

	worlds++
	for i := range namespaces {
		namespace := fmt.Sprintf("world-%d-%d", worlds, i)
		Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).To(Succeed())
		w.namespaces = append(w.namespaces, namespace)
		w.editSecret(ctx, namespace)
	}
	w.createOrganization(ctx)
	w.watch(ctx)
	DeferCleanup(w.remove)
	return w
}

func (w *world) createOrganization(ctx context.Context) {
	GinkgoHelper()
	Expect(controlPlane.CreateOrganization(ctx, operatortest.DeployedOrganization, markedKey, func(o *v1alpha1.OpenCXOrganization) {
		o.Spec.APIKeySecretRef.Name = "opencx-api-key"
	})).To(Succeed())
}

// remove leaves nothing to the next world.
func (w *world) remove(ctx SpecContext) {
	for i, replica := range w.replicas {
		replica.Kill()
		if CurrentSpecReport().Failed() {
			lines := logLines(replica.Operator)
			AddReportEntry(fmt.Sprintf("the last that replica %d (%s) logged", i, replica.sender), strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	}
	for _, namespace := range w.namespaces {
		// Of thousands, the API server may not be done in time; the next try deletes the rest.
		persist(func() error { return k8s.DeleteAllOf(ctx, &v1alpha1.OpenCXContact{}, client.InNamespace(namespace)) })
	}
	Expect(controlPlane.DeleteOrganization(ctx, operatortest.DeployedOrganization)).To(Succeed())
	for _, object := range []client.Object{
		&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: "opencx-operator.open.cx"}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ownNamespace, Name: "opencx-operator-budget"}},
	} {
		Expect(client.IgnoreNotFound(k8s.Delete(ctx, object))).To(Succeed())
	}
}

// watch notes each status that is stored.
func (w *world) watch(ctx context.Context) {
	GinkgoHelper()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	DeferCleanup(stop)
	namespaces := map[string]cache.Config{}
	for _, namespace := range w.namespaces {
		namespaces[namespace] = cache.Config{}
	}
	ctrl.SetLogger(GinkgoLogr)
	informers, err := cache.New(controlPlane.Config, cache.Options{Scheme: controlPlane.Scheme, DefaultNamespaces: namespaces})
	Expect(err).NotTo(HaveOccurred())
	informer, err := informers.GetInformer(watching, &v1alpha1.OpenCXContact{}, cache.BlockUntilSynced(false))
	Expect(err).NotTo(HaveOccurred())
	see := func(object any) {
		contact := object.(*v1alpha1.OpenCXContact)
		w.mu.Lock()
		defer w.mu.Unlock()
		name := client.ObjectKeyFromObject(contact)
		w.kept[name] = contact.Status
		w.of(name).Sights = append(w.of(name).Sights, history.Sight{
			At: time.Now(), Ready: meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition),
		})
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, object any) { see(object) }})
	Expect(err).NotTo(HaveOccurred())
	go func() { _ = informers.Start(watching) }()
	Expect(informers.WaitForCacheSync(ctx)).To(BeTrue())
}

// of is what happened to a contact. Who calls it holds the lock.
func (w *world) of(name types.NamespacedName) *history.Contact {
	if w.contacts[name] == nil {
		w.contacts[name] = &history.Contact{}
	}
	return w.contacts[name]
}

// start starts a replica, which need not work yet.
func (w *world) start(ctx SpecContext, name string, args ...string) *replica {
	GinkgoHelper()
	binaries, err := replicaBinaries()
	Expect(err).NotTo(HaveOccurred())
	token := strings.TrimSpace(kubectl("-n", ownNamespace, "create", "token", "opencx-controller-manager", "--duration=48h"))
	folder := filepath.Join(w.folder, strconv.Itoa(len(w.replicas)))
	Expect(os.Mkdir(folder, 0o700)).To(Succeed())
	kubeconfig := filepath.Join(folder, "kubeconfig")
	Expect(clientcmd.WriteToFile(w.api.Kubeconfig(token), kubeconfig)).To(Succeed())
	address, err := operatortest.FreeAddress(ctx)
	Expect(err).NotTo(HaveOccurred())
	operator, err := w.launch(operatortest.OperatorOptions{
		Binary: binaries[name], Kubeconfig: kubeconfig, APIURL: w.url,
		Args: slices.Concat([]string{
			"--opencx-rate-limit=" + w.limit.String(), "--metrics-bind-address=" + address, "--metrics-secure=false",
		}, w.args, args),
		Env:     slices.Concat([]string{"POD_NAMESPACE=" + ownNamespace}, w.env),
		LogFile: filepath.Join(folder, "operator.log"),
	})
	Expect(err).NotTo(HaveOccurred())
	r := &replica{Operator: operator, sender: "opencx-operator/" + name, metrics: "http://" + address + "/metrics"}
	w.replicas = append(w.replicas, r)
	return r
}

// works says that a replica runs and has begun to work.
func (r *replica) works() bool {
	return r.State() == nil && strings.Contains(r.Log(), "Starting workers")
}

// leader waits for one of the replicas to work, and returns it and the others that run.
func (w *world) leader(ctx SpecContext) (leader *replica, others []*replica) {
	GinkgoHelper()
	Eventually(ctx, func() *replica {
		leader, others = nil, nil
		for _, r := range w.replicas {
			switch {
			case r.works():
				leader = r
			case r.State() == nil:
				others = append(others, r)
			}
		}
		return leader
	}).WithTimeout(2*time.Minute).ShouldNot(BeNil(), "no replica works")
	return leader, others
}

// excuse leaves out of account, until 10 s after it is ended, that nobody can write what
// is true. It is ended before the next check.
func (w *world) excuse() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := len(w.excused)
	w.excused = append(w.excused, history.Interval{time.Now()})
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.excused[i][1] = time.Now().Add(10 * time.Second)
	}
}

// signal sends one to a replica.
func (r *replica) signal(signal syscall.Signal) {
	GinkgoHelper()
	Expect(syscall.Kill(r.Pid(), signal)).To(Succeed())
}
