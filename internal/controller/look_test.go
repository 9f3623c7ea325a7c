package controller

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
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
	contact := func(uid types.UID, version string) *v1alpha1.OpenCXContact {
		return &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: uid, ResourceVersion: version}}
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
		r := reconcilerOver(t, movingOn{fakeServer(t, tt.cached), func() {
			if tt.learns {
				remembers.cached(tt.written)
			}
		}}, fakeServer(t, tt.written))
		r.memory = remembers
		f, ok, err := r.look(t.Context(), client.ObjectKeyFromObject(tt.written))
		if err != nil || !ok || f.contact.ResourceVersion != tt.written.ResourceVersion {
			t.Errorf("%s: version %q of %q, %t, %v", name, f.contact.GetResourceVersion(), f.contact.GetUID(), ok, err)
		}
	}
}
