package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

var (
	controlPlane *envtest.Environment
	kubeconfig   string
	restConfig   *rest.Config
	k8s          client.Client
	scheme       = runtime.NewScheme()

	// logs holds what every operator of the suite logged; secrets, what none
	// of them may show anywhere.
	logs    syncBuffer
	secrets []string
)

func TestController(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(20 * time.Millisecond)
	SetDefaultConsistentlyDuration(time.Second)
	RunSpecs(t, "Controller")
}

var _ = BeforeSuite(func() {
	ctrl.SetLogger(zap.New(zap.WriteTo(&logs)))
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	quickRetry.first = time.Second // the tests have no time for five

	controlPlane = &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	var err error
	restConfig, err = controlPlane.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	restConfig.QPS = -1
	kubeconfig = filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(kubeconfig, controlPlane.KubeConfig, 0o600)).To(Succeed())
	k8s, err = client.New(restConfig, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})

// After all specs, nothing secret that any of them used shows anywhere.
var _ = AfterSuite(func(ctx SpecContext) {
	var contacts v1alpha1.OpenCXContactList
	Expect(k8s.List(ctx, &contacts)).To(Succeed())
	var statuses []v1alpha1.OpenCXContactStatus
	for _, contact := range contacts.Items {
		statuses = append(statuses, contact.Status)
	}
	var events eventsv1.EventList
	Expect(k8s.List(ctx, &events)).To(Succeed())
	var exposed bytes.Buffer
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		_, err := expfmt.MetricFamilyToText(&exposed, family)
		Expect(err).NotTo(HaveOccurred())
	}

	for where, text := range map[string]string{
		"logs":    logs.String(),
		"status":  asJSON(statuses),
		"events":  asJSON(events.Items),
		"metrics": exposed.String(),
	} {
		Expect(text).To(ContainSubstring(map[string]string{
			"logs": "Contact changed state", "status": "appliedHash", "events": "has accepted the contact", "metrics": "opencx_api_requests_total",
		}[where]), "nothing to search in "+where)
		Expect(secrets).NotTo(BeEmpty())
		for _, secret := range secrets {
			Expect(strings.Contains(text, secret)).To(BeFalse(), "%s shows in %s", secret, where)
		}
	}
})

// world is a namespace with an OpenCX and an operator of its own.
type world struct {
	namespace string
	key       string
	simulator *opencxtest.Server
	url       string
	limit     budget.Limit
	stop      func()
	// reconciler is that of the operator that was started last.
	reconciler *ContactReconciler

	// What startOperator uses besides; set before it is called.
	leaderElection bool
	resyncPeriod   *time.Duration
	newClient      client.NewClientFunc
	budgetGroups   [][]types.NamespacedName
	moreNamespaces []string
	selector       labels.Selector
	maySend        func() error
	defaultSecret  *SecretKey
}

// newWorld starts a simulator with the given limit, and an operator that keeps
// the same one.
func newWorld(ctx context.Context, limit budget.Limit) *world {
	GinkgoHelper()
	w := &world{namespace: "test-" + rand.String(8), key: secret("ocx_live_"), limit: limit, maySend: func() error { return nil }}
	w.simulator = opencxtest.New(opencxtest.Options{
		Keys: []string{w.key}, AcceptAnyContact: true, Limit: limit.Requests, Window: limit.Window,
	})
	server := w.simulator.StartHTTP()
	DeferCleanup(server.Close)
	w.url = server.URL
	Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})).To(Succeed())
	w.startOperator()
	DeferCleanup(func() { w.stop() })
	return w
}

// secret makes a value that must never show.
func secret(prefix string) string {
	value := prefix + rand.String(20)
	secrets = append(secrets, value)
	return value
}

// startOperator sets w.stop, which stops it and waits until it has.
func (w *world) startOperator() {
	GinkgoHelper()
	w.stop = w.newOperator()
}

func (w *world) newOperator() (stop func()) {
	GinkgoHelper()
	baseURL, err := opencx.ParseBaseURL(w.url)
	Expect(err).NotTo(HaveOccurred())
	skipNameValidation := true
	scope := Scope{Namespaces: append([]string{w.namespace}, w.moreNamespaces...), Contacts: w.selector}
	cacheOptions := CacheOptions(scope, w.defaultSecret)
	cacheOptions.SyncPeriod = w.resyncPeriod
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cacheOptions,
		NewClient:                     w.newClient,
		Metrics:                       metricsserver.Options{BindAddress: "0"},
		Controller:                    config.Controller{SkipNameValidation: &skipNameValidation},
		LeaderElection:                w.leaderElection,
		LeaderElectionID:              "opencx-operator.open.cx",
		LeaderElectionNamespace:       w.namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	Expect(err).NotTo(HaveOccurred())
	w.reconciler = &ContactReconciler{
		Client:       mgr.GetClient(),
		Live:         mgr.GetAPIReader(),
		Recorder:     mgr.GetEventRecorder("opencx-operator"),
		OpenCX:       opencx.NewClient(baseURL, "opencx-operator/test", ObserveCall),
		Credentials:  &Credentials{Secrets: mgr.GetAPIReader(), DefaultSecret: w.defaultSecret, FromEnv: w.key},
		Limit:        w.limit,
		BudgetGroups: w.budgetGroups,
		Reservations: &Reservations{
			Client: mgr.GetClient(),
			Live:   mgr.GetAPIReader(),
			Name:   types.NamespacedName{Namespace: w.namespace, Name: "opencx-operator-budget"},
		},
		MaySend:                 w.maySend,
		ResyncInterval:          24 * time.Hour,
		MaxConcurrentReconciles: 10,
	}
	Expect(w.reconciler.SetupWithManager(mgr)).To(Succeed())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		Expect(<-done).To(Succeed())
	})
}

// declare creates a contact whose spec is the given JSON and the name as its
// contactID.
func (w *world) declare(ctx context.Context, name, spec string) {
	GinkgoHelper()
	Expect(k8s.Create(ctx, w.manifest(name, spec))).To(Succeed())
}

func (w *world) manifest(name, spec string) *unstructured.Unstructured {
	GinkgoHelper()
	object := &unstructured.Unstructured{Object: map[string]any{}}
	var fields map[string]any
	Expect(json.Unmarshal([]byte(spec), &fields)).To(Succeed())
	fields["contactID"] = name
	object.Object["spec"] = fields
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("OpenCXContact"))
	object.SetNamespace(w.namespace)
	object.SetName(name)
	return object
}

// edit applies a JSON merge patch to a contact.
func (w *world) edit(ctx context.Context, name, patch string) {
	GinkgoHelper()
	contact := w.contact(name)
	Expect(k8s.Patch(ctx, contact, client.RawPatch("application/merge-patch+json", []byte(patch)))).To(Succeed())
}

func (w *world) contact(name string) *v1alpha1.OpenCXContact {
	return &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
}

func (w *world) get(ctx context.Context, name string) *v1alpha1.OpenCXContact {
	GinkgoHelper()
	contact := w.contact(name)
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(contact), contact)).To(Succeed())
	return contact
}

// summary shows a contact's state in one line: generation seen/declared, and
// the conditions that are there.
func (w *world) summary(ctx context.Context, name string) string {
	GinkgoHelper()
	contact := w.get(ctx, name)
	text := fmt.Sprintf("%d/%d", contact.Status.ObservedGeneration, contact.Generation)
	for _, conditionType := range []string{v1alpha1.ReadyCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if c := meta.FindStatusCondition(contact.Status.Conditions, conditionType); c != nil {
			text += fmt.Sprintf(" %s=%s:%s", c.Type, c.Status, c.Reason)
		}
	}
	return text
}

// expectSummary waits until the contact's state is as given.
func (w *world) expectSummary(ctx context.Context, name, want string) {
	GinkgoHelper()
	Eventually(func() string { return w.summary(ctx, name) }).Should(Equal(want))
}

func (w *world) expectSynced(ctx context.Context, name string, generation int) {
	GinkgoHelper()
	w.expectSummary(ctx, name, fmt.Sprintf("%d/%d Ready=True:Synced", generation, generation))
}

// journal lists the requests that arrived, as "status id body".
func (w *world) journal() []string {
	lines := []string{}
	for _, r := range w.simulator.Journal() {
		lines = append(lines, fmt.Sprintf("%d %s %s", r.Status, strings.TrimPrefix(r.Path, "/contacts/"), r.Body))
	}
	return lines
}

// expectNoMore asserts that, for a while, the journal stays at n requests.
func (w *world) expectNoMore(n int) {
	GinkgoHelper()
	Consistently(func() []string { return w.journal() }).Should(HaveLen(n))
}

// createKey puts an API key into a Secret.
func (w *world) createKey(ctx context.Context, name, key string) {
	GinkgoHelper()
	Expect(k8s.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		StringData: map[string]string{DefaultAPIKeyField: key},
	})).To(Succeed())
}

// kubectl runs the control plane's kubectl with stdin in the world's namespace.
func (w *world) kubectl(ctx context.Context, stdin string, args ...string) string {
	GinkgoHelper()
	command := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), append([]string{"--kubeconfig", kubeconfig, "-n", w.namespace}, args...)...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(output))
	return string(output)
}

func asJSON(v any) string {
	GinkgoHelper()
	data, err := json.Marshal(v)
	Expect(err).NotTo(HaveOccurred())
	return string(data)
}

// failure makes an answer of the simulator with an ErrorDto.
func failure(code int, message string) opencxtest.Answer {
	return opencxtest.Answer{
		Status: code,
		Body:   asJSON(map[string]any{"statusCode": code, "message": message, "error": http.StatusText(code)}),
		Header: map[string]string{"Content-Type": "application/json"},
	}
}

type syncBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
