// Package controller makes OpenCX agree with OpenCXContact objects and reports
// in their status whether it does.
package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// statusTimeout bounds one status write. Two of them and opencx.CallTimeout stay
// under the 30 s that controller-runtime gives workers to end.
const statusTimeout = 9 * time.Second

// ContactReconciler reconciles OpenCXContact objects.
type ContactReconciler struct {
	Options

	cache         client.Client // reads from the cache, writes to the API server
	live          client.Reader // reads from the API server
	recorder      events.EventRecorder
	budget        *budget.Budget
	organizations *organization.Organizations
	owners        *ownership.Owners
	flights       *ownership.Flights
	memory        *memory
}

// +kubebuilder:rbac:groups=contacts.open.cx,resources=opencxcontacts,verbs=get;list;watch
// +kubebuilder:rbac:groups=contacts.open.cx,resources=opencxcontacts/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets;configmaps,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile looks at one contact, decides what to do, does it, and reports in
// status what came of it.
func (r *ContactReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	f, ok, err := r.look(ctx, request.NamespacedName)
	if err != nil || !ok {
		return ctrl.Result{}, r.leave(ctx, request.NamespacedName, err)
	}
	d := decide(f, time.Now())
	if d.step == load {
		if f, err = r.load(ctx, f); err != nil {
			return ctrl.Result{}, r.leave(ctx, request.NamespacedName, err)
		}
		d = decide(f, time.Now())
	}
	if debug := log.FromContext(ctx).V(1); debug.Enabled() {
		debug.Info("Decided", "step", d.step.String(), "cause", d.cause.String(), "due", d.at, "unsent", d.unsent)
	}
	result, err := r.act(ctx, &f, d)
	if err != nil {
		return again(err)
	}
	contests := d.step == yield && f.contact.Status.AppliedHash != ""
	told, next := report(f, d, result, time.Now())
	if err := r.write(ctx, &f, told); err != nil {
		if result.answer != nil && errors.Is(err, errOvertaken) {
			r.memory.doubt(f.contact)
		}
		return again(err)
	}
	if contests {
		r.owners.WakeOwner(f.claim)
	}
	if next.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(time.Until(next), time.Millisecond)}, nil
}

// again has a contact looked at again after err. That it was overtaken is no error:
// a moment later, the cache knows of it. Nor is that OpenCX closed an idle connection
// just when it was used: the next request has a new one.
func again(err error) (ctrl.Result, error) {
	switch {
	case errors.Is(err, errOvertaken):
		return ctrl.Result{RequeueAfter: time.Second}, nil
	case errors.Is(err, errLost):
		return ctrl.Result{RequeueAfter: time.Millisecond}, nil
	}
	return ctrl.Result{}, err
}

// leave gives up a contact's turn, which goes to the next one: for now, when it
// could not be looked at, or for good, when it is gone.
func (r *ContactReconciler) leave(ctx context.Context, name types.NamespacedName, err error) error {
	r.budget.Withdraw(budget.Asker(name))
	if err == nil {
		r.memory.forget(name)
		err = r.owners.Gone(ctx, name)
	}
	return err
}

// act does what was decided. It is the only place that takes a slot and sends.
// Before something else is sent than OpenCX has, it writes the doubt about that.
func (r *ContactReconciler) act(ctx context.Context, f *facts, d decision) (result, error) {
	asker := budget.Asker(client.ObjectKeyFromObject(f.contact))
	waiting := result{waitsForAnother: true, unsentSince: r.memory.notice(f, d.unsent)}
	if d.step != send {
		r.budget.Withdraw(asker)
		return waiting, nil
	}
	flight, ok := r.flights.Begin(f.claim, types.NamespacedName(asker))
	if !ok {
		r.budget.Withdraw(asker)
		return waiting, nil // for the end of another request of this contactID
	}
	defer flight.End()
	slot, wait := r.budget.Take(budget.Ask{
		Organization: f.organization.Name.String(),
		Limit:        f.organization.Limit,
		Key:          f.loaded.key.Key,
		Asker:        asker,
		Class:        d.cause.class(),
		Past:         f.past(),
	})
	if slot == nil {
		log.FromContext(ctx).V(1).Info("Waiting", "class", d.cause.class().String(), "at", wait.At, "obstacle", wait.Obstacle.String())
		waiting.wait, waiting.waitsForAnother = wait, false
		return waiting, nil
	}
	if err := r.prepare(ctx, f); err != nil {
		slot.Unused()
		return result{}, fmt.Errorf("stopping before a request: %w", err)
	}
	return r.send(ctx, slot, flight, f)
}

// prepare writes the doubt, if there is a need to, and asks whether this process
// may still send.
func (r *ContactReconciler) prepare(ctx context.Context, f *facts) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if told, needed := doubt(*f); needed {
		// Not to be made up for when it fails: nothing is sent, so there is no doubt,
		// and a doubt that nobody stored must not pass for one at the next look.
		if err := r.store(ctx, f, told); err != nil {
			return err
		}
	}
	return r.Lease(opencx.CallTimeout)
}

// send spends slot on one request. A stop of the operator does not cancel it,
// because then nobody would know what OpenCX has.
func (r *ContactReconciler) send(ctx context.Context, slot *budget.Slot, flight *ownership.Flight, f *facts) (result, error) {
	began := time.Now()
	slot.Sent()
	err := r.OpenCX.UpdateContact(context.WithoutCancel(ctx), f.loaded.key.APIKey, f.contact.Spec.ContactID, f.loaded.payload)
	a, ok := answerOf(err)
	if !ok {
		slot.Unused()
		return result{}, fmt.Errorf("patching contact: %w", err)
	}
	if lost, is := errors.AsType[*opencx.NoAnswerError](err); is {
		if lost.MayArrive() {
			flight.Until = began.Add(opencx.CallTimeout)
		}
		if lost.ConnectionWasIdle() && f.past() != budget.Failed {
			slot.Lost()
			return result{}, errLost
		}
	}
	came := result{answer: &a, sent: status.Attempt{Hash: f.hash, KeyVersion: f.loaded.key.Version}}
	came.silentUntil = a.end(slot, a.retryAfter)
	if f.sourced {
		r.memory.sent(f.contact, sent{f.hash, f.loaded.digest})
	}
	if a.effect == accepted {
		r.memory.settle(f.contact, syncLatency.Observe)
		if key := f.loaded.key; !key.Proven {
			r.organizations.KeyProven(f.organization.Name, key.Version)
		}
	}
	return came, nil
}

// write stores told. A write that fails is made up for at the next look, before
// anything is decided.
func (r *ContactReconciler) write(ctx context.Context, f *facts, told v1alpha1.OpenCXContactStatus) error {
	err := r.store(ctx, f, told)
	if err != nil && !errors.Is(err, errOvertaken) {
		r.memory.wrote(f.contact, "", &told)
	}
	return err
}

// store replaces the stored status by told, in one patch, and says so where people
// look. Afterwards f is as it is stored.
func (r *ContactReconciler) store(ctx context.Context, f *facts, told v1alpha1.OpenCXContactStatus) error {
	stored := f.contact
	if equality.Semantic.DeepEqual(stored.Status, told) {
		r.memory.wrote(stored, "", nil)
		return nil
	}
	version, err := r.patch(ctx, stored, told)
	switch {
	case err == nil:
		after := *stored
		after.ResourceVersion, after.Status = version, told
		f.contact, f.status, f.state = &after, told, stateOf(&told)
		r.memory.wrote(stored, version, nil)
		r.tell(ctx, stored, &after)
		return nil
	case apierrors.IsNotFound(err), status.IsOvertaken(err):
		// It is another contact by now, or another process has attempted it: what
		// this one knows is worth nothing.
		r.memory.forget(client.ObjectKeyFromObject(stored))
		return errOvertaken
	}
	return fmt.Errorf("writing status: %w", err)
}

var (
	errOvertaken = errors.New("the contact is another one than when it was looked at")
	errLost      = errors.New("the connection was closed before the request")
)

// patch stores told, unless contact is another one by now, or another process has
// attempted it since it was read. It returns the version that this made.
func (r *ContactReconciler) patch(ctx context.Context, contact *v1alpha1.OpenCXContact, told v1alpha1.OpenCXContactStatus) (version string, err error) {
	var attempted any // null is also true of nothing
	if contact.Status.AttemptedHash != "" {
		attempted = contact.Status.AttemptedHash
	}
	patch, err := status.Patch(contact.UID, told,
		status.Test{Path: "/status/attemptedHash", Value: attempted},
		status.Test{Path: "/status/lastAttemptTime", Value: contact.Status.LastAttemptTime})
	if err != nil {
		return "", err
	}
	if err := r.Lease(0); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statusTimeout)
	defer cancel()
	// Only the metadata comes back: the rest is known.
	after := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: contact.Namespace, Name: contact.Name}}
	after.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("OpenCXContact"))
	err = r.cache.Status().Patch(ctx, after, patch)
	return after.ResourceVersion, err
}

// tell logs a change of state and records an event for it. The log has no text
// from OpenCX, which may hold personal data.
func (r *ContactReconciler) tell(ctx context.Context, before, after *v1alpha1.OpenCXContact) {
	was, is := stateOf(&before.Status), stateOf(&after.Status)
	if was.ready == is.ready && was.reason == is.reason || is.message == beingSent {
		return
	}
	details := []any{"contactID", after.Spec.ContactID, "ready", is.ready, "reason", is.reason}
	if e := after.Status.LastError; e != nil {
		details = append(details, "statusCode", e.StatusCode)
	}
	log.FromContext(ctx).Info("Contact changed state", details...)
	eventType := corev1.EventTypeNormal
	switch {
	case is.reason == v1alpha1.WaitingReason,
		is.reason == v1alpha1.SyncedReason && (was.ready == "" || was.reason == v1alpha1.WaitingReason):
		// All goes as it should. An import of thousands would bring as many
		// events, and cost the API server as much as their status.
		return
	case is.ready == metav1.ConditionFalse:
		eventType = corev1.EventTypeWarning
	}
	r.recorder.Eventf(after, nil, eventType, is.reason, "UpdateContact", "%s", is.message)
}
