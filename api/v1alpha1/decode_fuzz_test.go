package v1alpha1_test

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// One object that the CRD admits and Go cannot decode would break the typed
// LIST, and with it the operator, for every contact. So random objects, made
// along the CRD's own schema and beyond it, are created, and then listed typed.

// crdSchema is the schema of the generated CRD of a kind.
func crdSchema(kind string) (*apiextensionsv1.JSONSchemaProps, error) {
	data, err := os.ReadFile(filepath.Join(crds, "contacts.open.cx_"+strings.ToLower(kind)+"s.yaml"))
	if err != nil {
		return nil, err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(data, &crd); err != nil {
		return nil, err
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema, nil
}

// oddTimes are times, nearly times, and times that only some parsers take.
var oddTimes = []string{
	"2026-01-02T03:04:05.999999999Z", "2026-01-02T03:04:05.1234567890123Z", "2026-01-02T03:04:05+01:00", "2026-01-02T03:04:05-00:00", "2026-01-02T03:04:05+0100",
	"2026-01-02T03:04:05", "2026-01-02t03:04:05z", "2026-01-02 03:04:05Z", "2026-01-02T03:04Z", "2026-01-02T3:4:5Z", "2026-1-2T03:04:05Z", "20260102T030405Z",
	"2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2026-01-02T24:00:00Z", "2026-01-02T03:04:60Z",
	"2026-02-29T03:04:05Z", "2024-02-29T03:04:05Z", "2100-02-29T03:04:05Z", "2000-02-29T03:04:05Z", "2026-04-31T03:04:05Z", "2026-13-01T03:04:05Z", "2026-00-01T03:04:05Z", "2026-01-32T03:04:05Z",
	"0001-01-01T00:00:00Z", "0000-02-29T03:04:05Z", "2026-01-02T24:00:00Z", "2026-01-02T03:04:60Z", "2026-01-02", "2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05+25:00", "2026-01-02T03:04:05+23:59", "", "now", "0",
}

// oddStrings are what people, or clients, put where something else belongs:
// durations, numbers and text of every kind.
var oddStrings = []string{
	"", "a", "c-1", "0", "0s", "1h", "24h", "1.5h", "1h30m", "8760h", "8760h1ms", "1ms", ".5h", "1.h", "5us", "1h ", "1H", "00000001h", "9999h", "1e3s", "١h",
	"True", "False", "Unknown", "Ready", "Synced", "jane@example.com", "o'brien+x@a.b-c.co", "..", "a..b@example.com", "\x00", "\u2028", "😀", "\\", "\"", "null", "v1:00",
}

var oddNumbers = []any{0, 1, -1, 429, 100, 999, int64(1) << 31, int64(1) << 32, -(int64(1) << 31), int64(1)<<53 + 1, int64(9223372036854775807), 1.0, 1.5, 1e9, 1e300}

// random makes a value for schema that is mostly of the right type.
func random(r *rand.Rand, schema *apiextensionsv1.JSONSchemaProps, name string) any {
	if r.IntN(60) == 0 {
		return []any{nil, true, "x", 7, 1.5, []any{}, map[string]any{}}[r.IntN(7)]
	}
	switch schema.Type {
	case "object":
		object := map[string]any{}
		for _, field := range slices.Sorted(maps.Keys(schema.Properties)) {
			if slices.Contains(schema.Required, field) || r.IntN(3) > 0 {
				property := schema.Properties[field]
				object[field] = random(r, &property, field)
			}
		}
		if schema.AdditionalProperties != nil {
			for range r.IntN(4) {
				object[oddStrings[r.IntN(len(oddStrings))]] = random(r, schema.AdditionalProperties.Schema, "")
			}
		}
		if r.IntN(20) > 0 {
			makePlausible(object, schema)
		}
		return object
	case "array":
		list := []any{}
		for range r.IntN(4) {
			list = append(list, random(r, schema.Items.Schema, ""))
		}
		return list
	case "boolean":
		return r.IntN(2) == 0
	case "integer", "number":
		if r.IntN(4) > 0 {
			return 100 + r.IntN(400)
		}
		return oddNumbers[r.IntN(len(oddNumbers))]
	}
	if len(schema.Enum) > 0 && r.IntN(5) > 0 {
		var value any
		_ = json.Unmarshal(schema.Enum[r.IntN(len(schema.Enum))].Raw, &value)
		return value
	}
	// Strings with rules would nearly never be met by chance.
	switch {
	case name == "contactID" && r.IntN(5) > 0:
		return "c-" + strconv.Itoa(r.IntN(100))
	case name == "email" && r.IntN(3) > 0:
		return "jane@example.com"
	case strings.HasSuffix(name, "Interval") && r.IntN(3) == 0:
		return []string{"0s", "10m", "24h", "1h30m"}[r.IntN(4)]
	case strings.HasSuffix(name, "Interval") && r.IntN(2) > 0:
		return randomDuration(r)
	case name == "window" && r.IntN(3) > 0:
		return []string{"1s", "1m", "1h", "0h30m5s", "60m", "00001s"}[r.IntN(6)]
	case name == "window" && r.IntN(2) > 0:
		return randomDuration(r)
	case name == "namespace" && r.IntN(5) > 0:
		return "crm"
	case isTime(name) && r.IntN(8) > 0:
		return "2026-01-02T03:04:05Z"
	case isTime(name):
		return oddTimes[r.IntN(len(oddTimes))]
	case name == "name" && *schema.MinLength > 0 && r.IntN(20) > 0: // of an object; that of a contact may be empty
		return "a-secret.1"
	case name == "key" && r.IntN(20) > 0:
		return "a_key"
	case name == "reason":
		return "Synced"
	case name == "type":
		return []string{"Ready", "Reconciling", "Stalled", "a/b.c", "Drifted"}[r.IntN(5)]
	}
	return oddStrings[r.IntN(len(oddStrings))]
}

func isTime(name string) bool {
	return strings.HasSuffix(name, "Time") || name == "drainsAt" || name == "watermark"
}

// makePlausible lets an object keep the rules that concern several of its fields.
func makePlausible(object map[string]any, schema *apiextensionsv1.JSONSchemaProps) {
	for field := range schema.Properties {
		if _, ok := object[field]; ok {
			delete(object, field+"From")
		}
	}
	if object["from"] != "Selector" {
		delete(object, "selector")
	}
	if operator := object["operator"]; operator == "Exists" || operator == "DoesNotExist" {
		delete(object, "values")
	}
	secret, isSource := schema.Properties["secretKeyRef"]
	if !isSource {
		return
	}
	_, hasSecret := object["secretKeyRef"]
	_, hasConfigMap := object["configMapKeyRef"]
	switch {
	case hasSecret:
		delete(object, "configMapKeyRef")
	case !hasConfigMap:
		object["secretKeyRef"] = random(rand.New(rand.NewPCG(uint64(len(object)), 0)), &secret, "secretKeyRef")
	}
}

func randomDuration(r *rand.Rand) string {
	text := ""
	for range 1 + r.IntN(3) {
		text += strconv.Itoa(r.IntN(20000)) + []string{"", ".5", ".123456789"}[r.IntN(3)] + []string{"ms", "s", "m", "h", "us", "d", ""}[r.IntN(7)]
	}
	return text
}

// admit creates a random object of a kind and writes a random status to it, and says
// which of both the API server took.
func admit(ctx context.Context, c client.Client, kind string, schema *apiextensionsv1.JSONSchemaProps, r *rand.Rand) (created, written bool) {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.SetGenerateName("fuzz-")
	object.SetNamespace(metav1.NamespaceDefault)
	spec, status := schema.Properties["spec"], schema.Properties["status"]
	object.Object["spec"] = normal(random(r, &spec, "spec"))
	if err := c.Create(ctx, object); err != nil {
		return false, false
	}
	object.Object["status"] = normal(random(r, &status, "status"))
	return true, c.Status().Update(ctx, object) == nil
}

// normal is value with the types that JSON decoding gives.
func normal(value any) any {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	var decoded any
	if err := yaml.Unmarshal(data, &decoded); err != nil {
		return "not for JSON"
	}
	return decoded
}

var _ = DescribeTable("What the CRD admits decodes in Go",
	func(ctx SpecContext, kind string, object client.Object, list client.ObjectList) {
		const objects, workers = 3000, 4
		schema, err := crdSchema(kind)
		Expect(err).NotTo(HaveOccurred())
		seeds := make(chan uint64)
		var wait sync.WaitGroup
		var mu sync.Mutex
		created, written := 0, 0
		for range workers {
			wait.Go(func() {
				defer GinkgoRecover()
				for seed := range seeds {
					wasCreated, wasWritten := admit(ctx, k8s, kind, schema, rand.New(rand.NewPCG(seed, 2026)))
					mu.Lock()
					if wasCreated {
						created++
					}
					if wasWritten {
						written++
					}
					mu.Unlock()
				}
			})
		}
		for seed := range uint64(objects) {
			seeds <- seed
		}
		close(seeds)
		wait.Wait()
		// Objects that are nearly all refused would prove little.
		Expect(created).To(BeNumerically(">", objects/10))
		Expect(written).To(BeNumerically(">", objects/50))
		Expect(k8s.List(ctx, list)).To(Succeed())
		Expect(meta.LenList(list)).To(BeNumerically(">=", created))
		Expect(k8s.DeleteAllOf(ctx, object, client.InNamespace(metav1.NamespaceDefault))).To(Succeed())
	},
	Entry("as contacts", "OpenCXContact", &v1alpha1.OpenCXContact{}, &v1alpha1.OpenCXContactList{}),
	Entry("as organizations", "OpenCXOrganization", &v1alpha1.OpenCXOrganization{}, &v1alpha1.OpenCXOrganizationList{}),
)

// fuzzKubeconfig tells the workers of a fuzz run, which are processes of their
// own, about the control plane of the process that started them: they end
// without clean-up, and would leave theirs behind.
const fuzzKubeconfig = "OPENCX_FUZZ_KUBECONFIG"

func fuzzClient(f *testing.F) (client.Client, error) {
	if os.Getenv(fuzzKubeconfig) == "" {
		controlPlane, err := operatortest.StartControlPlane(crds)
		if err != nil {
			return nil, err
		}
		f.Cleanup(func() { _ = controlPlane.Stop() })
		f.Setenv(fuzzKubeconfig, controlPlane.Kubeconfig)
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv(fuzzKubeconfig))
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(config, client.Options{Scheme: scheme})
}

// fuzzDecoding does the same for as long as it is let.
func fuzzDecoding(f *testing.F, kind string, object client.Object, list client.ObjectList) {
	schema, err := crdSchema(kind)
	if err != nil {
		f.Fatal(err)
	}
	c, err := fuzzClient(f)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		admit(t.Context(), c, kind, schema, rand.New(rand.NewPCG(seed, 1)))
		if err := c.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if meta.LenList(list) > 100 {
			if err := c.DeleteAllOf(t.Context(), object, client.InNamespace(metav1.NamespaceDefault)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzAdmittedContactsDecode(f *testing.F) {
	fuzzDecoding(f, "OpenCXContact", &v1alpha1.OpenCXContact{}, &v1alpha1.OpenCXContactList{})
}

func FuzzAdmittedOrganizationsDecode(f *testing.F) {
	fuzzDecoding(f, "OpenCXOrganization", &v1alpha1.OpenCXOrganization{}, &v1alpha1.OpenCXOrganizationList{})
}
