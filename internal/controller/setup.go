package controller

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// CacheByObject is how the manager's cache must treat the objects that this
// package watches: it keeps what is looked at.
func CacheByObject() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&v1alpha1.OpenCXContact{}: {Transform: withoutBookkeeping},
		&corev1.Secret{}:          {Transform: identityAlone},
	}
}

// withoutBookkeeping removes what tools note about an object, which can be more
// than the object.
func withoutBookkeeping(object any) (any, error) {
	if full, ok := object.(metav1.Object); ok { // not a tombstone
		full.SetManagedFields(nil)
		delete(full.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
	}
	return object, nil
}

// identityAlone keeps of a Secret's metadata what tells that it has changed. The
// rest can hold the data once more, in the annotation of kubectl apply.
func identityAlone(object any) (any, error) {
	full, ok := object.(metav1.Object)
	if !ok {
		return object, nil // a tombstone
	}
	return &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       full.GetNamespace(),
			Name:            full.GetName(),
			UID:             full.GetUID(),
			ResourceVersion: full.GetResourceVersion(),
		},
	}, nil
}

// SetupWithManager registers the reconciler and its watches.
func (r *ContactReconciler) SetupWithManager(mgr ctrl.Manager) error {
	var queue workqueue.TypedRateLimitingInterface[reconcile.Request]
	r.budget = budget.New(budget.Options{
		Limit:       r.Limit,
		CallTimeout: opencx.CallTimeout,
		// The budget puts a contact back into the queue when its turn has come.
		Wake: func(asker budget.Asker) {
			queue.Add(reconcile.Request{NamespacedName: types.NamespacedName(asker)})
		},
		Save: r.Reservations.save,
	})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.OpenCXContact{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: mayNeedRequest})).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.contactsWaitingFor)).
		WatchesRawSource(source.Func(func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			queue = q
			return r.begin(ctx)
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: r.MaxConcurrentReconciles}).
		Complete(r)
}

// begin prepares the budget. It runs before the first Reconcile, once this
// process leads.
func (r *ContactReconciler) begin(ctx context.Context) error {
	seed, reservations, err := r.Reservations.load(ctx)
	if err != nil {
		return err
	}
	r.budget.Restore(reservations)
	r.keySeed = seed
	r.groups = budgetGroups{groups: r.BudgetGroups, seed: seed}
	r.groups.refreshAll(ctx, r.Credentials.Secrets)
	r.leading.Store(true)
	return nil
}

// mayNeedRequest lets pass what can make a request due. Labels, other
// annotations and status cannot.
func mayNeedRequest(e event.UpdateEvent) bool {
	return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
		// Deleted and created again while the watch was interrupted.
		e.ObjectOld.GetUID() != e.ObjectNew.GetUID() ||
		e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() ||
		e.ObjectOld.GetAnnotations()[v1alpha1.ReconcileAtAnnotation] != e.ObjectNew.GetAnnotations()[v1alpha1.ReconcileAtAnnotation]
}

// contactsWaitingFor returns the contacts whose API key is in the given Secret,
// without those that are Ready: a synced contact has no use for its key. That a
// contact has found no usable key may not be in the cache yet.
func (r *ContactReconciler) contactsWaitingFor(ctx context.Context, secret client.Object) []reconcile.Request {
	name := client.ObjectKeyFromObject(secret)
	if err := r.groups.refresh(ctx, r.Credentials.Secrets, name); err != nil {
		log.FromContext(ctx).Error(err, "Looking at a changed Secret")
	}
	var options []client.ListOption
	if d := r.Credentials.DefaultSecret; d == nil || d.NamespacedName != name {
		options = append(options, client.InNamespace(secret.GetNamespace()))
	}
	var contacts v1alpha1.OpenCXContactList
	if err := r.Client.List(ctx, &contacts, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		log.FromContext(ctx).Error(err, "Listing the contacts of a changed Secret")
		return nil
	}
	contacts.Items = slices.DeleteFunc(contacts.Items, func(contact v1alpha1.OpenCXContact) bool {
		source := r.Credentials.secretOf(&contact)
		return source == nil || source.NamespacedName != name || isReady(&contact.Status)
	})
	requests := make([]reconcile.Request, len(contacts.Items))
	for i := range contacts.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&contacts.Items[i])
	}
	return requests
}
