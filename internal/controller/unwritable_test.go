package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// A tenant may give a contact so many labels that its status does not fit into etcd.
func TestAContactWhoseStatusCannotBeWrittenDoesNotHoldUpASweep(t *testing.T) {
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: "u", Generation: 1}}
	tooLarge := errors.New("etcdserver: request is too large")
	server := interceptor.NewClient(fakeServer(t, contact).(client.WithWatch), interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return tooLarge
		},
	})
	r := reconcilerOver(t, server, server)
	r.Drift = drift.DefaultTiming
	for ago, want := range map[time.Duration]bool{time.Second: false, patience*r.Drift.Settling + time.Second: true} {
		done, f := false, known(failed(500))
		r.memory.list(contact, drift.Listing{
			ListedContact: opencx.ListedContact{ID: "jane"}, Organization: f.organization.Name, RequestedAt: time.Now().Add(-ago), Done: func() { done = true },
		})
		f.contact, f.listing = contact, r.memory.of(client.ObjectKeyFromObject(contact)).listing
		if _, err := r.compare(t.Context(), &f, decision{step: rest}); !errors.Is(err, tooLarge) || done != want {
			t.Errorf("OpenCX listed it %s ago: error = %v; it is passed over: %t, want %t", ago, err, done, want)
		}
	}
}
