// Package controller makes OpenCX agree with OpenCXContact objects and reports
// in their status whether it does.
package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// ContactReconciler reconciles OpenCXContact objects.
type ContactReconciler struct {
	Options

	cache         client.Client // reads from the cache, writes to the API server
	live          client.Reader // reads from the API server
	budget        *budget.Budget
	organizations *organization.Organizations
	owners        *ownership.Owners
	flights       *ownership.Flights
	memory        *memory
	reads         *reads
	wakeIn        func(contact types.NamespacedName, after time.Duration)
	wakeSweep     func(organization types.NamespacedName, after time.Duration)
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
	f, d, unread := r.judge(ctx, f)
	if stored, err := r.compare(ctx, &f, d); err != nil {
		r.budget.Pass(asker(request.NamespacedName))
		return again(ctx, err)
	} else if stored {
		f, d, unread = r.judge(ctx, f)
	}
	if debug := log.FromContext(ctx).V(1); debug.Enabled() {
		debug.Info("Decided", "step", d.step.String(), "cause", d.cause.String(), "due", d.at, "unsent", d.unsent)
	}
	result, err := r.act(ctx, &f, d)
	if err != nil {
		return again(ctx, err)
	}
	contests := d.step == yield && f.contact.Status.AppliedHash != ""
	told, next := report(f, d, result, time.Now())
	if err := r.write(ctx, &f, told); err != nil {
		if result.answer != nil && errors.Is(err, errOvertaken) {
			r.memory.doubt(f.contact)
		}
		return again(ctx, err)
	}
	if contests {
		r.owners.WakeOwner(f.claim)
	}
	if d.step == load && f.busy > 0 {
		pause := f.busy
		if tells := time.Until(next); !next.IsZero() && tells < pause {
			pause = max(tells, time.Millisecond) // to say so in time
		}
		return ctrl.Result{RequeueAfter: pause}, nil
	} else if d.step == load {
		return ctrl.Result{}, r.unread(request.NamespacedName, next, unread)
	}
	if next.IsZero() {
		return ctrl.Result{}, nil
	}
	// Whoever was called has come. What waits is told again behind all else, unless it
	// says still that it is Ready. So is what is accepted: the queue keeps the higher
	// priority, and what concerns thousands would come before what people edit then.
	priority := 0
	if d.step == send && result.answer == nil && !stateOf(&told).isReady() || told.AppliedHash == f.hash {
		priority = handler.LowPriority
	}
	return ctrl.Result{RequeueAfter: max(time.Until(next), time.Millisecond), Priority: &priority}, nil
}

// judge decides what to do with a contact, and reads what a request needs when one seems
// to be due. unread is why that could not be read.
func (r *ContactReconciler) judge(ctx context.Context, f facts) (judged facts, d decision, unread error) {
	d = decide(f, time.Now())
	if d.step != load {
		return f, d, nil
	}
	r.memory.notice(&f, d.unsent) // before what may take long
	if f.sourced {
		var ok bool
		called := r.budget.Called(asker(client.ObjectKeyFromObject(f.contact)))
		if f.busy, ok = r.reads.begin(f.contact.Namespace, called); !ok {
			return f, d, errBusy
		}
		defer r.reads.end(f.contact.Namespace)
	}
	f, unread = r.load(ctx, f)
	return f, decide(f, time.Now()), unread
}

// asker is who asks the budget for the requests of a contact.
func asker(name types.NamespacedName) budget.Asker {
	return budget.Asker{Namespace: name.Namespace, Name: name.Name}
}

var (
	errLost    = errors.New("the connection was closed before the request")
	errStopped = errors.New("nobody may send any more, since this contact got its slot")
)

// again has a contact looked at again after err. That it was overtaken, or its values were,
// is no error: a moment later, the cache knows of it. Nor is that OpenCX closed an idle
// connection just when it was used: the next request has a new one. Nor that it must wait
// again.
func again(ctx context.Context, err error) (ctrl.Result, error) {
	var after time.Duration
	switch {
	case errors.Is(err, errOvertaken), errors.Is(err, errStale), errors.Is(err, errBusy):
		after = time.Second
	case errors.Is(err, errLost), errors.Is(err, errStopped):
		after = time.Millisecond
	default:
		return ctrl.Result{}, err
	}
	log.FromContext(ctx).V(1).Info("Looking again", "after", after, "reason", err.Error())
	return ctrl.Result{RequeueAfter: after}, nil
}

// unread has a contact looked at again whose values or API key could not be read: with
// the queue's backoff, and in time to say so.
func (r *ContactReconciler) unread(name types.NamespacedName, next time.Time, err error) error {
	if !next.IsZero() {
		r.wakeIn(name, time.Until(next))
	}
	return fmt.Errorf("reading what a request needs: %w", err)
}

// leave gives up a contact's turn, which goes to the next one, when it could not be looked
// at; and its place in the queue, which may be one of hours, only when it is gone.
func (r *ContactReconciler) leave(ctx context.Context, name types.NamespacedName, err error) error {
	if err != nil {
		r.budget.Pass(asker(name))
		return err
	}
	r.budget.Withdraw(asker(name))
	r.memory.forget(name)
	return r.owners.Gone(ctx, name)
}

// act does what was decided. It is the only place that takes a contact's slot and sends it.
// Before something else is sent than OpenCX has, it writes the doubt about that.
func (r *ContactReconciler) act(ctx context.Context, f *facts, d decision) (result, error) {
	asker := asker(client.ObjectKeyFromObject(f.contact))
	waiting := result{unsentSince: r.memory.notice(f, d.unsent)}
	switch d.step {
	case send:
	case load: // what it needs cannot be read at present
		if f.busy == 0 {
			r.budget.Pass(asker)
		}
		return waiting, nil
	default:
		r.budget.Withdraw(asker)
		waiting.waitsForAnother = d.step == await
		if d.step == compare {
			r.wakeSweep(f.organization.Name, r.Drift.Settling) // others may come with it
		}
		return waiting, nil
	}
	flight, ok := r.flights.Begin(f.claim, client.ObjectKeyFromObject(f.contact))
	if !ok {
		log.FromContext(ctx).V(1).Info("Waiting for the end of another request of this contactID")
		r.budget.Withdraw(asker)
		waiting.waitsForAnother = true
		return waiting, nil
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
		waiting.wait = wait
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
	if !slot.Sent() {
		slot.Unused()
		return result{}, errStopped
	}
	began := time.Now()
	err := r.OpenCX.UpdateContact(context.WithoutCancel(ctx), f.loaded.key.APIKey, f.contact.Spec.ContactID, f.loaded.payload)
	r.memory.ended(f.contact, time.Now())
	a, ok := answerOf(err)
	if !ok {
		slot.Unused()
		return result{}, fmt.Errorf("patching contact: %w", err)
	}
	noAnswer, is := errors.AsType[*opencx.NoAnswerError](err)
	if is && noAnswer.MayArrive() {
		flight.Until = began.Add(opencx.CallTimeout)
	}
	wasIdle := is && noAnswer.ConnectionWasIdle()
	// Twice in a row is no bad luck: perhaps it is this contact that makes OpenCX, or a
	// proxy before it, close connections.
	if again := r.memory.lost(f.contact, wasIdle); wasIdle && !again && f.past() != budget.Failed {
		slot.Lost()
		return result{}, errLost
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
