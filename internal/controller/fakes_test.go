package controller

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
)

// fakeServer keeps objects, for tests of what does not depend on an API server. Nobody
// else in it claims a contactID.
func fakeServer(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	contact := &v1alpha1.OpenCXContact{}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(contact).
		WithIndex(contact, ownership.Index, func(client.Object) []string { return nil }).Build()
}

// reconcilerOver returns a reconciler that reads cache, and live what it must know for sure.
func reconcilerOver(t *testing.T, cache client.Client, live client.Reader) *ContactReconciler {
	t.Helper()
	baseURL, err := opencx.ParseBaseURL("https://api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	known := organization.New(organization.Options{Cache: cache, Limit: budget.DefaultLimit, Share: 1, ResyncInterval: 24 * time.Hour})
	return &ContactReconciler{
		Options: Options{OpenCX: opencx.NewClient(baseURL, "test", nil), Lease: func(time.Duration) error { return nil }},
		cache:   cache, live: live, organizations: known, owners: ownership.NewOwners(cache, known.NameFor, known.MayUse, nil),
		budget: budget.New(budget.Options{Limit: budget.DefaultLimit}), memory: newMemory(), reads: newReads(1),
	}
}
