// Package controller makes OpenCX agree with OpenCXContact objects and reports
// in their status whether it does.
package controller

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
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
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// statusTimeout bounds one status write. Together with opencx.CallTimeout it
// stays under the 30 s that Kubernetes gives a Pod to stop.
const statusTimeout = 10 * time.Second

// ContactReconciler reconciles OpenCXContact objects. Every exported field but
// BudgetGroups is required.
type ContactReconciler struct {
	// Client reads contacts from a cache and writes their status.
	Client client.Client
	// Live reads contacts from the API server.
	Live        client.Reader
	Recorder    events.EventRecorder
	OpenCX      *opencx.Client
	Credentials *Credentials
	// Limit is the budget of each API key.
	Limit budget.Limit
	// BudgetGroups are Secrets whose keys belong to one organization, and so
	// share one budget.
	BudgetGroups [][]types.NamespacedName
	Reservations *Reservations
	// MaySend is asked immediately before each request; an error holds it back.
	MaySend func() error
	// ResyncInterval is for contacts that set none; 0 is never.
	ResyncInterval          time.Duration
	MaxConcurrentReconciles int

	budget  *budget.Budget
	groups  budgetGroups
	keySeed string // of Fingerprint
	memory  memory
	leading atomic.Bool // this process reconciles
}

// +kubebuilder:rbac:groups=contacts.open.cx,resources=opencxcontacts,verbs=get;list;watch
// +kubebuilder:rbac:groups=contacts.open.cx,resources=opencxcontacts/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile looks at one contact: it sends it when a request is due and the
// budget has a slot, and writes what it found into status when that changed.
func (r *ContactReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	contact, err := r.read(ctx, request.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if contact == nil {
		r.budget.Withdraw(askerOf(request.NamespacedName))
		r.memory.forget(request.NamespacedName)
		return ctrl.Result{}, nil
	}
	stored := contact.DeepCopy()
	if unsaved := r.memory.of(contact).unsaved; unsaved != nil {
		contact.Status = *unsaved
	}
	found, err := r.assess(ctx, contact)
	if err != nil {
		r.budget.Withdraw(askerOf(request.NamespacedName)) // its turn goes to the next one
		return ctrl.Result{}, err
	}
	if err := r.writeStatus(ctx, stored, found.status); err != nil {
		return ctrl.Result{}, err
	}
	if found.next.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(time.Until(found.next), time.Millisecond)}, nil
}

// read returns the contact, nil when it is gone or going. It comes from the
// cache, unless that is older than what this process wrote itself.
func (r *ContactReconciler) read(ctx context.Context, name types.NamespacedName) (*v1alpha1.OpenCXContact, error) {
	contact := &v1alpha1.OpenCXContact{}
	err := r.Client.Get(ctx, name, contact)
	if err == nil && r.memory.of(contact).newerThan(contact) {
		err = r.Live.Get(ctx, name, contact)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading contact: %w", err)
	case !contact.DeletionTimestamp.IsZero():
		return nil, nil
	}
	return contact, nil
}

// assess decides what to do with contact and does it.
func (r *ContactReconciler) assess(ctx context.Context, contact *v1alpha1.OpenCXContact) (assessment, error) {
	now := time.Now()
	idle, plan, in, err := r.prepare(ctx, contact, now)
	if err != nil {
		return assessment{}, err
	}
	if idle != nil {
		r.budget.Withdraw(askerOf(client.ObjectKeyFromObject(contact)))
		return *idle, nil
	}
	if plan.unsent || plan.class == budget.Edit {
		r.memory.notice(contact, in.hash+contact.Annotations[v1alpha1.ReconcileAtAnnotation], now)
	}
	slot, turn := r.budget.Take(r.ask(contact, in.key, plan.class))
	if slot == nil {
		return waiting(contact, plan.unsent, turn, now), nil
	}
	if err := cmp.Or(ctx.Err(), r.MaySend()); err != nil {
		slot.Unused()
		return assessment{}, fmt.Errorf("stopping before a request: %w", err)
	}
	o, silentUntil, err := r.send(ctx, slot, in.key, contact.Spec.ContactID, in.payload)
	if err != nil {
		return assessment{}, err
	}
	r.memory.attempted(contact, attempt{in.hash, in.digest, in.keyVersion})
	if o.effect == accepted {
		r.memory.settle(contact, syncLatency.Observe)
	}
	return attempted(contact, in.hash, o, silentUntil, r.ResyncInterval, time.Now()), nil
}

// prepare plans the next request of contact and reads what it needs. idle is
// what contact comes to when no request is due, or none can be made; nil when
// one is to be sent now.
func (r *ContactReconciler) prepare(ctx context.Context, contact *v1alpha1.OpenCXContact, now time.Time) (idle *assessment, p plan, in inputs, err error) {
	if p, err = r.cachedPlan(ctx, contact, now); err != nil {
		return nil, p, in, err
	}
	suspend := contact.Spec.Suspend
	if !suspend {
		older, err := r.olderClaim(ctx, contact)
		if err != nil {
			return nil, p, in, err
		}
		if older != nil {
			return duplicate(contact, older), p, in, nil
		}
	}
	// What is read shows whether there is a change at all: perhaps somebody has
	// only labelled a Secret.
	if suspend && p.unsent || !suspend && (p.due(now) || hasInputProblem(&contact.Status)) {
		in, err = r.readInputs(ctx, contact)
		switch problem, is := errors.AsType[*inputError](err); {
		case is && !suspend:
			return inputMissing(contact, problem, now), p, in, nil
		case err == nil:
			p = r.livePlan(contact, in, now)
		case !is:
			return nil, p, in, err
		}
	}
	switch {
	case suspend:
		return suspended(contact, p.unsent), p, in, nil
	case !p.due(now):
		return unattempted(contact, p.at), p, in, nil
	}
	return nil, p, in, nil
}

// cachedPlan plans by what the cache knows of the contact's sources and key.
func (r *ContactReconciler) cachedPlan(ctx context.Context, contact *v1alpha1.OpenCXContact, now time.Time) (plan, error) {
	hash, err := r.cachedHash(ctx, contact)
	if err != nil {
		return plan{}, err
	}
	last := r.memory.of(contact).attempt
	keyChanged, err := r.keyChanged(ctx, contact, last.keyVersion)
	if err != nil {
		return plan{}, err
	}
	changed := keyChanged || last.hash != "" && last.hash != hash
	return planFor(contact, hash, changed, r.ResyncInterval, now), nil
}

// livePlan plans by what was read. When OpenCX has accepted just that from this
// process, though the object that holds it is another version now, OpenCX need
// not be told.
func (r *ContactReconciler) livePlan(contact *v1alpha1.OpenCXContact, in inputs, now time.Time) plan {
	last := r.memory.of(contact).attempt
	same := last.digest == in.digest
	if same && contact.Status.AppliedHash == last.hash {
		contact.Status.AppliedHash = in.hash
		r.memory.attempted(contact, attempt{in.hash, in.digest, last.keyVersion})
	}
	changed := last.hash != "" && (!same || isUnauthorized(&contact.Status) && last.keyVersion != in.keyVersion)
	return planFor(contact, in.hash, changed, r.ResyncInterval, now)
}

// ask is the wish to send contact with key.
func (r *ContactReconciler) ask(contact *v1alpha1.OpenCXContact, key opencx.APIKey, class budget.Class) budget.Ask {
	fingerprint := key.Fingerprint(r.keySeed)
	return budget.Ask{
		Key:        budget.Key(fingerprint),
		Group:      r.groups.of(r.Credentials.secretOf(contact), fingerprint),
		Credential: r.Credentials.label(contact),
		Asker:      askerOf(client.ObjectKeyFromObject(contact)),
		Class:      class,
	}
}

// send spends slot on one request. A stop of the operator does not cancel it,
// because then nobody would know what OpenCX has.
func (r *ContactReconciler) send(ctx context.Context, slot *budget.Slot, key opencx.APIKey, id string, payload opencx.Contact) (o outcome, silentUntil time.Time, err error) {
	err = r.OpenCX.UpdateContact(context.WithoutCancel(ctx), key, id, payload)
	o, ok := judge(err, id)
	if !ok {
		slot.Unused()
		return outcome{}, time.Time{}, fmt.Errorf("patching contact: %w", err)
	}
	answer, answered := errors.AsType[*opencx.APIError](err)
	switch {
	case o.effect == limited:
		silentUntil = slot.RateLimited(answer.RetryAfter)
	case o.reason == v1alpha1.UnauthorizedReason:
		slot.Unauthorized()
	case o.effect == soft && answered:
		slot.Failed()
	case o.effect == soft:
		slot.NoAnswer()
	default:
		slot.Answered()
	}
	return o, silentUntil, nil
}

// writeStatus replaces the stored status by status, in one patch, and tells of a
// change of state. A write that fails is made up for at the next look, before
// anything is decided.
func (r *ContactReconciler) writeStatus(ctx context.Context, stored *v1alpha1.OpenCXContact, status v1alpha1.OpenCXContactStatus) error {
	if equality.Semantic.DeepEqual(stored.Status, status) {
		return nil
	}
	patch, err := statusPatch(stored.UID, status)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusTimeout)
	defer cancel()
	contact := stored.DeepCopy()
	err = r.Client.Status().Patch(ctx, contact, patch)
	switch {
	case err == nil:
		r.memory.wrote(stored, contact.ResourceVersion, nil)
		r.tell(ctx, stored, contact)
		return nil
	case r.isGone(ctx, stored, err):
		return nil
	default:
		r.memory.wrote(stored, "", &status)
		return fmt.Errorf("writing status: %w", err)
	}
}

// statusPatch asks for no version, because nobody else writes status and labels
// may change at any time. It does ask for the UID: an object that was deleted
// and created again is another one. The API server ignores a UID in a merge
// patch of status, so this is a JSON patch with a test.
func statusPatch(uid types.UID, status v1alpha1.OpenCXContactStatus) (client.Patch, error) {
	data, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/uid", "value": uid},
		{"op": "add", "path": "/status", "value": status},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding status: %w", err)
	}
	return client.RawPatch(types.JSONPatchType, data), nil
}

// isGone says whether a status write failed because its contact is no more, or
// another one has its name.
func (r *ContactReconciler) isGone(ctx context.Context, contact *v1alpha1.OpenCXContact, writeErr error) bool {
	if !apierrors.IsInvalid(writeErr) {
		return apierrors.IsNotFound(writeErr)
	}
	var current v1alpha1.OpenCXContact
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(contact), &current)
	return apierrors.IsNotFound(err) || err == nil && current.UID != contact.UID
}

// tell logs a change of state and records an event for it. The log has no text
// from OpenCX, which may hold personal data.
func (r *ContactReconciler) tell(ctx context.Context, before, after *v1alpha1.OpenCXContact) {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ReadyCondition)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ReadyCondition)
	if was != nil && was.Status == is.Status && was.Reason == is.Reason {
		return
	}
	details := []any{"contactID", after.Spec.ContactID, "ready", is.Status, "reason", is.Reason}
	if e := after.Status.LastError; e != nil {
		details = append(details, "statusCode", e.StatusCode)
	}
	log.FromContext(ctx).Info("Contact changed state", details...)
	eventType := corev1.EventTypeNormal
	switch {
	case is.Reason == v1alpha1.WaitingReason,
		is.Reason == v1alpha1.SyncedReason && (was == nil || was.Reason == v1alpha1.WaitingReason):
		// All goes as it should. An import of thousands would bring as many
		// events, and cost the API server as much as their status.
		return
	case is.Status == metav1.ConditionFalse:
		eventType = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(after, nil, eventType, is.Reason, "UpdateContact", "%s", is.Message)
}

func askerOf(name types.NamespacedName) budget.Asker {
	return budget.Asker{Namespace: name.Namespace, Name: name.Name}
}
