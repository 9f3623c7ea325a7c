package organization

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// one is a cache with one organization at most, and the labels of namespaces. Nothing of
// an organization's Secret can be read from it.
type one struct {
	namespaces
	organization *v1alpha1.OpenCXOrganization
}

var errSecret = errors.New("a Secret was asked for")

// Get implements client.Reader.
func (o one) Get(ctx context.Context, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
	switch into := into.(type) {
	case *v1alpha1.OpenCXOrganization:
		if o.organization == nil {
			return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
		}
		*into = *o.organization
		return nil
	case *metav1.PartialObjectMetadata:
		if into.Kind == "Namespace" {
			return o.namespaces.Get(ctx, name, into, options...)
		}
	}
	return errSecret
}

// All that becomes of a contact comes from this, so what is equal here takes the same
// time, too.
func TestWhatAContactKnowsOfAClosedOrganizationIsWhatItKnowsOfAMissingOne(t *testing.T) {
	const message = "OpenCXOrganization crm/acme does not exist, or does not allow contacts of namespace shop: ask who keeps namespace crm to create it, or to allow shop in its spec.allowedNamespaces"
	selector := &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "sales"}}}
	for name, tt := range map[string]struct {
		change func(*v1alpha1.OpenCXOrganization) // nil for one that does not exist
		known  namespaces
	}{
		"that does not exist": {nil, namespaces{"shop": {}}},
		"that is closed":      {func(*v1alpha1.OpenCXOrganization) {}, namespaces{"shop": {}}},
		"that says so": {func(o *v1alpha1.OpenCXOrganization) {
			o.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}
		}, namespaces{"shop": {}}},
		"that selects others":                {func(o *v1alpha1.OpenCXOrganization) { o.Spec.AllowedNamespaces = selector }, namespaces{"shop": {"team": "research"}}},
		"that selects, of no such namespace": {func(o *v1alpha1.OpenCXOrganization) { o.Spec.AllowedNamespaces = selector }, namespaces{}},
		"that is suspended":                  {func(o *v1alpha1.OpenCXOrganization) { o.Spec.Suspend = true }, namespaces{"shop": {}}},
		"that is being deleted, and open": {func(o *v1alpha1.OpenCXOrganization) {
			o.DeletionTimestamp, o.Spec.AllowedNamespaces = &metav1.Time{}, &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}
			o.DeletionTimestamp.Time = time.Unix(1, 0)
		}, namespaces{"shop": {}}},
		"that has limits of its own": {func(o *v1alpha1.OpenCXOrganization) {
			o.Spec.RateLimit, o.Spec.ResyncInterval = rate(1, time.Hour), &metav1.Duration{Duration: time.Hour}
		}, namespaces{"shop": {}}},
	} {
		cache := one{namespaces: tt.known}
		if tt.change != nil {
			cache.organization = &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: "acme"}}
			tt.change(cache.organization)
		}
		o := New(Options{Cache: cache, Live: cache, ReadsNamespaces: true, Limit: budget.DefaultLimit, Share: 1})
		contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
		contact.Spec.OrganizationRef = &v1alpha1.OrganizationReference{Namespace: "crm", Name: "acme"}
		got, err := o.Of(t.Context(), contact)
		want := Organization{Name: types.NamespacedName{Namespace: "crm", Name: "acme"}}
		problem := status.Problem{Reason: "OrganizationNotFound", Message: message, Missing: true}
		if err != nil || got.Problem == nil || *got.Problem != problem {
			t.Errorf("one %s: %+v, %v", name, got.Problem, err)
		}
		if got.Problem = nil; got != want {
			t.Errorf("of one %s a contact knows %+v, want %+v", name, got, want)
		}
	}
}

// Whoever keeps that namespace can do nothing about it.
func TestAContactIsToldThatNobodyLooksAtTheNamespaceOfItsOrganization(t *testing.T) {
	const message = "The operator does not look at OpenCXOrganizations of namespace crm, so nothing is known of crm/acme: ask who runs the operator to add crm to its --watch-namespaces, or name another one in spec.organizationRef"
	for _, there := range []bool{true, false} {
		cache := one{namespaces: namespaces{"shop": {}}}
		if there {
			cache.organization = &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: "acme"}}
			cache.organization.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}
		}
		o := New(Options{
			Cache: cache, Live: cache, Limit: budget.DefaultLimit, Share: 1, Scope: Scope{Namespaces: []string{"shop"}},
			Default: types.NamespacedName{Namespace: "opencx-system", Name: "default"},
		})
		contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
		contact.Spec.OrganizationRef = &v1alpha1.OrganizationReference{Namespace: "crm", Name: "acme"}
		got, err := o.Of(t.Context(), contact)
		problem := status.Problem{Reason: "OrganizationNotFound", Message: message, Missing: true}
		if err != nil || got.Problem == nil || *got.Problem != problem {
			t.Errorf("of one that exists (%t) it is told %+v, %v", there, got.Problem, err)
		}
	}
}

func TestNothingIsKeptOfOrganizationsThatTenantsInvent(t *testing.T) {
	o := New(Options{Cache: one{}, Live: one{}, Limit: budget.DefaultLimit, Share: 1})
	r := NewReconciler(nil, nil, budget.New(budget.Options{Limit: budget.DefaultLimit}), o, nil, nil, nil)
	for i := range 10_000 { // as the contacts that name them have them looked at
		name := types.NamespacedName{Namespace: "shop", Name: fmt.Sprintf("invented-%d", i)}
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
			t.Fatal(err)
		}
		if key, err := o.Key(t.Context(), name); err != nil || key.Problem == nil {
			t.Fatalf("a key of %s: %v", name, err)
		}
		o.KeyProven(name, "7")
	}
	if kept := len(r.wrote) + len(r.told) + len(o.keys.held) + len(o.keys.readings.uses) + len(o.keys.readings.bySecret); kept != 0 {
		t.Errorf("%d things are kept, want none", kept)
	}
	if states := r.budget.States(); len(states) != 0 {
		t.Errorf("the budget has %d accounts, want none", len(states))
	}
}
