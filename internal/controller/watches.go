package controller

import (
	"context"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
)

// watches say which objects a change of another one concerns.
type watches struct{ r *ContactReconciler }

// The predicates of watches.
var (
	// contactChanges are what can make a request due. Labels, other annotations and
	// status cannot.
	contactChanges = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return hasNewSpec(e) || e.ObjectOld.GetAnnotations()[v1alpha1.ReconcileAtAnnotation] != e.ObjectNew.GetAnnotations()[v1alpha1.ReconcileAtAnnotation]
	}}
	specChanges = predicate.Funcs{UpdateFunc: hasNewSpec}
	// At the start every contact and every organization is looked at anyway.
	laterChanges = predicate.Funcs{CreateFunc: isLater, UpdateFunc: hasNewSpec}
	notInitial   = predicate.Funcs{CreateFunc: isLater}
	labelChanges = predicate.Funcs{CreateFunc: isLater, UpdateFunc: func(e event.UpdateEvent) bool {
		return !maps.Equal(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
	}}
)

func isLater(e event.CreateEvent) bool { return !e.IsInInitialList }

func hasNewSpec(e event.UpdateEvent) bool {
	return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
		// Deleted and created again while the watch was interrupted.
		e.ObjectOld.GetUID() != e.ObjectNew.GetUID() ||
		e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
}

// sourceIndex finds contacts by the objects that hold their values.
const sourceIndex = "sources"

func sourceKey(namespace string, object desired.Object) string {
	return namespace + "/" + object.String()
}

func (w watches) index(mgr ctrl.Manager) error {
	nameFor := w.r.organizations.NameFor
	for field, extract := range map[string]func(*v1alpha1.OpenCXContact) []string{
		organization.Index: func(contact *v1alpha1.OpenCXContact) []string {
			return []string{nameFor(contact).String()}
		},
		ownership.Index: func(contact *v1alpha1.OpenCXContact) []string {
			return []string{ownership.ClaimOf(contact, nameFor(contact)).IndexValue()}
		},
		sourceIndex: func(contact *v1alpha1.OpenCXContact) []string {
			var keys []string
			for _, object := range desired.Objects(&contact.Spec) {
				keys = append(keys, sourceKey(contact.Namespace, object))
			}
			return keys
		},
	} {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.OpenCXContact{}, field, func(object client.Object) []string {
			return extract(object.(*v1alpha1.OpenCXContact))
		}); err != nil {
			return fmt.Errorf("indexing contacts by %s: %w", field, err)
		}
	}
	return nil
}

// contactsBy returns the contacts that an index has under value.
func contactsBy(ctx context.Context, cache client.Reader, index, value string) []types.NamespacedName {
	var contacts v1alpha1.OpenCXContactList
	if err := cache.List(ctx, &contacts, client.MatchingFields{index: value}, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing the contacts that a change concerns")
	}
	names := make([]types.NamespacedName, len(contacts.Items))
	for i := range contacts.Items {
		names[i] = client.ObjectKeyFromObject(&contacts.Items[i])
	}
	return names
}

// wakerOfContacts returns what has the contacts of an organization looked at. A synced one
// has no use for the key, but what the cache says of that may be old.
func wakerOfContacts(cache client.Reader, wake func(types.NamespacedName)) func(context.Context, types.NamespacedName) {
	return func(ctx context.Context, name types.NamespacedName) {
		for _, contact := range contactsBy(ctx, cache, organization.Index, name.String()) {
			wake(contact)
		}
	}
}

// allOrganizations returns those that which says yes to.
func (w watches) allOrganizations(ctx context.Context, which func(*v1alpha1.OpenCXOrganization) bool) []types.NamespacedName {
	var all v1alpha1.OpenCXOrganizationList
	if err := w.r.cache.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing the organizations that a change concerns")
	}
	var names []types.NamespacedName
	for i := range all.Items {
		if which(&all.Items[i]) {
			names = append(names, client.ObjectKeyFromObject(&all.Items[i]))
		}
	}
	return names
}

func requests(names []types.NamespacedName) []reconcile.Request {
	all := make([]reconcile.Request, len(names))
	for i, name := range names {
		all[i].NamespacedName = name
	}
	return all
}

func (w watches) contactsOfOrganization(ctx context.Context, object client.Object) []reconcile.Request {
	return requests(contactsBy(ctx, w.r.cache, organization.Index, client.ObjectKeyFromObject(object).String()))
}

func (w watches) usersOfConfigMap(ctx context.Context, object client.Object) []reconcile.Request {
	key := sourceKey(object.GetNamespace(), desired.Object{Kind: desired.ConfigMapKind, Name: object.GetName()})
	return requests(contactsBy(ctx, w.r.cache, sourceIndex, key))
}

// usersOfSecret returns the contacts that take values from a Secret, and those of the
// organizations whose key is in it that may wait for another one.
func (w watches) usersOfSecret(ctx context.Context, object client.Object) []reconcile.Request {
	key := sourceKey(object.GetNamespace(), desired.Object{Kind: desired.SecretKind, Name: object.GetName()})
	names := contactsBy(ctx, w.r.cache, sourceIndex, key)
	return requests(append(names, w.usersOfKey(ctx, object, false)...))
}

// readyDelay is how much later than others a contact is looked at that is Ready when the
// Secret with the key changes. It seems to have no use for that, but what the cache says of
// it may be old; and most changes are labels, however many there are in a second.
const readyDelay = 10 * time.Second

// readyUsersOfKey returns the contacts that are Ready of the organizations whose key is in
// a Secret.
func (w watches) readyUsersOfKey(ctx context.Context, object client.Object) []reconcile.Request {
	return requests(w.usersOfKey(ctx, object, true))
}

func (w watches) usersOfKey(ctx context.Context, secret client.Object, ready bool) (names []types.NamespacedName) {
	for _, name := range w.allOrganizations(ctx, holdsKeyOf(secret)) {
		var contacts v1alpha1.OpenCXContactList
		if err := w.r.cache.List(ctx, &contacts, client.MatchingFields{organization.Index: name.String()}, client.UnsafeDisableDeepCopy); err != nil {
			log.FromContext(ctx).Error(err, "Listing the contacts that a key concerns")
		}
		for i := range contacts.Items {
			if stateOf(&contacts.Items[i].Status).isReady() == ready {
				names = append(names, client.ObjectKeyFromObject(&contacts.Items[i]))
			}
		}
	}
	return names
}

func holdsKeyOf(secret client.Object) func(*v1alpha1.OpenCXOrganization) bool {
	return func(o *v1alpha1.OpenCXOrganization) bool {
		return o.Namespace == secret.GetNamespace() && o.Spec.APIKeySecretRef.Name == secret.GetName()
	}
}

// contactsOfNamespace returns the contacts of a namespace that use an organization of
// another one, which may select namespaces by their labels.
func (w watches) contactsOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	if !w.r.Scope.HasContacts(object.GetName()) {
		return nil
	}
	var contacts v1alpha1.OpenCXContactList
	if err := w.r.cache.List(ctx, &contacts, client.InNamespace(object.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing the contacts of a namespace")
	}
	var names []types.NamespacedName
	for i := range contacts.Items {
		if contact := &contacts.Items[i]; w.r.organizations.NameFor(contact).Namespace != contact.Namespace {
			names = append(names, client.ObjectKeyFromObject(contact))
		}
	}
	return requests(names)
}

func (w watches) selectingOrganizations(ctx context.Context, _ client.Object) []reconcile.Request {
	return requests(w.allOrganizations(ctx, func(o *v1alpha1.OpenCXOrganization) bool {
		return o.Spec.AllowedNamespaces != nil && o.Spec.AllowedNamespaces.From == v1alpha1.NamespacesFromSelector
	}))
}

// organizationAndDuplicates returns the organization itself, and those whose key
// another one holds: perhaps this one did.
func (w watches) organizationAndDuplicates(ctx context.Context, object client.Object) []reconcile.Request {
	duplicates := w.r.organizations.CompareKeys()
	return requests(append(w.allOrganizations(ctx, duplicates), client.ObjectKeyFromObject(object)))
}

// holdersOfKey returns the organizations whose key is in a Secret. If it is another one
// now, that is compared when one of them is looked at; those of whom this changes what was
// said are told then. Most changes are none of the key.
func (w watches) holdersOfKey(ctx context.Context, object client.Object) []reconcile.Request {
	return requests(w.allOrganizations(ctx, holdsKeyOf(object)))
}

// countDelay lets the changes of a moment come together in one count.
const countDelay = time.Second

// counted has the organization of a contact counted anew when what it counts has
// changed, and the memory of a contact forget what its new version tells.
func (w watches) counted() handler.EventHandler {
	type q = workqueue.TypedRateLimitingInterface[reconcile.Request]
	count := func(object client.Object, queue q) {
		name := w.r.organizations.NameFor(object.(*v1alpha1.OpenCXContact))
		queue.AddAfter(reconcile.Request{NamespacedName: name}, countDelay)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue q) {
			if !e.IsInInitialList {
				count(e.Object, queue)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue q) {
			before, after := e.ObjectOld.(*v1alpha1.OpenCXContact), e.ObjectNew.(*v1alpha1.OpenCXContact)
			w.r.seen(ctx, client.ObjectKeyFromObject(after))
			if stateOf(&before.Status) != stateOf(&after.Status) || !before.Status.LastSyncTime.Equal(after.Status.LastSyncTime) || hasNewSpec(e) {
				count(before, queue) // it may have been of another organization
				count(after, queue)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue q) { count(e.Object, queue) },
	}
}
