package controller

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
)

func TestWhatAnotherOrganizationListsIsNotCompared(t *testing.T) {
	contact := &v1alpha1.OpenCXContact{}
	contact.Namespace, contact.Name, contact.UID = "shop", "jane", "uid"
	contact.Spec = v1alpha1.OpenCXContactSpec{DriftPolicy: v1alpha1.DriftReport, Name: new("Jane")}
	r, done := &ContactReconciler{memory: newMemory()}, 0
	r.Drift = drift.DefaultTiming
	r.memory.list(contact, drift.Listing{
		ListedContact: opencx.ListedContact{ID: "jane", Name: new("Jane")}, RequestedAt: time.Now(), Done: func() { done++ },
		Organization: types.NamespacedName{Namespace: "crm", Name: "before"},
	})
	f := facts{
		contact: contact, title: ownership.Title{Owns: true}, hash: "v1:1", listing: r.memory.of(types.NamespacedName{Namespace: contact.Namespace, Name: contact.Name}).listing,
		organization: organization.Organization{Name: types.NamespacedName{Namespace: "crm", Name: "now"}},
	}
	stored, err := r.compare(t.Context(), &f, decide(f, time.Now()))
	if stored || err != nil || f.status.AppliedHash != "" || done != 1 {
		t.Errorf("stored %t, error %v, status %+v, told the sweep %d times", stored, err, f.status, done)
	}
}
