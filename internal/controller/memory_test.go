package controller

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
)

func TestWhatOpenCXListsIsKeptWhenAnotherProcessHasWritten(t *testing.T) {
	m := newMemory()
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: "u"}}
	done := false
	m.list(contact, drift.Listing{Done: func() { done = true }})
	m.wrote(contact, "7", nil)
	m.overtaken(contact, "8")
	if known := m.of(contact); done || known.listing == nil || known.resourceVersion != "8" {
		t.Errorf("done: %t, listing: %v, version: %q", done, known.listing, known.resourceVersion)
	}
	again := contact.DeepCopy()
	again.UID = "v"
	m.ended(again, testTime)
	if !done {
		t.Error("the contact was created again, and the sweep waits for the one before")
	}
}
