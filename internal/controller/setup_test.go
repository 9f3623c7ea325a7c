package controller

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

func TestOnlyWhatCanMakeARequestDueIsLookedAt(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.OpenCXContact)
		want   bool
	}{
		"nothing":       {func(*v1alpha1.OpenCXContact) {}, false},
		"a label":       {func(c *v1alpha1.OpenCXContact) { c.Labels = map[string]string{"a": "b"} }, false},
		"an annotation": {func(c *v1alpha1.OpenCXContact) { c.Annotations = map[string]string{"a": "b"} }, false},
		"status":        {func(c *v1alpha1.OpenCXContact) { c.Status.ConsecutiveFailures = 1 }, false},
		"the reconcile annotation": {func(c *v1alpha1.OpenCXContact) {
			c.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: "b"}
		}, true},
		"spec":     {func(c *v1alpha1.OpenCXContact) { c.Generation = 2 }, true},
		"deletion": {func(c *v1alpha1.OpenCXContact) { c.DeletionTimestamp = &metav1.Time{Time: time.Now()} }, true},
		// As seen after a watch was interrupted: deleted and created again.
		"another object of the name": {func(c *v1alpha1.OpenCXContact) { c.UID = "b" }, true},
	} {
		before := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{UID: "a", Generation: 1}}
		after := before.DeepCopy()
		tt.change(after)
		if got := mayNeedRequest(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}

func TestTheCacheKeepsNothingOfASecretButItsIdentity(t *testing.T) {
	identity := metav1.ObjectMeta{Namespace: "shop", Name: "opencx", UID: "a", ResourceVersion: "7"}
	full := &metav1.PartialObjectMetadata{ObjectMeta: identity}
	full.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "the data once more"}
	full.Labels = map[string]string{"a": "b"}
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	got, err := identityAlone("Secret")(full)
	want := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: identity}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the cache keeps %+v, %v", got, err)
	}
}

func TestTheCacheKeepsAContactWithoutBookkeeping(t *testing.T) {
	full := &v1alpha1.OpenCXContact{}
	full.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "the spec once more", "a": "b"}
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	full.Spec.ContactID = "jane"
	want := &v1alpha1.OpenCXContact{}
	want.Annotations = map[string]string{"a": "b"}
	want.Spec.ContactID = "jane"
	got, err := withoutBookkeeping(full)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the cache keeps %+v, %v", got, err)
	}
}
