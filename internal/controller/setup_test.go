package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

func TestOnlyWhatCanMakeARequestDueIsLookedAt(t *testing.T) {
	for name, tt := range map[string]struct {
		change        func(*v1alpha1.OpenCXContact)
		contact, spec bool // as a contact's own change; as that of a spec
	}{
		"nothing":       {func(*v1alpha1.OpenCXContact) {}, false, false},
		"a label":       {func(c *v1alpha1.OpenCXContact) { c.Labels = map[string]string{"a": "b"} }, false, false},
		"an annotation": {func(c *v1alpha1.OpenCXContact) { c.Annotations = map[string]string{"a": "b"} }, false, false},
		"status":        {func(c *v1alpha1.OpenCXContact) { c.Status.ConsecutiveFailures = 1 }, false, false},
		"the reconcile annotation": {func(c *v1alpha1.OpenCXContact) {
			c.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: "b"}
		}, true, false},
		"spec":     {func(c *v1alpha1.OpenCXContact) { c.Generation = 2 }, true, true},
		"deletion": {func(c *v1alpha1.OpenCXContact) { c.DeletionTimestamp = &metav1.Time{Time: time.Now()} }, true, true},
		// As seen after a watch was interrupted: deleted and created again.
		"another object of the name": {func(c *v1alpha1.OpenCXContact) { c.UID = "b" }, true, true},
	} {
		before := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{UID: "a", Generation: 1}}
		after := before.DeepCopy()
		tt.change(after)
		update := event.UpdateEvent{ObjectOld: before, ObjectNew: after}
		if got := contactChanges.Update(update); got != tt.contact {
			t.Errorf("%s: contact %t, want %t", name, got, tt.contact)
		}
		if got := specChanges.Update(update); got != tt.spec {
			t.Errorf("%s: spec %t, want %t", name, got, tt.spec)
		}
	}
}

func TestWhatIsThereAtTheStartIsLookedAtOnce(t *testing.T) {
	for _, initial := range []bool{true, false} {
		created := event.CreateEvent{Object: &v1alpha1.OpenCXContact{}, IsInInitialList: initial}
		if !contactChanges.Create(created) || !specChanges.Create(created) {
			t.Errorf("initial %t: an object is not looked at for its own sake", initial)
		}
		if laterChanges.Create(created) == initial || notInitial.Create(created) == initial || labelChanges.Create(created) == initial {
			t.Errorf("initial %t: it must be looked at for the sake of others exactly when it came later", initial)
		}
	}
}
