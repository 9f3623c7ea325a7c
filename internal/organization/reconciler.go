package organization

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// countInterval is the least time between two writes of an organization's numbers, and
// writeTimeout bounds one: those of all organizations come one after the other.
const countInterval, writeTimeout = 10 * time.Second, 9 * time.Second

// Reconciler reports the state of OpenCXOrganization objects.
type Reconciler struct {
	client        client.Client
	recorder      events.EventRecorder
	budget        *budget.Budget
	organizations *Organizations
	sweeps        func(organization types.NamespacedName) Sweeps
	lease         func(left time.Duration) error
	wakeContacts  func(ctx context.Context, organization types.NamespacedName)

	mu    sync.Mutex
	wrote map[types.NamespacedName]time.Time // the last status
	told  map[types.NamespacedName]string    // the reason why the key cannot be used
}

// Sweeps are what there is to tell of the looks for drift of an organization.
type Sweeps struct {
	// Sweep is the last one, nil when this process has ended none.
	Sweep *v1alpha1.SweepStatus
	// Condition is DriftChecked, nil when there is nothing new to say.
	Condition *metav1.Condition
}

// NewReconciler returns a reconciler. sweeps is asked what there is to tell of drift. lease
// is asked before a write; an error holds it back. wakeContacts has the contacts of an
// organization looked at.
func NewReconciler(c client.Client, recorder events.EventRecorder, b *budget.Budget, organizations *Organizations,
	sweeps func(types.NamespacedName) Sweeps, lease func(left time.Duration) error, wakeContacts func(context.Context, types.NamespacedName)) *Reconciler {
	return &Reconciler{
		client: c, recorder: recorder, budget: b, organizations: organizations, sweeps: sweeps, lease: lease, wakeContacts: wakeContacts,
		wrote: map[types.NamespacedName]time.Time{}, told: map[types.NamespacedName]string{},
	}
}

// +kubebuilder:rbac:groups=contacts.open.cx,resources=opencxorganizations,verbs=get;list;watch
// +kubebuilder:rbac:groups=contacts.open.cx,resources=opencxorganizations/status,verbs=patch

// Reconcile writes what is known of an organization into its status: a change of
// its conditions at once, numbers at most every ten seconds.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	name := request.NamespacedName
	found, err := r.organizations.Get(ctx, name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if found == nil {
		r.organizations.ForgetKey(name)
		r.forget(name)
		return ctrl.Result{}, nil
	}
	f, unread, err := r.look(ctx, found)
	if err != nil {
		return ctrl.Result{}, err
	}
	now := time.Now()
	if unread == nil && r.states(name, f.key.problem) {
		r.wakeContacts(ctx, name)
	}
	told := report(f, now)
	early := r.writtenAt(name).Add(countInterval).Sub(now)
	if early > 0 && sameState(told, found.Status) && !equality.Semantic.DeepEqual(told, found.Status) {
		return ctrl.Result{RequeueAfter: early}, nil
	}
	if err := r.write(ctx, found, told); err != nil {
		return ctrl.Result{}, err
	}
	if unread != nil {
		return ctrl.Result{}, unread
	}
	if told.DrainsAt != nil || meta.IsStatusConditionTrue(told.Conditions, v1alpha1.ReconcilingCondition) {
		return ctrl.Result{RequeueAfter: countInterval}, nil
	}
	return ctrl.Result{}, nil
}

// sameState says that two statuses differ in numbers alone.
func sameState(a, b v1alpha1.OpenCXOrganizationStatus) bool {
	return a.ObservedGeneration == b.ObservedGeneration && equality.Semantic.DeepEqual(a.Conditions, b.Conditions)
}

// look gathers what is known of an organization. unread is why its key is not.
func (r *Reconciler) look(ctx context.Context, organization *v1alpha1.OpenCXOrganization) (f facts, unread, err error) {
	name := client.ObjectKeyFromObject(organization)
	f = facts{
		organization: organization, account: r.budget.Look(name.String()),
		most: r.organizations.Limit, shares: r.organizations.Share < 1,
		sweeps: r.sweeps(name), looks: !organization.Spec.Suspend && r.organizations.DriftCheckIntervalOf(organization) > 0,
	}
	f.limit, f.raises = r.organizations.limitOf(organization)
	allowed := organization.Spec.AllowedNamespaces
	f.blind = !r.organizations.ReadsNamespaces && allowed != nil && allowed.From == v1alpha1.NamespacesFromSelector
	f.key, unread = r.organizations.key(ctx, name)
	f.unread = unread != nil
	return f, unread, r.count(ctx, &f)
}

// count counts the contacts that name the organization and are allowed to.
func (r *Reconciler) count(ctx context.Context, f *facts) error {
	name := client.ObjectKeyFromObject(f.organization)
	var contacts v1alpha1.OpenCXContactList
	if err := r.client.List(ctx, &contacts, client.MatchingFields{Index: name.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing the contacts of an organization: %w", err)
	}
	var total, ready, waiting, failed int32
	may := map[string]bool{}
	for i := range contacts.Items {
		contact := &contacts.Items[i]
		if _, asked := may[contact.Namespace]; !asked {
			var err error
			if may[contact.Namespace], err = r.organizations.allows(ctx, f.organization, contact.Namespace); err != nil {
				return err
			}
		}
		if !may[contact.Namespace] {
			continue
		}
		total++
		switch c := meta.FindStatusCondition(contact.Status.Conditions, v1alpha1.ReadyCondition); {
		case c == nil || c.Status == metav1.ConditionUnknown:
			waiting++
		case c.Status == metav1.ConditionTrue:
			ready++
		default:
			failed++
		}
		if at := contact.Status.LastSyncTime; at != nil && contact.Status.Organization == name.String() && (f.lastSync == nil || f.lastSync.Before(at)) {
			f.lastSync = at
		}
		if applied := contact.Status.AppliedHash; applied != "" && status.ParseAttempt(contact.Status.AttemptedHash) == (status.Attempt{Hash: applied, KeyVersion: f.key.version}) {
			f.proven = true
		}
		interval := ResyncInterval(contact.Spec.ResyncInterval, r.organizations.resyncIntervalOf(f.organization))
		if interval > 0 && !contact.Spec.Suspend && contact.Spec.DriftPolicy != v1alpha1.DriftReport {
			f.resyncs += float64(f.limit.Window) / float64(interval)
		}
	}
	f.contacts = v1alpha1.ContactCounts{Total: &total, Ready: &ready, Waiting: &waiting, Failed: &failed}
	return nil
}

func (r *Reconciler) write(ctx context.Context, stored *v1alpha1.OpenCXOrganization, told v1alpha1.OpenCXOrganizationStatus) error {
	if equality.Semantic.DeepEqual(stored.Status, told) {
		return nil
	}
	if err := r.lease(0); err != nil {
		return err
	}
	patch, err := status.Patch(stored.UID, told)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	after := stored.DeepCopy()
	if err := r.client.Status().Patch(ctx, after, patch); apierrors.IsNotFound(err) {
		return nil // it is gone
	} else if err != nil {
		return fmt.Errorf("writing status: %w", err)
	}
	r.mu.Lock()
	r.wrote[client.ObjectKeyFromObject(stored)] = time.Now()
	r.mu.Unlock()
	r.tell(ctx, stored, after)
	return nil
}

// tell logs a change of state and records an event for it.
func (r *Reconciler) tell(ctx context.Context, before, after *v1alpha1.OpenCXOrganization) {
	for _, conditionType := range []string{v1alpha1.ReadyCondition, v1alpha1.DriftCheckedCondition} {
		was := meta.FindStatusCondition(before.Status.Conditions, conditionType)
		is := meta.FindStatusCondition(after.Status.Conditions, conditionType)
		unchanged := is == nil || was != nil && was.Status == is.Status && was.Reason == is.Reason
		if unchanged || was == nil && is.Reason == v1alpha1.SweptReason { // as it should be
			continue
		}
		log.FromContext(ctx).Info("Organization changed state", strings.ToLower(conditionType[:1])+conditionType[1:], is.Status, "reason", is.Reason)
		eventType := corev1.EventTypeNormal
		if is.Status == metav1.ConditionFalse {
			eventType = corev1.EventTypeWarning
		}
		r.recorder.Eventf(after, nil, eventType, is.Reason, "Observe", "%s", is.Message)
	}
}

// states notes what keeps the key from being used, and says whether it was another
// thing before.
func (r *Reconciler) states(name types.NamespacedName, problem *status.Problem) (changed bool) {
	reason := ""
	if problem != nil {
		reason = problem.Reason
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	changed = r.told[name] != reason
	r.told[name] = reason
	return changed
}

func (r *Reconciler) writtenAt(name types.NamespacedName) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrote[name]
}

func (r *Reconciler) forget(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.wrote, name)
	delete(r.told, name)
}
