package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
	"github.com/opencx-labs/opencx-operator/internal/reservations"
)

// Options are the settings of the operator. Every field but Scope is required.
type Options struct {
	OpenCX *opencx.Client
	// Recorder is told of changes of state that are worth an event.
	Recorder events.EventRecorder
	// Scope is what this instance looks after.
	Scope organization.Scope
	// DefaultOrganization is that of contacts that name none.
	DefaultOrganization types.NamespacedName
	// OwnNamespace is where the operator keeps what it has reserved.
	OwnNamespace string
	// Limit is the most that an organization may use.
	Limit budget.Limit
	// Share is the part of every limit that this instance may use: more than 0 to 1.
	Share float64
	// ResyncInterval is for contacts that set none, of organizations that set none; 0
	// is never.
	ResyncInterval time.Duration
	// Drift is when OpenCX is asked what has changed, of organizations that do not say.
	Drift drift.Timing
	// MaxConcurrentReconciles is how many requests may be under way at one time.
	MaxConcurrentReconciles int
	// Lease is asked immediately before each request and each write, whether this
	// process will lead for that long; an error holds it back.
	Lease func(left time.Duration) error
}

const (
	// spareWorkers look at contacts while all requests that may be under way are.
	spareWorkers = 2
	// readShare is which part of the workers may read values of one namespace at a time.
	readShare = 4
	// sweepWorkers are how many organizations may be asked at one time what has changed.
	sweepWorkers = 4
	// maxRetry bounds how long a contact waits that could not be looked at, or whose
	// status could not be written, so that it is in time when the API server is back.
	maxRetry = 30 * time.Second
	// reviewTimeout bounds how long the API server is asked, at the start, for permissions.
	reviewTimeout = 5 * time.Second
)

// Setup registers the controllers with mgr, whose cache must be as
// organization.CacheOptions says, and returns their metrics.
func Setup(mgr ctrl.Manager, options Options) (prometheus.Collector, error) {
	readsNamespaces, err := mayReadNamespaces(mgr)
	if err != nil {
		return nil, err
	}
	if err := readEarly(mgr, readsNamespaces); err != nil {
		return nil, err
	}
	contacts, organizations, sweeps := newQueue("opencxcontact"), newQueue("opencxorganization"), newQueue("driftsweep")
	wake := func(name types.NamespacedName) { contacts.add(0, name) }
	wakeLater := func(name types.NamespacedName) { contacts.add(handler.LowPriority, name) }
	wakeContacts := wakerOfContacts(mgr.GetClient(), wakeLater)
	kept := reservations.New(mgr.GetClient(), mgr.GetAPIReader(), options.OwnNamespace)
	known := organization.New(organization.Options{
		Cache: mgr.GetClient(), Live: mgr.GetAPIReader(), Default: options.DefaultOrganization, Scope: options.Scope,
		ReadsNamespaces: readsNamespaces, Limit: options.Limit, Share: options.Share, ResyncInterval: options.ResyncInterval,
		DriftCheckInterval: options.Drift.Interval,
		DuplicateChanged: func(name types.NamespacedName) {
			organizations.Add(reconcile.Request{NamespacedName: name})
			wakeContacts(context.Background(), name) // from the cache, which blocks for nobody
		},
	})
	limit := options.Limit.Part(options.Share)
	slots := budget.New(budget.Options{
		Limit:       limit,
		CallTimeout: opencx.CallTimeout,
		MaxInFlight: options.MaxConcurrentReconciles,
		Wake: func(asker budget.Asker) {
			name := types.NamespacedName{Namespace: asker.Namespace, Name: asker.Name}
			if asker.Sweep {
				sweeps.add(calledPriority, name)
				return
			}
			contacts.add(calledPriority, name)
		},
		Tell: func(asker budget.Asker) {
			if !asker.Sweep { // which says nothing of what it waits for
				contacts.add(handler.LowPriority, types.NamespacedName{Namespace: asker.Namespace, Name: asker.Name})
			}
		},
		Changed: func(name string) {
			organizations.Add(reconcile.Request{NamespacedName: organization.ParseName(name)})
		},
		Active: known.IsActive,
		Save:   kept.Save,
	})
	r := &ContactReconciler{
		Options: options, cache: mgr.GetClient(), live: mgr.GetAPIReader(),
		budget: slots, organizations: known, owners: ownership.NewOwners(mgr.GetClient(), known.NameFor, known.MayUse, wake),
		flights: ownership.NewFlights(wake), memory: newMemory(), reads: newReads(max(1, (options.MaxConcurrentReconciles+spareWorkers)/readShare)),
		wakeIn: func(name types.NamespacedName, after time.Duration) {
			contacts.AddAfter(reconcile.Request{NamespacedName: name}, after)
		},
		wakeSweep: func(name types.NamespacedName, after time.Duration) {
			sweeps.AddAfter(reconcile.Request{NamespacedName: name}, after)
		},
	}
	sweeper := drift.New(drift.Options{
		Timing: options.Drift, OpenCX: options.OpenCX, Budget: slots, Organizations: known, Contacts: swept{r, wakeLater},
		Live: mgr.GetAPIReader(), Lease: options.Lease,
		Wake: func(name types.NamespacedName) { sweeps.add(0, name) },
		Told: func(name types.NamespacedName) { organizations.add(0, name) },
	})
	w := watches{r}
	if err := w.index(mgr); err != nil {
		return nil, err
	}
	// Before the first look of whoever sends, once this process leads.
	var restore sync.Once
	var restored error
	begin := source.Func(func(ctx context.Context, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		restore.Do(func() {
			reserved, err := kept.Load(ctx)
			if err == nil && reserved == nil {
				reserved, err = r.attempts(ctx, limit)
			}
			if err == nil {
				slots.Restore(reserved)
			}
			restored = err
		})
		return restored
	})
	if err := w.contacts(mgr, readsNamespaces).WatchesRawSource(begin).WithOptions(controller.Options{
		MaxConcurrentReconciles: options.MaxConcurrentReconciles + spareWorkers,
		NewQueue:                contacts.self,
	}).Complete(r); err != nil {
		return nil, fmt.Errorf("setting up the contact controller: %w", err)
	}
	if err := w.organizations(mgr, readsNamespaces).WithOptions(controller.Options{NewQueue: organizations.self}).Complete(
		organization.NewReconciler(mgr.GetClient(), options.Recorder, slots, known, sweeper.TellsOf, options.Lease, wakeContacts),
	); err != nil {
		return nil, fmt.Errorf("setting up the organization controller: %w", err)
	}
	if err := w.sweeps(mgr).WatchesRawSource(begin).WithOptions(controller.Options{MaxConcurrentReconciles: sweepWorkers, NewQueue: sweeps.self}).Complete(sweeper); err != nil {
		return nil, fmt.Errorf("setting up the sweeps of drift: %w", err)
	}
	return collector{cache: mgr.GetClient(), budget: slots, organizations: known, leads: mgr.Elected()}, nil
}

// attempts is what the contacts tell of what was sent, for when the ConfigMap with the
// reservations was deleted. It is no full account, and does not tell what was under way:
// so an organization of which a contact was attempted starts as if that had used up its
// limit, and as much as can be under way as if it were.
func (r *ContactReconciler) attempts(ctx context.Context, limit budget.Limit) (map[string]budget.Reservation, error) {
	var contacts v1alpha1.OpenCXContactList
	if err := r.cache.List(ctx, &contacts, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the last attempts: %w", err)
	}
	all := map[string]budget.Reservation{}
	for i := range contacts.Items {
		name, at := r.organizations.NameFor(&contacts.Items[i]), contacts.Items[i].Status.LastAttemptTime
		before, known := all[name.String()]
		if at == nil || known && before.Used[0].At > at.Unix() { // status has whole seconds
			continue
		}
		if !known {
			window, err := r.organizations.WindowOf(ctx, name)
			if err != nil {
				return nil, err
			}
			before = budget.Reservation{Window: max(window, limit.Window), Open: r.MaxConcurrentReconciles}
		}
		before.Used = []budget.Used{{At: at.Unix() + 1, Slots: limit.Requests}}
		all[name.String()] = before
	}
	return all, nil
}

// queue is the queue of a controller, made before it, so that others may add to it:
// what they call must not block, as a channel of events could.
type queue struct {
	priorityqueue.PriorityQueue[reconcile.Request]
}

// calledPriority is of those whom the budget has called, who each keep one of the few
// places for requests from all others until they are looked at: before what people have
// edited, which is 0, and what comes in thousands, which is handler.LowPriority.
const calledPriority = 1

// add has an object looked at.
func (q queue) add(priority int, name types.NamespacedName) {
	q.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, reconcile.Request{NamespacedName: name})
}

func newQueue(name string) queue {
	return queue{priorityqueue.New(name, func(o *priorityqueue.Opts[reconcile.Request]) {
		o.RateLimiter = retryLimiter()
	})}
}

func retryLimiter() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, maxRetry)
}

// self is what a controller asks for its queue.
func (q queue) self(string, workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return q.PriorityQueue
}

// readEarly has a replica that waits for the lease read what the controllers watch, which
// they themselves ask for when they start. Contacts are read for their indexes.
func readEarly(mgr ctrl.Manager, readsNamespaces bool) error {
	all := []client.Object{&v1alpha1.OpenCXOrganization{}}
	for kind, reads := range map[string]bool{"Secret": true, "ConfigMap": true, "Namespace": readsNamespaces} {
		if reads {
			metadata := &metav1.PartialObjectMetadata{}
			metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
			all = append(all, metadata)
		}
	}
	for _, object := range all {
		if _, err := mgr.GetCache().GetInformer(context.Background(), object, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("watching %T: %w", object, err)
		}
	}
	return nil
}

// mayReadNamespaces asks the API server whether the labels of namespaces may be
// watched: an informer that is forbidden to would never be ready.
func mayReadNamespaces(mgr ctrl.Manager) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), reviewTimeout)
	defer cancel()
	reviews, err := authorizationclient.NewForConfig(mgr.GetConfig())
	if err != nil {
		return false, fmt.Errorf("asking for permissions: %w", err)
	}
	for _, verb := range []string{"list", "watch"} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Version: "v1", Resource: "namespaces"},
		}}
		answer, err := reviews.SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return false, fmt.Errorf("asking for permissions: %w", err)
		}
		if !answer.Status.Allowed {
			mgr.GetLogger().Info("This operator is forbidden to list namespaces, so organizations cannot select them by label")
			return false, nil
		}
	}
	return true, nil
}

// contacts is the controller of contacts, without its reconciler.
func (w watches) contacts(mgr ctrl.Manager, readsNamespaces bool) *builder.Builder {
	b := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.OpenCXContact{}, builder.WithPredicates(contactChanges)).
		Watches(&v1alpha1.OpenCXOrganization{}, fanOut(0, w.contactsOfOrganization), builder.WithPredicates(laterChanges)).
		WatchesMetadata(&corev1.Secret{}, fanOut(0, w.usersOfSecret), builder.WithPredicates(notInitial)).
		WatchesMetadata(&corev1.Secret{}, fanOut(readyDelay, w.readyUsersOfKey), builder.WithPredicates(notInitial)).
		WatchesMetadata(&corev1.ConfigMap{}, fanOut(0, w.usersOfConfigMap), builder.WithPredicates(notInitial))
	if readsNamespaces {
		b.WatchesMetadata(&corev1.Namespace{}, fanOut(0, w.contactsOfNamespace), builder.WithPredicates(labelChanges))
	}
	return b
}

// organizations is the controller of organizations, without its reconciler.
func (w watches) organizations(mgr ctrl.Manager, readsNamespaces bool) *builder.Builder {
	b := ctrl.NewControllerManagedBy(mgr).Named("opencxorganization").
		Watches(&v1alpha1.OpenCXOrganization{}, handler.EnqueueRequestsFromMapFunc(w.organizationAndDuplicates), builder.WithPredicates(specChanges)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(w.holdersOfKey), builder.WithPredicates(notInitial)).
		Watches(&v1alpha1.OpenCXContact{}, w.counted())
	if readsNamespaces {
		b.WatchesMetadata(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(w.selectingOrganizations), builder.WithPredicates(labelChanges))
	}
	return b
}

// sweeps is the controller of the sweeps of drift, without its reconciler.
func (w watches) sweeps(mgr ctrl.Manager) *builder.Builder {
	return ctrl.NewControllerManagedBy(mgr).Named("driftsweep").
		Watches(&v1alpha1.OpenCXOrganization{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(specChanges)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(w.holdersOfKey), builder.WithPredicates(notInitial))
}
