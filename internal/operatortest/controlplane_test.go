package operatortest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

func TestAControlPlaneHasTheOrganizationsThatAreCreated(t *testing.T) {
	c, err := StartControlPlane(filepath.Join("..", "..", "config", "crd", "bases"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(c.Folder); !os.IsNotExist(err) {
			t.Errorf("%s is left behind: %v", c.Folder, err)
		}
	}()
	plain, other := types.NamespacedName{Namespace: "shop", Name: "plain"}, types.NamespacedName{Namespace: "shop", Name: "other"}
	if err := c.CreateOrganization(t.Context(), plain, "one"); err != nil {
		t.Fatal(err)
	}
	err = c.CreateOrganization(t.Context(), other, "two", func(o *v1alpha1.OpenCXOrganization) {
		o.Spec.APIKeySecretRef = v1alpha1.APIKeySecretReference{Name: "keys", Key: "second"}
		o.Spec.AllowedNamespaces = nil
	})
	if err != nil {
		t.Fatal(err)
	}
	kubectl := func(stdin string, args ...string) string {
		t.Helper()
		output, err := c.Kubectl(t.Context(), stdin, append([]string{"-n", "shop"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return output
	}
	got := kubectl("", "get", "oxo", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.allowedNamespaces.from} {end}`) +
		kubectl("", "get", "secrets", "-o", `jsonpath={.items[*].data}`)
	if want := `other  plain All {"second":"dHdv"} {"apiKey":"b25l"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := c.DeleteOrganization(t.Context(), other); err != nil {
		t.Error(err)
	}
	if got := kubectl("", "get", "oxo,secrets", "-o", "name"); !strings.Contains(got, "plain") || strings.Contains(got, "keys") || strings.Contains(got, "other") {
		t.Errorf("there are %s", got)
	}

	kubectl(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"from-stdin"}}`, "create", "-f", "-")
	_, err = c.Kubectl(t.Context(), "", "get", "nothing")
	if err == nil || !strings.Contains(err.Error(), "running kubectl get nothing: exit status 1\n") {
		t.Errorf("error = %v", err)
	}
}

func TestAControlPlaneThatCannotStartSaysWhatToDo(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	t.Setenv("KUBEBUILDER_ASSETS", temporary)
	_, err := StartControlPlane()
	if err == nil || !strings.Contains(err.Error(), "is KUBEBUILDER_ASSETS set, as make") {
		t.Errorf("error = %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(temporary, "opencx-*")); len(left) > 0 || err != nil {
		t.Errorf("it left %v behind: %v", left, err)
	}
}
