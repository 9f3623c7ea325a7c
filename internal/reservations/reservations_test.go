package reservations

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// Whoever labels the ConfigMap while the API server is restarted must not end the process,
// nor keep it from reserving for ever.
func TestItIsSavedOnceTheConfigMapCanBeReadAgain(t *testing.T) {
	var unread error
	server := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
			if unread != nil {
				return unread
			}
			return c.Get(ctx, name, into, options...)
		},
	})
	r := New(server, server, "opencx-system")
	if _, err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	reserve := func(open int) error {
		others, err := r.Save(t.Context(), map[string]budget.Reservation{"crm/acme": {Open: open}})
		if others != nil {
			t.Errorf("it takes what it has written itself for another process's: %v", others)
		}
		return err
	}
	if err := reserve(1); err != nil {
		t.Fatal(err)
	}

	labelled := &corev1.ConfigMap{}
	if err := server.Get(t.Context(), r.name, labelled); err != nil {
		t.Fatal(err)
	}
	labelled.Labels["team"] = "support"
	if err := server.Update(t.Context(), labelled); err != nil {
		t.Fatal(err)
	}
	unread = errors.New("the API server is restarted")
	for range 2 {
		if err := reserve(2); !errors.Is(err, unread) {
			t.Fatalf("while it cannot be read: %v", err)
		}
	}
	unread = nil
	if err := reserve(3); err != nil {
		t.Fatal(err)
	}

	later := New(server, server, "opencx-system")
	if got, err := later.Load(t.Context()); err != nil || got["crm/acme"].Open != 3 || later.stored.Labels["team"] != "support" {
		t.Errorf("%v, labels %v, %v; want 3 open, and the label", got, later.stored.Labels, err)
	}
}
