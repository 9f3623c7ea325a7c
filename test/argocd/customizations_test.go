// Package argocd runs what config/argocd ships with Argo CD's own engine, as Argo CD's
// tests run its resource_customizations.
package argocd

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	appv1 "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/health"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const group = "contacts.open.cx"

var folder = filepath.Join("..", "..", "config", "argocd")

// read reads a YAML file into value, which is what it holds.
func read(t *testing.T, value any, path ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{folder}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, value); err != nil {
		t.Fatalf("%s: %v", filepath.Join(path...), err)
	}
}

func object(t *testing.T, path ...string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	read(t, u, path...)
	return u
}

// vm is Argo CD's as it is set up with the argocd-cm that is shipped.
func vm(t *testing.T) lua.VM {
	t.Helper()
	var configMap struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   map[string]any    `json:"metadata"`
		Data       map[string]string `json:"data"`
	}
	read(t, &configMap, "argocd-cm.yaml")
	overrides := map[string]appv1.ResourceOverride{}
	key := regexp.MustCompile(`^resource\.customizations\.(health|actions)\.(contacts\.open\.cx)_(\w+)$`)
	for name, value := range configMap.Data {
		found := key.FindStringSubmatch(name)
		if found == nil {
			t.Fatalf("argocd-cm has the key %q", name)
		}
		override := overrides[found[2]+"/"+found[3]]
		if found[1] == "health" {
			override.HealthLua = value
		} else {
			override.Actions = value
		}
		overrides[found[2]+"/"+found[3]] = override
	}
	return lua.VM{ResourceOverrides: overrides}
}

func TestHealth(t *testing.T) {
	for _, kind := range []string{"OpenCXContact", "OpenCXOrganization"} {
		var cases struct {
			Tests []struct {
				InputPath    string              `json:"inputPath"`
				HealthStatus health.HealthStatus `json:"healthStatus"`
			} `json:"tests"`
		}
		read(t, &cases, group, kind, "health_test.yaml")
		tested := map[string]bool{}
		for _, test := range cases.Tests {
			tested[filepath.Join(folder, group, kind, test.InputPath)] = true
			t.Run(kind+"/"+test.InputPath, func(t *testing.T) {
				contact, vm := object(t, group, kind, test.InputPath), vm(t)
				script, _, err := vm.GetHealthScript(contact)
				if err != nil || script == "" {
					t.Fatalf("the script is %q, %v", script, err)
				}
				got, err := vm.ExecuteHealthLua(contact, script)
				if err != nil {
					t.Fatal(err)
				}
				if *got != test.HealthStatus {
					t.Errorf("got  %+v\nwant %+v", *got, test.HealthStatus)
				}
			})
		}
		fixtures, err := filepath.Glob(filepath.Join(folder, group, kind, "testdata", "*.yaml"))
		if err != nil || len(fixtures) == 0 {
			t.Errorf("there are %d fixtures, %v", len(fixtures), err)
		}
		for _, fixture := range fixtures {
			if !tested[fixture] {
				t.Errorf("health_test.yaml does not name %s", fixture)
			}
		}
	}
}

func TestActions(t *testing.T) {
	actions := filepath.Join(group, "OpenCXContact", "actions")
	var cases struct {
		DiscoveryTests []struct {
			InputPath string                 `json:"inputPath"`
			Result    []appv1.ResourceAction `json:"result"`
		} `json:"discoveryTests"`
		ActionTests []struct {
			Action             string `json:"action"`
			InputPath          string `json:"inputPath"`
			ExpectedOutputPath string `json:"expectedOutputPath"`
		} `json:"actionTests"`
	}
	read(t, &cases, actions, "action_test.yaml")
	if len(cases.DiscoveryTests) == 0 || len(cases.ActionTests) == 0 {
		t.Fatal("action_test.yaml tests nothing")
	}
	for _, test := range cases.DiscoveryTests {
		contact, vm := object(t, actions, test.InputPath), vm(t)
		scripts, err := vm.GetResourceActionDiscovery(contact)
		if err != nil {
			t.Fatal(err)
		}
		got, err := vm.ExecuteResourceActionDiscovery(contact, scripts)
		if err != nil {
			t.Fatal(err)
		}
		if !equality.Semantic.DeepEqual(got, test.Result) {
			t.Errorf("%s: got %+v, want %+v", test.InputPath, got, test.Result)
		}
	}
	for _, test := range cases.ActionTests {
		contact, vm := object(t, actions, test.InputPath), vm(t)
		action, err := vm.GetResourceAction(contact, test.Action)
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now().Add(-time.Second)
		got, err := vm.ExecuteResourceAction(contact, action.ActionLua, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].K8SOperation != lua.PatchOperation {
			t.Fatalf("%s: got %+v", test.InputPath, got)
		}
		after := got[0].UnstructuredObj
		annotations := after.GetAnnotations()
		requested, err := time.Parse(time.RFC3339, annotations["contacts.open.cx/reconcile-at"])
		if err != nil || requested.Before(before.Truncate(time.Second)) {
			t.Errorf("%s: the annotations are %v, %v", test.InputPath, annotations, err)
		}
		// As in Argo CD's tests, the time is replaced by one that can be expected.
		annotations["contacts.open.cx/reconcile-at"] = "0001-01-01T00:00:00Z"
		after.SetAnnotations(annotations)
		if want := object(t, actions, test.ExpectedOutputPath); !equality.Semantic.DeepEqual(after.Object, want.Object) {
			t.Errorf("%s: got  %v\nwant %v", test.InputPath, after.Object, want.Object)
		}
	}
}
