package organization

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// keyed is a cache and an API server with organizations, each of which has a Secret of
// its own name.
type keyed struct {
	keys  map[string]string // by organization
	order []string          // the older first
	lists int               // of organizations
	// labelled is how often somebody has labelled each Secret.
	labelled int
	reads    map[string]int // live, of Secrets
	fails    map[string]error
	slow     time.Duration // until a read fails
}

// Get implements client.Reader.
func (k *keyed) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	key, found := k.keys[name.Name]
	if !found {
		return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
	}
	switch into := into.(type) {
	case *v1alpha1.OpenCXOrganization:
		*into = *k.organization(name.Name)
	case *metav1.PartialObjectMetadata:
		into.SetUID(types.UID(name.Name))
		into.SetResourceVersion(k.version())
	case *corev1.Secret:
		k.reads[name.Name]++
		if err := k.fails[name.Name]; err != nil {
			time.Sleep(k.slow)
			return err
		}
		into.UID, into.ResourceVersion = types.UID(name.Name), k.version()
		into.Data = map[string][]byte{"apiKey": []byte(key)}
	}
	return nil
}

// version is that of all Secrets.
func (k *keyed) version() string { return strconv.Itoa(7 + k.labelled) }

// List implements client.Reader.
func (k *keyed) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	k.lists++
	for _, name := range k.order {
		into.(*v1alpha1.OpenCXOrganizationList).Items = append(into.(*v1alpha1.OpenCXOrganizationList).Items, *k.organization(name))
	}
	return nil
}

func (k *keyed) organization(name string) *v1alpha1.OpenCXOrganization {
	o := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: name, UID: types.UID(name)}}
	o.Spec.APIKeySecretRef.Name = name
	for i, other := range k.order {
		if other == name {
			o.CreationTimestamp = metav1.Unix(int64(i), 0)
		}
	}
	return o
}

func TestAKeyThatCouldNotBeComparedIsNotTakenForTheOnlyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &keyed{keys: map[string]string{"older": "ocx_a", "younger": "ocx_a"}, order: []string{"older", "younger"}, reads: map[string]int{}, fails: map[string]error{}}
		o := New(Options{Cache: cluster, Live: cluster})
		younger := types.NamespacedName{Namespace: "crm", Name: "younger"}
		cluster.fails["older"] = errors.New("the API server is away")
		for range 2 { // and stops nobody else
			if key, err := o.Key(t.Context(), younger); err != nil || key.Problem != nil {
				t.Errorf("problem %+v, error %v", key.Problem, err)
			}
		}
		delete(cluster.fails, "older")
		time.Sleep(slowRead)
		for range 2 {
			key, err := o.Key(t.Context(), younger)
			if err != nil || key.Problem == nil || key.Problem.Reason != v1alpha1.APIKeyInvalidReason {
				t.Errorf("problem %+v, error %v; want APIKeyInvalid", key.Problem, err)
			}
		}
		if key, err := o.Key(t.Context(), types.NamespacedName{Namespace: "crm", Name: "older"}); err != nil || key.Problem != (*status.Problem)(nil) {
			t.Errorf("the older organization: problem %+v, error %v", key.Problem, err)
		}
	})
}

func TestASecretThatCannotBeReadIsNotReadForEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &keyed{keys: map[string]string{"acme": "ocx_a", "crm": "ocx_b"}, order: []string{"acme", "crm"}, reads: map[string]int{}, fails: map[string]error{}}
		cluster.fails["acme"] = errors.New("its Secret cannot be decrypted")
		o := New(Options{Cache: cluster, Live: cluster})
		for second := range 3 {
			for range 100 {
				if key, err := o.Key(t.Context(), types.NamespacedName{Namespace: "crm", Name: "crm"}); err != nil || key.Problem != nil {
					t.Errorf("problem %+v, error %v", key.Problem, err)
				}
				if _, err := o.Key(t.Context(), types.NamespacedName{Namespace: "crm", Name: "acme"}); !errors.Is(err, cluster.fails["acme"]) {
					t.Errorf("error %v", err)
				}
			}
			if got := cluster.reads["acme"]; got != second+1 {
				t.Errorf("it was read %d times until second %d", got, second)
			}
			time.Sleep(slowRead)
		}
		delete(cluster.fails, "acme")
		if key, err := o.Key(t.Context(), types.NamespacedName{Namespace: "crm", Name: "acme"}); err != nil || key.Problem != nil {
			t.Errorf("once it can be read: problem %+v, error %v", key.Problem, err)
		}
	})
}

// A status takes a moment to write, and to be in the cache.
func TestADuplicateIsKnownBeforeItsStatusSaysSo(t *testing.T) {
	cluster := &keyed{keys: map[string]string{"older": "ocx_a", "younger": "ocx_a"}, order: []string{"older", "younger"}, reads: map[string]int{}}
	o := New(Options{Cache: cluster, Live: cluster})
	older, younger, told := cluster.organization("older"), cluster.organization("younger"), cluster.organization("told")
	told.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ReadyCondition, Reason: v1alpha1.DuplicateKeyReason}}
	if concerns := o.CompareKeys(); concerns(older) || concerns(younger) || !concerns(told) {
		t.Errorf("before any key is known: %t, %t, %t", concerns(older), concerns(younger), concerns(told))
	}
	if _, err := o.Key(t.Context(), client.ObjectKeyFromObject(younger)); err != nil {
		t.Fatal(err)
	}
	if concerns := o.CompareKeys(); concerns(older) || !concerns(younger) || !concerns(told) {
		t.Errorf("once the keys are compared: %t, %t, %t", concerns(older), concerns(younger), concerns(told))
	}
}

func TestAKeyIsReadOnceForEachVersionOfItsSecret(t *testing.T) {
	cluster := &keyed{keys: map[string]string{"acme": "ocx_a"}, order: []string{"acme"}, reads: map[string]int{}, fails: map[string]error{}}
	o := New(Options{Cache: cluster, Live: cluster})
	for range 3 {
		if key, err := o.Key(t.Context(), types.NamespacedName{Namespace: "crm", Name: "acme"}); err != nil || key.Version != "7" {
			t.Errorf("version %q, error %v", key.Version, err)
		}
	}
	if cluster.reads["acme"] != 1 {
		t.Errorf("%d reads, want one", cluster.reads["acme"])
	}
}

func TestASecretThatIsNotLookedAtIsNotRead(t *testing.T) {
	cluster := &keyed{keys: map[string]string{"default": "ocx_a", "other": "ocx_b"}, order: []string{"default", "other"}, reads: map[string]int{}, fails: map[string]error{}}
	for name, tt := range map[string]struct {
		scope   Scope
		reads   int // of the other organization's
		problem string
	}{
		"one organization's alone":                 {Scope{Namespaces: []string{"shop"}, DefaultAPIKeySecret: "default"}, 0, "spec.apiKeySecretRef: the operator reads no Secret of this namespace but \"default\": name that one, or have its --default-api-key-secret and its Role name another"},
		"all of a namespace with contacts":         {Scope{Namespaces: []string{"shop", "crm"}, DefaultAPIKeySecret: "default"}, 1, ""},
		"all of an operator for the whole cluster": {Scope{DefaultAPIKeySecret: "default"}, 1, ""},
		"all, without the name of one":             {Scope{Namespaces: []string{"shop"}}, 1, ""},
	} {
		clear(cluster.reads)
		o := New(Options{Cache: cluster, Live: cluster, Scope: tt.scope, Default: types.NamespacedName{Namespace: "crm", Name: "default"}})
		for range 3 {
			own, err := o.key(t.Context(), types.NamespacedName{Namespace: "crm", Name: "other"})
			if got := own.problem; err != nil || (got == nil) != (tt.problem == "") || got != nil && (got.Message != tt.problem || got.Reason != v1alpha1.APIKeyNotFoundReason) {
				t.Errorf("%s: problem %+v, error %v", name, got, err)
			}
			if first, err := o.Key(t.Context(), types.NamespacedName{Namespace: "crm", Name: "default"}); err != nil || first.Problem != nil {
				t.Errorf("%s: the default organization: problem %+v, error %v", name, first.Problem, err)
			}
		}
		if cluster.reads["other"] != tt.reads || cluster.reads["default"] != 1 {
			t.Errorf("%s: reads %v, want %d of the other", name, cluster.reads, tt.reads)
		}
	}
}

func TestReadsThatHangAreNotWaitedForOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &keyed{keys: map[string]string{"acme": "ocx_a"}, order: []string{"acme"}, reads: map[string]int{}, fails: map[string]error{"acme": errors.New("timeout")}, slow: 5 * time.Second}
		o := New(Options{Cache: cluster, Live: cluster})
		for _, step := range []struct {
			after time.Duration
			reads int
		}{{0, 1}, {4 * time.Second, 1}, {2 * time.Second, 2}} {
			time.Sleep(step.after)
			if _, err := o.Key(t.Context(), types.NamespacedName{Namespace: "crm", Name: "acme"}); err == nil || cluster.reads["acme"] != step.reads {
				t.Errorf("%s later: %d reads, want %d; error %v", step.after, cluster.reads["acme"], step.reads, err)
			}
		}
	})
}

func TestAKeyIsProvenByOneRequest(t *testing.T) {
	cluster := &keyed{keys: map[string]string{"acme": "ocx_a"}, order: []string{"acme"}, reads: map[string]int{}, fails: map[string]error{}}
	o := New(Options{Cache: cluster, Live: cluster})
	acme := types.NamespacedName{Namespace: "crm", Name: "acme"}
	for _, step := range []struct {
		proves string
		want   bool
	}{{"", false}, {"6", false}, {"7", true}, {"", true}} {
		o.KeyProven(acme, step.proves)
		if key, err := o.Key(t.Context(), acme); err != nil || key.Proven != step.want {
			t.Errorf("after a request with version %q: proven %t, want %t; error %v", step.proves, key.Proven, step.want, err)
		}
	}
	o.KeyProven(types.NamespacedName{Namespace: "crm", Name: "unknown"}, "7")
}

func TestALabelledSecretIsReadAgainAndNotCompared(t *testing.T) {
	cluster := &keyed{keys: map[string]string{"acme": "ocx_a", "crm": "ocx_b"}, order: []string{"acme", "crm"}, reads: map[string]int{}, fails: map[string]error{}}
	o := New(Options{Cache: cluster, Live: cluster})
	for range 3 {
		for _, name := range cluster.order {
			if key, err := o.Key(t.Context(), types.NamespacedName{Namespace: "crm", Name: name}); err != nil || key.Version != cluster.version() {
				t.Errorf("version %q, error %v", key.Version, err)
			}
		}
		cluster.labelled++
	}
	if cluster.reads["acme"] != 3 || cluster.reads["crm"] != 3 || cluster.lists != 1 {
		t.Errorf("%v reads, %d comparisons; want three of each, and one", cluster.reads, cluster.lists)
	}
}

// What one organization's look finds out of another was perhaps told otherwise: in its
// status, or to its contacts.
func TestWhoseKeyBecomesOrCeasesToBeADuplicateIsTold(t *testing.T) {
	cluster := &keyed{keys: map[string]string{"older": "ocx_a", "younger": "ocx_b"}, order: []string{"older", "younger"}, reads: map[string]int{}, fails: map[string]error{}}
	var told []string
	o := New(Options{Cache: cluster, Live: cluster, DuplicateChanged: func(name types.NamespacedName) { told = append(told, name.Name) }})
	look := func(when string, want ...string) {
		t.Helper()
		told = nil
		if _, err := o.Key(t.Context(), client.ObjectKeyFromObject(cluster.organization("older"))); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(told, want) {
			t.Errorf("%s: told of %q, want %q", when, told, want)
		}
	}
	look("at first")
	cluster.keys["younger"] = "ocx_a"
	cluster.labelled++
	o.CompareKeys() // as when the event comes
	look("the younger one gets the key of the older", "younger")
	look("nothing has changed")
	cluster.keys["older"] = "ocx_c"
	cluster.labelled++
	look("the older one gets another key", "younger")
}
