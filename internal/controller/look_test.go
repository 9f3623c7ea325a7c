package controller

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
)

// movingOn is a cache that learns something just after a contact was read from it.
type movingOn struct {
	client.Client
	learns func()
}

func (m movingOn) Get(ctx context.Context, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
	err := m.Client.Get(ctx, name, into, options...)
	if _, is := into.(*v1alpha1.OpenCXContact); is {
		m.learns()
	}
	return err
}

func TestNothingIsDecidedOnWhatIsOlderThanTheLastWrite(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	baseURL, err := opencx.ParseBaseURL("https://api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	contact := func(uid types.UID, version string) *v1alpha1.OpenCXContact {
		return &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: uid, ResourceVersion: version}}
	}
	has := func(c *v1alpha1.OpenCXContact) client.Client {
		return fake.NewClientBuilder().WithScheme(scheme).WithObjects(c).WithIndex(c, ownership.Index, func(client.Object) []string { return nil }).Build()
	}
	for name, tt := range map[string]struct {
		cached, written *v1alpha1.OpenCXContact
		learns          bool
	}{
		"which the cache does not know":          {contact("u", "7"), contact("u", "8"), false},
		"which the cache comes to know":          {contact("u", "7"), contact("u", "8"), true},
		"to another one that had the name since": {contact("u", "7"), contact("v", "9"), false},
	} {
		remembers := newMemory()
		remembers.wrote(tt.written, tt.written.ResourceVersion, nil)
		cache := movingOn{has(tt.cached), func() {
			if tt.learns {
				remembers.cached(tt.written)
			}
		}}
		known := organization.New(organization.Options{Cache: cache, Limit: budget.DefaultLimit, Share: 1})
		r := &ContactReconciler{
			Options: Options{OpenCX: opencx.NewClient(baseURL, "test", nil)}, cache: cache, live: has(tt.written), memory: remembers,
			organizations: known, owners: ownership.NewOwners(cache, known.NameFor, known.MayUse, nil),
		}
		f, ok, err := r.look(t.Context(), client.ObjectKeyFromObject(tt.written))
		if err != nil || !ok || f.contact.ResourceVersion != tt.written.ResourceVersion {
			t.Errorf("%s: version %q of %q, %t, %v", name, f.contact.GetResourceVersion(), f.contact.GetUID(), ok, err)
		}
	}
}
