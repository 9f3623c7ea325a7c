//go:build platforms

package flux

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// organizationManifest is in Git, beside the contacts that use it.
const organizationManifest = `
apiVersion: contacts.open.cx/v1alpha1
kind: OpenCXOrganization
metadata:
  name: acme
spec:
  apiKeySecretRef:
    name: opencx-api-key
`

// world is a namespace with a repository, and a Kustomization of it.
type world struct {
	namespace string
	files     map[string]string
}

var worlds int

// newWorld makes one, with the organization in its repository and its key in the cluster.
func newWorld(ctx context.Context) *world {
	GinkgoHelper()
	w := newWorldWithoutKey(ctx)
	w.createKey(ctx)
	return w
}

func newWorldWithoutKey(ctx context.Context) *world {
	GinkgoHelper()
	worlds++
	w := &world{namespace: fmt.Sprintf("team-%d", worlds), files: map[string]string{"organization.yaml": organizationManifest}}
	Expect(controlPlane.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})).To(Succeed())
	return w
}

func (w *world) createKey(ctx context.Context) {
	GinkgoHelper()
	w.kubectl(ctx, "", "create", "secret", "generic", "opencx-api-key", "--from-literal=apiKey=ocx_live_"+w.namespace)
}

// id is a contactID of this world's, so that journals of worlds are apart.
func (w *world) id(name string) string { return w.namespace + "-" + name }

// contact puts one into the repository. more are lines of its spec.
func (w *world) contact(name string, more ...string) {
	w.files[name+".yaml"] = fmt.Sprintf(`
apiVersion: contacts.open.cx/v1alpha1
kind: OpenCXContact
metadata:
  name: %s
spec:
  organizationRef:
    name: acme
  contactID: %s
  %s
`, name, w.id(name), strings.Join(more, "\n  "))
}

// push has the source tell of the files as they are now. It returns the revision.
func (w *world) push(ctx context.Context) (revision string) {
	GinkgoHelper()
	return w.pushTo(ctx, "contacts", w.files)
}

func (w *world) pushTo(ctx context.Context, repository string, files map[string]string) (revision string) {
	GinkgoHelper()
	w.kubectl(ctx, fmt.Sprintf(`{"apiVersion":"source.toolkit.fluxcd.io/v1","kind":"GitRepository","metadata":{"name":%q},
		"spec":{"interval":"1h","url":"https://git.example.com/contacts.git"}}`, repository), "apply", "-f", "-")
	artifact := source.add(files)
	status, err := json.Marshal(map[string]any{"status": map[string]any{"observedGeneration": 1, "artifact": artifact,
		"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored",
			"lastTransitionTime": artifact["lastUpdateTime"]}}}})
	Expect(err).NotTo(HaveOccurred())
	w.kubectl(ctx, "", "patch", "gitrepository", repository, "--subresource=status", "--type=merge", "-p", string(status))
	return artifact["revision"].(string)
}

// kustomize creates the Kustomization of docs/gitops.md, with more fields of its spec.
func (w *world) kustomize(ctx context.Context, more map[string]any) {
	GinkgoHelper()
	w.kustomizeFrom(ctx, "contacts", more)
}

func (w *world) kustomizeFrom(ctx context.Context, repository string, more map[string]any) {
	GinkgoHelper()
	kustomization := &unstructured.Unstructured{}
	Expect(yaml.Unmarshal([]byte(shown("kustomize.toolkit.fluxcd.io/v1", "Kustomization")), &kustomization.Object)).To(Succeed())
	kustomization.SetName(repository)
	spec := kustomization.Object["spec"].(map[string]any)
	spec["targetNamespace"] = w.namespace
	spec["sourceRef"].(map[string]any)["name"] = repository
	maps.Copy(spec, more)
	text, err := kustomization.MarshalJSON()
	Expect(err).NotTo(HaveOccurred())
	w.kubectl(ctx, string(text), "apply", "-f", "-")
}

// shown are the manifests in the block of docs/gitops.md that begins with a kind.
func shown(apiVersion, kind string) string {
	GinkgoHelper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "gitops.md"))
	Expect(err).NotTo(HaveOccurred())
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	i := slices.IndexFunc(blocks, func(block []string) bool {
		return strings.HasPrefix(block[1], "apiVersion: "+apiVersion+"\nkind: "+kind+"\n")
	})
	Expect(i).To(BeNumerically(">=", 0), "docs/gitops.md shows no "+kind)
	return blocks[i][1]
}

// reconcile has Flux apply once more what it has, as flux reconcile does, and waits for it.
func (w *world) reconcile(ctx context.Context, when string) {
	GinkgoHelper()
	w.kubectl(ctx, "", "annotate", "kustomization", "contacts", "--overwrite", "reconcile.fluxcd.io/requestedAt="+when)
	Eventually(func() string {
		return w.kubectl(ctx, "", "get", "kustomization", "contacts", "-o", "jsonpath={.status.lastHandledReconcileAt}")
	}).Should(Equal(when))
}

// flux is what the Kustomization says of a revision: its Ready condition with the message,
// once it has attempted it.
func (w *world) flux(ctx context.Context, revision string) func() string {
	return w.fluxOf(ctx, "contacts", revision)
}

func (w *world) fluxOf(ctx context.Context, name, revision string) func() string {
	return func() string {
		attempted := w.kubectl(ctx, "", "get", "kustomization", name, "-o", "jsonpath={.status.lastAttemptedRevision}")
		if attempted != revision {
			return "attempted " + attempted
		}
		return w.kubectl(ctx, "", "get", "kustomization", name, "-o",
			`jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.reason}: {.message}{end}`)
	}
}

// status is a contact's Ready condition.
func (w *world) status(ctx context.Context, name string) string {
	GinkgoHelper()
	return w.kubectl(ctx, "", "get", "oxc", name, "-o",
		`jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.reason}: {.message}{end}`)
}

// versions are the resourceVersions of all that Flux has applied.
func (w *world) versions(ctx context.Context) string {
	GinkgoHelper()
	return w.kubectl(ctx, "", "get", "opencx", "-o", `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
}

// journal lists the requests of this world, as "status id body".
func (w *world) journal() []string {
	lines := []string{}
	for _, r := range simulator.Journal() {
		if id := strings.TrimPrefix(r.Path, "/contacts/"); strings.HasPrefix(id, w.namespace+"-") {
			lines = append(lines, fmt.Sprintf("%d %s %s", r.Status, strings.TrimPrefix(id, w.namespace+"-"), r.Body))
		}
	}
	return lines
}

func (w *world) kubectl(ctx context.Context, stdin string, args ...string) string {
	GinkgoHelper()
	output, err := controlPlane.Kubectl(ctx, stdin, append([]string{"-n", w.namespace}, args...)...)
	Expect(err).NotTo(HaveOccurred())
	return output
}
