package controller

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
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
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// Scope is what an instance of the operator looks after.
type Scope struct {
	// Namespaces are those of its contacts; empty is all.
	Namespaces []string
	// Contacts selects contacts by their labels; nil is all. It does not apply to
	// the Secrets and ConfigMaps that they name.
	Contacts labels.Selector
}

// CacheOptions is how the manager's cache must treat the objects that this
// package watches: it keeps what is looked at, of what is in scope. The Secret of
// the default key is, wherever it is.
func CacheOptions(scope Scope, defaultSecret *SecretKey) cache.Options {
	var namespaces, secretNamespaces map[string]cache.Config
	if len(scope.Namespaces) > 0 {
		namespaces, secretNamespaces = map[string]cache.Config{}, map[string]cache.Config{}
		for _, namespace := range scope.Namespaces {
			namespaces[namespace], secretNamespaces[namespace] = cache.Config{}, cache.Config{}
		}
		if defaultSecret != nil {
			secretNamespaces[defaultSecret.Namespace] = cache.Config{}
		}
	}
	return cache.Options{
		DefaultNamespaces: namespaces,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.OpenCXContact{}: {Transform: withoutBookkeeping, Label: scope.Contacts},
			&corev1.Secret{}:          {Transform: identityAlone(desired.SecretKind), Namespaces: secretNamespaces},
			&corev1.ConfigMap{}:       {Transform: identityAlone(desired.ConfigMapKind)},
		},
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

// identityAlone keeps of an object's metadata what tells that it has changed. The
// rest can hold the data once more, in the annotation of kubectl apply.
func identityAlone(kind string) toolscache.TransformFunc {
	return func(object any) (any, error) {
		full, ok := object.(metav1.Object)
		if !ok {
			return object, nil // a tombstone
		}
		return &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind},
			ObjectMeta: metav1.ObjectMeta{
				Namespace:       full.GetNamespace(),
				Name:            full.GetName(),
				UID:             full.GetUID(),
				ResourceVersion: full.GetResourceVersion(),
			},
		}, nil
	}
}

// SetupWithManager registers the reconciler and its watches.
func (r *ContactReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.groups.groups = r.BudgetGroups
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
	if err := r.index(mgr); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.OpenCXContact{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: mayNeedRequest})).
		Watches(&v1alpha1.OpenCXContact{}, handler.EnqueueRequestsFromMapFunc(r.siblingsOf), builder.WithPredicates(predicate.Funcs{
			CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }, // at the start, each is looked at
			UpdateFunc: mayNeedRequest,
		})).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.usersOfSecret)).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.usersOfConfigMap)).
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
	r.groups.begin(ctx, seed, r.Credentials.Secrets)
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

// The indexes of contacts, besides contactIDIndex.
const (
	// sourceIndex finds contacts by the objects that hold their values.
	sourceIndex = "sources"
	// keyIndex finds contacts by the Secret that they name for the API key; ""
	// for those that name none.
	keyIndex = "spec.apiKeySecretRef.name"
)

func (r *ContactReconciler) index(mgr ctrl.Manager) error {
	for field, extract := range map[string]func(*v1alpha1.OpenCXContact) []string{
		contactIDIndex: func(contact *v1alpha1.OpenCXContact) []string { return []string{contact.Spec.ContactID} },
		keyIndex: func(contact *v1alpha1.OpenCXContact) []string {
			if ref := contact.Spec.APIKeySecretRef; ref != nil {
				return []string{ref.Name}
			}
			return []string{""}
		},
		sourceIndex: func(contact *v1alpha1.OpenCXContact) []string {
			var objects []string
			for _, source := range desired.Sources(contact.Spec) {
				objects = append(objects, source.Object.String())
			}
			slices.Sort(objects)
			return slices.Compact(objects)
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

// usersOfConfigMap returns the contacts that take values from a ConfigMap.
func (r *ContactReconciler) usersOfConfigMap(ctx context.Context, configMap client.Object) []reconcile.Request {
	return r.contactsBy(ctx, sourceIndex, desired.Object{Kind: desired.ConfigMapKind, Name: configMap.GetName()}.String(), configMap.GetNamespace(), all)
}

// usersOfSecret returns the contacts that take values from a Secret, and those
// whose API key is in it: of these, who is not Ready, because a synced contact
// has no use for its key, and who shares its contactID with others, because one
// of them may now be a duplicate.
func (r *ContactReconciler) usersOfSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	name := client.ObjectKeyFromObject(secret)
	if err := r.groups.refresh(ctx, r.Credentials.Secrets, name); err != nil {
		log.FromContext(ctx).Error(err, "Looking at a changed Secret")
	}
	requests := r.contactsBy(ctx, sourceIndex, desired.Object{Kind: desired.SecretKind, Name: name.Name}.String(), name.Namespace, all)
	usesKey := func(contact *v1alpha1.OpenCXContact) []reconcile.Request {
		requests := r.siblingsOf(ctx, contact)
		if len(requests) > 0 || !isReady(&contact.Status) {
			requests = append(requests, all(contact)...)
		}
		return requests
	}
	requests = append(requests, r.contactsBy(ctx, keyIndex, name.Name, name.Namespace, usesKey)...)
	if d := r.Credentials.DefaultSecret; d != nil && d.NamespacedName == name {
		requests = append(requests, r.contactsBy(ctx, keyIndex, "", metav1.NamespaceAll, usesKey)...)
	}
	return requests
}

// all returns the request to look at contact.
func all(contact *v1alpha1.OpenCXContact) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(contact)}}
}

func (r *ContactReconciler) contactsBy(ctx context.Context, index, value, namespace string, of func(*v1alpha1.OpenCXContact) []reconcile.Request) []reconcile.Request {
	var contacts v1alpha1.OpenCXContactList
	if err := r.Client.List(ctx, &contacts, client.MatchingFields{index: value}, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		log.FromContext(ctx).Error(err, "Listing the contacts of a changed Secret or ConfigMap")
		return nil
	}
	var requests []reconcile.Request
	for i := range contacts.Items {
		requests = append(requests, of(&contacts.Items[i])...)
	}
	return requests
}
