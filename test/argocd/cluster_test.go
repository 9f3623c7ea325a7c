//go:build cluster

package argocd

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/argoproj/gitops-engine/pkg/sync"
	"github.com/argoproj/gitops-engine/pkg/sync/common"
	"github.com/argoproj/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/gitops-engine/pkg/utils/tracing"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubectl/pkg/util/openapi"
	"sigs.k8s.io/yaml"
)

// manager is that of Argo CD's server-side applies.
const manager = "argocd-controller"

// patience is for what the operator does within a second or two, on a busy machine.
const patience = time.Minute

// cluster is a namespace of a cluster in which the operator runs against a simulator.
type cluster struct {
	*testing.T
	namespace string
	config    *rest.Config
	kubectl   *kube.KubectlCmd
	schema    openapi.Resources
	parser    *managedfields.GvkParser
	simulator string
	health    lua.ResourceHealthOverrides
	// serverSide has Argo CD apply and compare on the server.
	serverSide bool
}

// newCluster makes a namespace in the cluster that the environment names.
func newCluster(t *testing.T, namespace string) *cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("OPENCX_TEST_KUBECONFIG"))
	if err != nil || os.Getenv("OPENCX_TEST_SIMULATOR") == "" {
		t.Fatalf("make test-argocd starts a cluster and tells where it is: %v", err)
	}
	c := &cluster{T: t, namespace: namespace, config: config, simulator: os.Getenv("OPENCX_TEST_SIMULATOR"),
		kubectl: &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}}, health: lua.ResourceHealthOverrides(vm(t).ResourceOverrides)}
	if c.schema, c.parser, err = c.kubectl.LoadOpenAPISchema(config); err != nil {
		t.Fatal(err)
	}
	_, err = kubernetes.NewForConfigOrDie(config).CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	c.must(err)
	return c
}

func (c *cluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// createKey creates the API key, which is not in Git.
func (c *cluster) createKey() {
	c.Helper()
	_, err := kubernetes.NewForConfigOrDie(c.config).CoreV1().Secrets(c.namespace).Create(c.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "opencx-api-key"}, StringData: map[string]string{"apiKey": "ocx_live_" + c.namespace},
	}, metav1.CreateOptions{})
	c.must(err)
}

func (c *cluster) manifest(kind, name, spec string, annotations ...string) *unstructured.Unstructured {
	c.Helper()
	metadata := fmt.Sprintf("name: %s, namespace: %s", name, c.namespace)
	if len(annotations) > 0 { // an empty map is a diff
		metadata += fmt.Sprintf(", annotations: {%s}", strings.Join(annotations, ","))
	}
	text := fmt.Sprintf("apiVersion: %s/v1alpha1\nkind: %s\nmetadata: {%s}\nspec: %s", group, kind, metadata, spec)
	object := &unstructured.Unstructured{}
	c.must(yaml.Unmarshal([]byte(text), object))
	return object
}

func (c *cluster) organization(annotations ...string) *unstructured.Unstructured {
	c.Helper()
	return c.manifest("OpenCXOrganization", "acme", "{apiKeySecretRef: {name: opencx-api-key}}", annotations...)
}

func (c *cluster) contact(id string, annotations ...string) *unstructured.Unstructured {
	c.Helper()
	return c.manifest("OpenCXContact", "jane", fmt.Sprintf(
		`{organizationRef: {name: acme}, contactID: %s-%s, name: Jane, phone: "", customData: {}, resyncInterval: 24h}`, c.namespace, id), annotations...)
}

// live is an object as it is in the cluster, nil when it is not there.
func (c *cluster) live(target *unstructured.Unstructured) *unstructured.Unstructured {
	c.Helper()
	object, err := c.kubectl.GetResource(c.Context(), c.config, target.GroupVersionKind(), target.GetName(), c.namespace)
	if apierrors.IsNotFound(err) {
		return nil
	}
	c.must(err)
	return object
}

// pass is one look of Argo CD at a sync that is under way, or begins.
func (c *cluster) pass(phase common.OperationPhase, results []common.ResourceSyncResult, targets []*unstructured.Unstructured) (common.OperationPhase, string, []common.ResourceSyncResult) {
	c.Helper()
	state := sync.ReconciliationResult{}
	for _, target := range targets {
		state.Target = append(state.Target, target.DeepCopy())
		state.Live = append(state.Live, c.live(target))
	}
	syncing, done, err := sync.NewSyncContext("main", state, c.config, c.config, c.kubectl, c.namespace, c.schema,
		sync.WithLogr(logr.Discard()), sync.WithHealthOverride(c.health), sync.WithInitialState(phase, "", results, metav1.Now()),
		sync.WithServerSideApply(c.serverSide), sync.WithServerSideApplyManager(manager), sync.WithOperationSettings(false, true, false, false))
	c.must(err)
	defer done()
	syncing.Sync()
	return syncing.GetState()
}

// sync has Argo CD sync until it is done. The texts are what it says of each object.
func (c *cluster) sync(targets ...*unstructured.Unstructured) (common.OperationPhase, string) {
	c.Helper()
	var (
		phase   = common.OperationRunning
		message string
		results []common.ResourceSyncResult
	)
	for deadline := time.Now().Add(patience); !phase.Completed(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("the sync is not done: %s %s %+v", phase, message, results)
		}
		phase, message, results = c.pass(phase, results, targets)
	}
	for _, result := range results {
		message += "\n" + result.ResourceKey.Name + ": " + result.Message
	}
	return phase, message
}

func (c *cluster) expectSynced(targets ...*unstructured.Unstructured) {
	c.Helper()
	if phase, message := c.sync(targets...); phase != common.OperationSucceeded {
		c.Fatalf("the sync is %s: %s", phase, message)
	}
}

// expectHealth waits until Argo CD shows an object as given.
func (c *cluster) expectHealth(target *unstructured.Unstructured, want health.HealthStatusCode) {
	c.Helper()
	var got *health.HealthStatus
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var err error
		got, err = c.health.GetResourceHealth(c.live(target))
		c.must(err)
		if got.Status == want {
			return
		}
	}
	c.Fatalf("%s is %+v, want %s", target.GetName(), got, want)
}

// expectNoDiff asserts that Argo CD shows an object as in sync.
func (c *cluster) expectNoDiff(target *unstructured.Unstructured) {
	c.Helper()
	applier, done, err := kube.ManageServerSideDiffDryRuns(c.config, c.schema, tracing.NopTracer{}, logr.Discard(), nil)
	c.must(err)
	defer done()
	for name, options := range map[string][]diff.Option{
		"client-side": {},
		"structured":  {diff.WithStructuredMergeDiff(true), diff.WithGVKParser(c.parser), diff.WithManager(manager)},
		"server-side": {diff.WithServerSideDiff(true), diff.WithGVKParser(c.parser), diff.WithManager(manager),
			diff.WithServerSideDryRunner(diff.NewK8sServerSideDryRunner(applier))},
	} {
		result, err := diff.Diff(target.DeepCopy(), c.live(target), append(options, diff.WithLogr(logr.Discard()))...)
		if err != nil {
			c.Errorf("%s diff of %s: %v", name, target.GetName(), err)
		} else if result.Modified {
			c.Errorf("%s diff of %s:\nlive      %s\npredicted %s", name, target.GetName(), result.NormalizedLive, result.PredictedLive)
		}
	}
}

// journal lists the requests that OpenCX got for this namespace, as "status id".
func (c *cluster) journal() string {
	c.Helper()
	response, err := http.Get(c.simulator + "/_sim/journal")
	c.must(err)
	defer func() { _ = response.Body.Close() }()
	var entries []struct {
		Path   string
		Status int
	}
	c.must(json.NewDecoder(response.Body).Decode(&entries))
	var lines []string
	for _, entry := range entries {
		if id, ok := strings.CutPrefix(entry.Path, "/contacts/"+c.namespace+"-"); ok {
			lines = append(lines, fmt.Sprintf("%d %s", entry.Status, id))
		}
	}
	return strings.Join(lines, ", ")
}

// expectJournal asserts that OpenCX got these requests, and gets no more for a while.
func (c *cluster) expectJournal(want string) {
	c.Helper()
	got := c.journal()
	for deadline := time.Now().Add(patience); got != want && time.Now().Before(deadline); got = c.journal() {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(2 * time.Second)
	if got = c.journal(); got != want {
		c.Fatalf("the journal is %q, want %q", got, want)
	}
}

// patch is what Argo CD does with what an action returns.
func (c *cluster) patch(object *unstructured.Unstructured, patch []byte) {
	c.Helper()
	_, err := c.kubectl.PatchResource(c.Context(), c.config, schema.GroupVersionKind{Group: group, Version: "v1alpha1", Kind: object.GetKind()},
		object.GetName(), c.namespace, types.MergePatchType, patch)
	c.must(err)
}
