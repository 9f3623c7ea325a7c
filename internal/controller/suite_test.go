package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

var (
	controlPlane *operatortest.ControlPlane
	k8s          client.Client

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
	DeferCleanup(quicken, quickRetry.first)
	quicken(time.Second) // the specs have no time for five
	var err error
	controlPlane, err = operatortest.StartControlPlane(filepath.Join("..", "..", "config", "crd", "bases"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	k8s = controlPlane.Client
})

// quicken changes how soon what fails softly is tried again.
func quicken(first time.Duration) {
	for i := range meanings {
		if meanings[i].retry == quickRetry {
			meanings[i].retry.first = first
		}
	}
	quickRetry.first = first
}

// After all specs, nothing secret that any of them used shows anywhere.
var _ = AfterSuite(func(ctx SpecContext) {
	var contacts v1alpha1.OpenCXContactList
	Expect(k8s.List(ctx, &contacts)).To(Succeed())
	var organizations v1alpha1.OpenCXOrganizationList
	Expect(k8s.List(ctx, &organizations)).To(Succeed())
	var statuses, ofOrganizations []any
	for _, contact := range contacts.Items {
		statuses = append(statuses, contact.Status)
	}
	for _, o := range organizations.Items {
		ofOrganizations = append(ofOrganizations, o.Status)
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

	suite, _ := GinkgoConfiguration()
	whole := len(suite.FocusStrings)+len(suite.FocusFiles)+len(suite.SkipStrings) == 0
	for where, text := range map[string]string{
		"logs":          logs.String(),
		"status":        asJSON(statuses),
		"organizations": asJSON(ofOrganizations),
		"events":        asJSON(events.Items),
		"metrics":       exposed.String(),
	} {
		if whole {
			Expect(text).To(ContainSubstring(map[string]string{
				"logs": "Contact changed state", "status": "appliedHash", "organizations": "OpenCX has accepted contacts",
				"events": "has accepted the contact", "metrics": "opencx_api_requests_total",
			}[where]), "nothing to search in "+where)
		}
		Expect(secrets).NotTo(BeEmpty())
		for _, secret := range secrets {
			Expect(strings.Contains(text, secret)).To(BeFalse(), "%s shows in %s", secret, where)
		}
	}
})

// world is a namespace with an OpenCX, an organization called default, and an
// operator of its own.
type world struct {
	namespace string
	key       string // of the organization called default
	simulator *operatortest.Simulator
	url       string
	limit     budget.Limit
	stop      func()
	// collector is that of the operator that was started last.
	collector prometheus.Collector

	// What startOperator uses besides; set before it is called.
	defaultOrganization types.NamespacedName
	share               float64
	leaderElection      bool
	resyncInterval      time.Duration
	resyncPeriod        *time.Duration // of the cache
	newClient           client.NewClientFunc
	moreNamespaces      []string
	selector            labels.Selector
	lease               func(left time.Duration) error
	drift               drift.Timing // zero is never to look for it
	wrap                transport.WrapperFunc
}

// newWorld starts a simulator with the given limit, and an operator that keeps
// the same one.
func newWorld(ctx context.Context, limit budget.Limit) *world {
	GinkgoHelper()
	w := &world{
		namespace: "test-" + rand.String(8), key: secret("ocx_live_"), limit: limit, share: 1, resyncInterval: 24 * time.Hour,
		lease: func(time.Duration) error { return nil },
	}
	w.simulator = operatortest.StartSimulator(opencxtest.Options{
		Keys: []string{w.key}, AcceptAnyContact: true, Limit: limit.Requests, Window: limit.Window,
	})
	DeferCleanup(w.simulator.Close)
	w.url, w.defaultOrganization = w.simulator.URL, w.organization("default")
	w.createOrganization(ctx, "default", w.key)
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
	scope := organization.Scope{Namespaces: append([]string{w.namespace}, w.moreNamespaces...), Contacts: w.selector}
	cacheOptions := organization.CacheOptions(scope, w.defaultOrganization)
	cacheOptions.SyncPeriod = w.resyncPeriod
	restConfig := restclient.CopyConfig(controlPlane.Config)
	if w.wrap != nil {
		restConfig.Wrap(w.wrap)
	}
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                        controlPlane.Scheme,
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
	w.collector, err = Setup(mgr, Options{
		OpenCX:                  opencx.NewClient(baseURL, "opencx-operator/test", ObserveCall),
		Recorder:                mgr.GetEventRecorder("opencx-operator"),
		Scope:                   scope,
		DefaultOrganization:     w.defaultOrganization,
		OwnNamespace:            w.namespace,
		Limit:                   w.limit,
		Share:                   w.share,
		ResyncInterval:          w.resyncInterval,
		Drift:                   w.drift,
		MaxConcurrentReconciles: 10,
		Lease:                   w.lease,
	})
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		Expect(<-done).To(Succeed())
	})
}

// addNamespace restarts the operator with one more namespace, whose name it returns.
func (w *world) addNamespace(ctx context.Context) string {
	GinkgoHelper()
	w.stop()
	name := fmt.Sprintf("%s-%d", w.namespace, len(w.moreNamespaces)+1)
	Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	w.moreNamespaces = append(w.moreNamespaces, name)
	w.startOperator()
	return name
}

// resyncEvery restarts the operator with another interval, also one that is shorter
// than anybody may declare.
func (w *world) resyncEvery(interval time.Duration) {
	GinkgoHelper()
	w.stop()
	w.resyncInterval = interval
	w.startOperator()
}

// syncedBefore makes a contact's last sync that much older, once status tells of it.
func (w *world) syncedBefore(ctx context.Context, name string, by time.Duration) {
	GinkgoHelper()
	Eventually(func() bool {
		last := w.get(ctx, name).Status.LastSyncTime
		return last != nil && time.Since(last.Time) < by
	}).Should(BeTrue())
	w.patchStatus(ctx, name, `{"status":{"lastSyncTime":`+asJSON(metav1.NewTime(time.Now().Add(-by)))+`}}`)
}

// organization names an organization of the world's namespace.
func (w *world) organization(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: w.namespace, Name: name}
}

// createOrganization creates one with an API key, which is in Secret <name>-api-key.
func (w *world) createOrganization(ctx context.Context, name, key string, mutate ...func(*v1alpha1.OpenCXOrganization)) {
	GinkgoHelper()
	Expect(controlPlane.CreateOrganization(ctx, w.organization(name), key, mutate...)).To(Succeed())
}

// editOrganization applies a JSON merge patch to an organization.
func (w *world) editOrganization(ctx context.Context, name, patch string) {
	GinkgoHelper()
	o := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	Expect(k8s.Patch(ctx, o, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

func (w *world) getOrganization(ctx context.Context, name string) *v1alpha1.OpenCXOrganization {
	GinkgoHelper()
	o := &v1alpha1.OpenCXOrganization{}
	Expect(k8s.Get(ctx, w.organization(name), o)).To(Succeed())
	return o
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
	return fmt.Sprintf("%d/%d", contact.Status.ObservedGeneration, contact.Generation) + conditionsOf(contact.Status.Conditions)
}

func conditionsOf(conditions []metav1.Condition) (text string) {
	for _, conditionType := range []string{v1alpha1.ReadyCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if c := meta.FindStatusCondition(conditions, conditionType); c != nil {
			text += fmt.Sprintf(" %s=%s:%s", c.Type, c.Status, c.Reason)
		}
	}
	return text
}

// expectOrganization waits until an organization's conditions are as given.
func (w *world) expectOrganization(ctx context.Context, name, want string) {
	GinkgoHelper()
	Eventually(func() string {
		o := w.getOrganization(ctx, name)
		return fmt.Sprintf("%d/%d", o.Status.ObservedGeneration, o.Generation) + conditionsOf(o.Status.Conditions)
	}).Should(Equal(want))
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

// kubectl runs the control plane's kubectl with stdin in the world's namespace.
func (w *world) kubectl(ctx context.Context, stdin string, args ...string) string {
	GinkgoHelper()
	output, err := controlPlane.Kubectl(ctx, stdin, append([]string{"-n", w.namespace}, args...)...)
	Expect(err).NotTo(HaveOccurred())
	return output
}

func asJSON(v any) string {
	GinkgoHelper()
	data, err := json.Marshal(v)
	Expect(err).NotTo(HaveOccurred())
	return string(data)
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
