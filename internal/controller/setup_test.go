package controller

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/organization"
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

func TestWhatTheContactsTellOfTheirLastAttempts(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	at := func(seconds int64) *metav1.Time { return new(metav1.Unix(seconds, 0)) }
	contact := func(name, organization string, last *metav1.Time) *v1alpha1.OpenCXContact {
		c := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: name}}
		c.Spec.OrganizationRef = &v1alpha1.OrganizationReference{Name: organization}
		c.Status.LastAttemptTime = last
		return c
	}
	slow := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: "slow"}}
	slow.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 60, Window: metav1.Duration{Duration: time.Hour}}
	stored := fake.NewClientBuilder().WithScheme(scheme).WithObjects(slow,
		contact("a", "gone", at(100)), contact("b", "gone", at(300)), contact("c", "gone", at(200)), contact("d", "slow", at(50)), contact("e", "new", nil),
	).Build()
	limit := budget.Limit{Requests: 100, Window: time.Minute}
	r := &ContactReconciler{
		Options: Options{MaxConcurrentReconciles: 10}, cache: stored,
		organizations: organization.New(organization.Options{Cache: stored, Limit: limit, Share: 1}),
	}
	got, err := r.attempts(t.Context(), limit)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]budget.Reservation{
		"crm/gone": {Window: time.Minute, Open: 10, Used: []budget.Used{{At: 301, Slots: 100}}},
		"crm/slow": {Window: time.Hour, Open: 10, Used: []budget.Used{{At: 51, Slots: 100}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
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
