//go:build platforms

package gitops

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the fixtures instead of comparing with them")

const (
	contactKind      = "OpenCXContact"
	organizationKind = "OpenCXOrganization"
)

var _ = Describe("The fixtures of Argo CD's tests", Ordered, func() {
	BeforeAll(func(ctx SpecContext) {
		bringAbout(ctx)
	})

	for _, kind := range []string{contactKind, organizationKind} {
		for _, s := range states[kind] {
			if s.conditions == "" {
				continue // it is there for its contacts
			}
			It(fmt.Sprintf("are what the operator writes: %s %s", kind, s.name), func() {
				Expect(seen).To(HaveKey(kind + s.name))
				now := pinned(seen[kind+s.name])
				file := filepath.Join(fixtures(kind), s.name+".yaml")
				if *update {
					text, err := yaml.Marshal(now.Object)
					Expect(err).NotTo(HaveOccurred())
					Expect(os.WriteFile(file, text, 0o644)).To(Succeed())
					return
				}
				text, err := os.ReadFile(file)
				Expect(err).NotTo(HaveOccurred())
				stored := &unstructured.Unstructured{}
				Expect(yaml.Unmarshal(text, &stored.Object)).To(Succeed())
				Expect(summary(stored)).To(Equal(s.conditions))
				Expect(shape(stored.Object)).To(Equal(shape(now.Object)))
				Expect(messages(stored)).To(Equal(messages(now)))
			})
		}
	}

	It("are no others", func() {
		for kind, states := range states {
			files, err := filepath.Glob(filepath.Join(fixtures(kind), "*.yaml"))
			Expect(err).NotTo(HaveOccurred())
			Expect(files).NotTo(BeEmpty())
			for _, file := range files {
				name := strings.TrimSuffix(filepath.Base(file), ".yaml")
				Expect(slices.ContainsFunc(states, func(s state) bool { return s.name == name })).To(BeTrue(), file)
			}
		}
	})
})

// bringAbout creates what every state needs, and does what leads to it.
func bringAbout(ctx context.Context) {
	GinkgoHelper()
	for id, answer := range answers() {
		simulator.InjectContact(id, answer)
	}
	Expect(client.IgnoreAlreadyExists(controlPlane.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}))).To(Succeed())
	createOrganization(ctx, organizationStates[0])
	kubectl(ctx, "shop", "", "create", "configmap", "emails", "--from-literal=jane=no-address")
	simulator.AddContacts("drifted", "reported", "not-compared-stalled")
	simulator.SetWriteOnlyKeys(keyOf("list-forbidden"))
	operator := startOperator(ctx)

	for _, name := range []string{"edited", "suspended-synced", "synced"} {
		declare(ctx, name, "{}")
		Eventually(func() string { return summary(get(ctx, contactKind, name)) }).Should(Equal("1/1 Ready=True:Synced Drifted=Unknown:NotVerified"))
	}
	for _, s := range organizationStates[1:] { // when the first has proven its key
		if s.name != "new" {
			createOrganization(ctx, s)
		}
	}
	kubectl(ctx, "shop", "", "patch", "oxc", "suspended-synced", "--type=merge", "-p", `{"spec":{"suspend":true}}`)
	declare(ctx, "drifted", `{"organizationRef":{"name":"introduced"},"name":"Jane Doe"}`)
	Eventually(func() string { return summary(get(ctx, contactKind, "drifted")) }).Should(HavePrefix("1/1 Ready=True:Synced"))
	kubectl(ctx, "shop", "", "patch", "oxc", "drifted", "--type=merge", "-p", `{"spec":{"driftPolicy":"Report"}}`)
	for _, s := range contactStates { // the first look for drift follows those that are introduced
		if !slices.Contains([]string{"drifted", "edited", "suspended-synced", "synced", "waiting", "new"}, s.name) {
			declare(ctx, s.name, s.spec)
		}
	}
	for _, s := range more() {
		declare(ctx, s.name, s.spec)
	}
	declare(ctx, "waiting", `{"organizationRef":{"name":"slow"}}`)
	collect(ctx, "edited", "new", "server-error-stalled", "value-not-found-stalled")
	insist(ctx, "server-error-stalled")
	collect(ctx, "edited", "new")
	// These are there when no operator looks.
	Expect(operator.Stop()).To(Succeed())
	kubectl(ctx, "shop", "", "patch", "oxc", "edited", "--type=merge", "-p", `{"spec":{"name":"Jane Roe"}}`)
	declare(ctx, "new", "{}")
	create(ctx, organizationKind, "new", map[string]any{"apiKeySecretRef": map[string]any{"name": "new-api-key"}})
	collect(ctx)
}

// createOrganization creates one of organizationStates, with a key of its own.
func createOrganization(ctx context.Context, s state) {
	GinkgoHelper()
	key := keyOf(s.name)
	switch s.name {
	case "api-key-invalid":
		key = "two\nlines"
	case "duplicate-key":
		key = keyOf("default")
	}
	Expect(controlPlane.CreateOrganization(ctx, inNamespace(s.name), key, func(o *v1alpha1.OpenCXOrganization) {
		o.Spec.AllowedNamespaces = nil
		Expect(json.Unmarshal([]byte(s.spec), &o.Spec)).To(Succeed())
		if s.name == "api-key-not-found" {
			o.Spec.APIKeySecretRef.Key = "token"
		}
	})).To(Succeed())
	if s.name == "api-key-not-found" {
		kubectl(ctx, "shop", "", "delete", "secret", "api-key-not-found-api-key")
	}
}

// insist requests attempts until the time between them grows no more.
func insist(ctx context.Context, name string) {
	GinkgoHelper()
	attempt := 0
	Eventually(func() string {
		attempt++
		kubectl(ctx, "shop", "", "annotate", "oxc", name, "--overwrite", fmt.Sprintf("%s=attempt-%d", v1alpha1.ReconcileAtAnnotation, attempt))
		Eventually(func() string {
			handled, _, _ := unstructured.NestedString(get(ctx, contactKind, name).Object, "status", "lastHandledReconcileAt")
			return handled
		}).WithTimeout(2 * time.Minute).Should(Equal(fmt.Sprintf("attempt-%d", attempt)))
		return summary(get(ctx, contactKind, name))
	}).WithTimeout(5 * time.Minute).Should(ContainSubstring("Stalled=True"))
}

// seen are the objects, by kind and name, as they were in their state.
var seen = map[string]*unstructured.Unstructured{}

// collect notes each object when it is in its state, which some leave again, until all were.
func collect(ctx context.Context, later ...string) {
	GinkgoHelper()
	Eventually(func() (missing []string) {
		for kind, states := range states {
			for _, s := range states {
				if s.conditions == "" || seen[kind+s.name] != nil || slices.Contains(later, s.name) {
					continue
				}
				object := get(ctx, kind, s.name)
				if is := summary(object); is != s.conditions {
					missing = append(missing, fmt.Sprintf("%s %s is %s, not %s", kind, s.name, is, s.conditions))
					continue
				}
				seen[kind+s.name] = object
			}
		}
		return missing
	}).WithTimeout(5 * time.Minute).Should(BeEmpty())
}

func fixtures(kind string) string {
	return filepath.Join(root, "config", "argocd", v1alpha1.GroupVersion.Group, kind, "testdata")
}

func declare(ctx context.Context, name, spec string) {
	GinkgoHelper()
	fields := map[string]any{"contactID": name}
	Expect(json.Unmarshal([]byte(spec), &fields)).To(Succeed())
	create(ctx, contactKind, name, fields)
}

func create(ctx context.Context, kind, name string, spec map[string]any) {
	GinkgoHelper()
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.SetNamespace("shop")
	object.SetName(name)
	Expect(controlPlane.Client.Create(ctx, object)).To(Succeed())
}

func get(ctx context.Context, kind, name string) *unstructured.Unstructured {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	Expect(controlPlane.Client.Get(ctx, inNamespace(name), object)).To(Succeed())
	return object
}

// summary shows an object's state in one line.
func summary(object *unstructured.Unstructured) string {
	observed, _, _ := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	if seen, ok, _ := unstructured.NestedFloat64(object.Object, "status", "observedGeneration"); ok {
		observed = int64(seen) // YAML's
	}
	text := fmt.Sprintf("%d/%d", observed, generationOf(object))
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, name := range []string{"Ready", "Reconciling", "Stalled", "Overcommitted", "Drifted", "DriftChecked"} {
		for _, condition := range conditions {
			if c := condition.(map[string]any); c["type"] == name {
				text += fmt.Sprintf(" %s=%s:%s", name, c["status"], c["reason"])
			}
		}
	}
	return text
}

// messages are those of an object's conditions, by their types.
func messages(object *unstructured.Unstructured) map[string]any {
	all := map[string]any{}
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		c := condition.(map[string]any)
		all[fmt.Sprint(c["type"])] = c["message"]
	}
	return all
}

func generationOf(object *unstructured.Unstructured) int64 {
	if generation, ok, _ := unstructured.NestedFloat64(object.Object, "metadata", "generation"); ok {
		return int64(generation)
	}
	return object.GetGeneration()
}

var volatile = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`), "2026-01-01T00:00:00Z"},
	{regexp.MustCompile(`v1:[0-9a-f]{64}`), "v1:" + strings.Repeat("0", 64)},
	{regexp.MustCompile(`@[0-9]+"`), `@1"`},
	{regexp.MustCompile(`127\.0\.0\.1:[0-9]+`), "127.0.0.1:8085"},
}

// pinned is an object without what differs from one run to the next.
func pinned(object *unstructured.Unstructured) *unstructured.Unstructured {
	GinkgoHelper()
	object.SetManagedFields(nil)
	object.SetUID("00000000-0000-0000-0000-000000000000")
	object.SetResourceVersion("1")
	text, err := object.MarshalJSON()
	Expect(err).NotTo(HaveOccurred())
	for _, v := range volatile {
		text = v.pattern.ReplaceAll(text, []byte(v.instead))
	}
	fixture := &unstructured.Unstructured{}
	Expect(fixture.UnmarshalJSON(text)).To(Succeed())
	return fixture
}

// shape names the fields that there are, and of conditions those of each type.
func shape(value any) []string {
	var names []string
	switch v := value.(type) {
	case map[string]any:
		for name, field := range v {
			for _, below := range append([]string{""}, shape(field)...) {
				names = append(names, name+"/"+below)
			}
		}
	case []any:
		for _, item := range v {
			label := ""
			if c, ok := item.(map[string]any); ok {
				label = fmt.Sprint(c["type"])
			}
			for _, below := range shape(item) {
				names = append(names, label+"."+below)
			}
		}
	}
	slices.Sort(names)
	return names
}
