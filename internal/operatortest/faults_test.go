package operatortest

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestAControlPlaneStopsInTimeWithAnotherEtcd(t *testing.T) {
	c, err := StartControlPlane()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Restart(t.Context(), "etcd", 0)
	if err := errors.Join(err, c.Stop()); err != nil {
		t.Error(err)
	}
}

func TestAControlPlaneThatIsRestartedHasWhatItHad(t *testing.T) {
	c, err := StartControlPlane(filepath.Join("..", "..", "config", "crd", "bases"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		for _, program := range []string{"etcd", "kube-apiserver"} {
			if pid, _, err := child(program); err == nil {
				t.Errorf("%s still runs, as %d", program, pid)
			}
		}
	}()
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kept"}, Data: map[string]string{"a": "b"}}
	if err := c.Client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"kube-apiserver", "etcd", "kube-apiserver"} {
		before, _, err := child(program)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Restart(t.Context(), program, 0); err != nil {
			t.Fatal(err)
		}
		if after, _, err := child(program); err != nil || after == before {
			t.Errorf("%s is process %d, and was %d: %v", program, after, before, err)
		}
		kept := &corev1.ConfigMap{}
		if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(object), kept); err != nil || kept.UID != object.UID {
			t.Errorf("after a restart of %s there is %s: %v", program, kept.UID, err)
		}
	}
	if err := c.Restart(t.Context(), "nothing", 0); err == nil || !strings.Contains(err.Error(), "no nothing that this process started") {
		t.Errorf("error = %v", err)
	}

	proxy, err := c.StartAPIProxy()
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	token, err := c.Kubectl(t.Context(), `{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"someone"}}`, "create", "-f", "-")
	if err == nil {
		token, err = c.Kubectl(t.Context(), "", "create", "token", "someone")
	}
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.NewDefaultClientConfig(proxy.Kubeconfig(strings.TrimSpace(token)), nil).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	through, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	get := func() error { return through.Get(t.Context(), client.ObjectKeyFromObject(object), &corev1.ConfigMap{}) }
	if err := get(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "system:serviceaccount:default:someone") {
		t.Errorf("error = %v, want that the ServiceAccount may not", err)
	}
	asked := ""
	proxy.Inject(func(r *http.Request) APIFault {
		asked = r.Method + " " + r.URL.Path
		return APIFault{Status: &metav1.Status{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict}}
	})
	if err := get(); !apierrors.IsConflict(err) || asked != "GET /api/v1/namespaces/default/configmaps/kept" {
		t.Errorf("error = %v for %s, want the conflict", err, asked)
	}
	proxy.ClearFaults()
	if err := get(); !apierrors.IsForbidden(err) {
		t.Errorf("error = %v after ClearFaults", err)
	}
}
