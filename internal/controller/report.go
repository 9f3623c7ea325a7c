package controller

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// awaitCheck is how often an owner looks whether the other contact has yielded. It is
// woken for that, but the cache may know it later.
const awaitCheck = time.Second

const (
	acceptedMessage = "OpenCX has accepted the contact"
	presentMessage  = "OpenCX has what is declared; nothing had to be sent"
	// What OpenCX has is what is declared; a request repeats it.
	resendWaits  = acceptedMessage + "; sending it again waits for its turn in the request budget"
	resendFailed = acceptedMessage + "; sending it again failed and is retried: "
	// What OpenCX has is not known until it answers.
	beingSent = "The change is being sent"
)

// result is what act did.
type result struct {
	// answer is what came back; nil when nothing was sent.
	answer *answer
	sent   status.Attempt
	// wait is what the contact waits for, unless it waits for another contact. It has
	// had something unsent since unsentSince.
	wait            budget.Wait
	waitsForAnother bool
	unsentSince     time.Time
	// silentUntil is when OpenCX takes requests again, if it said so.
	silentUntil time.Time
}

// report says what status must say after d came to r, and when to look again without
// being asked, zero for never. It writes nothing.
func report(f facts, d decision, r result, now time.Time) (told v1alpha1.OpenCXContactStatus, next time.Time) {
	b := book{facts: f, told: *f.status.DeepCopy(), now: now}
	b.leaves()
	switch {
	case d.step == block:
		next = b.blocked()
	case d.step == yield:
		next = b.yields()
	case d.step == hold:
		b.held(d.unsent)
	case d.step == load:
		next = b.unread(d.unsent, r.unsentSince)
	case d.step == compare:
		b.introduced()
	case d.step == rest:
		next = d.at
		b.rests(d.unsent)
	case r.answer != nil:
		next = b.answered(*r.answer, r.sent, r.silentUntil)
	default:
		next = b.waits(d.unsent, r)
	}
	if d.step == await {
		next = now.Add(awaitCheck)
	}
	b.drifts()
	return b.told, next
}

// doubt is the status before a PATCH that carries something else than what OpenCX
// accepted last: from then on nobody knows what OpenCX has. needed is false when
// the stored status says so already.
func doubt(f facts) (told v1alpha1.OpenCXContactStatus, needed bool) {
	if f.contact.Status.AppliedHash == "" || f.status.AppliedHash == f.hash {
		return f.status, false
	}
	b := book{facts: f, told: *f.status.DeepCopy()}
	b.told.AppliedHash = ""
	b.reconciling(metav1.ConditionUnknown, v1alpha1.WaitingReason, beingSent)
	return b.told, true
}

// book is a status that is being written.
type book struct {
	facts
	told v1alpha1.OpenCXContactStatus
	now  time.Time
}

// leaves notes that the contact belongs to another organization than the one that
// accepted it, or to none. Its contactID may pass to somebody else from now on, so
// nobody knows what OpenCX has when it comes back; and having been accepted before is
// no claim then. An organization that is created again may be another one of OpenCX.
func (b *book) leaves() {
	accepted := b.told.Organization
	if accepted != "" && (b.organization.Problem != nil || accepted != b.organization.Name.String()) {
		b.told.Organization, b.told.AppliedHash = "", ""
		if policyOf(b.contact) == v1alpha1.DriftReport {
			b.told.AttemptedHash = "" // it is compared anew
		}
		b.forgetsDrift()
	}
}

// answered notes what came back for a PATCH.
func (b *book) answered(a answer, sent status.Attempt, silentUntil time.Time) (next time.Time) {
	s := &b.told
	// OpenCX may have what is declared, while a re-send fails.
	inSync := s.AppliedHash == sent.Hash
	s.ObservedGeneration = b.contact.Generation
	s.AttemptedHash = sent.String()
	s.LastAttemptTime = status.Time(b.now)
	s.LastHandledReconcileAt = b.wish()
	s.LastError = a.error
	s.NextAttemptTime = nil
	switch a.effect {
	case accepted:
		s.LastSyncTime = status.Time(b.now)
		s.AppliedHash = sent.Hash
		s.Organization = b.organization.Name.String()
		s.ConsecutiveFailures = 0
		b.accepts(inSync)
		b.synced(acceptedMessage)
		if policyOf(b.contact) == v1alpha1.DriftReport {
			return time.Time{}
		}
		return resyncAt(b.contact.UID, b.now, b.resyncInterval())
	case limited:
		next = silentUntil
	default:
		if !a.repeats(b.state) {
			s.ConsecutiveFailures = 0
		}
		s.ConsecutiveFailures++
		if next = b.now.Add(a.retry.after(s.ConsecutiveFailures)); next.Before(silentUntil) {
			next = silentUntil
		}
	}
	s.NextAttemptTime = status.Time(next)
	switch {
	case a.effect == hard:
		s.AppliedHash = "" // OpenCX refuses what it had accepted
		b.tellFailure(a)
	case inSync:
		b.synced(resendFailed + a.message)
	default:
		b.tellFailure(a)
	}
	return next
}

func (b *book) tellFailure(a answer) {
	switch {
	case a.effect == limited:
		b.reconciling(metav1.ConditionUnknown, a.reason, a.message)
	case a.effect == soft && !a.retry.spent(b.told.ConsecutiveFailures):
		b.reconciling(metav1.ConditionFalse, a.reason, a.message)
	default:
		b.stalled(a.reason, a.message)
	}
}

// rests notes that no PATCH is due: what is declared is accepted, or its last
// attempt failed and the next one is held back.
func (b *book) rests(unsent bool) {
	s := &b.told
	s.ObservedGeneration = b.contact.Generation
	switch {
	case unsent && b.state.tellsFailure(), s.NextAttemptTime != nil && b.state.isReady():
		b.again()
	case unsent: // it was suspended, or waited, meanwhile
		b.tellFailure(toldBy(s.LastError))
	case s.NextAttemptTime != nil:
		b.synced(resendFailed + toldBy(s.LastError).message)
	default:
		s.LastError = nil
		if s.LastSyncTime == nil && s.LastVerifiedTime != nil {
			b.synced(presentMessage)
			return
		}
		b.synced(acceptedMessage)
	}
}

// held notes that nothing must be sent now.
func (b *book) held(unsent bool) {
	b.told.ObservedGeneration = b.contact.Generation
	switch {
	case unsent && b.organization.Suspended:
		b.mark(metav1.ConditionUnknown, v1alpha1.SuspendedReason,
			fmt.Sprintf("The contact has a change that is not sent while OpenCXOrganization %s is suspended", b.organization.Name))
	case unsent:
		b.mark(metav1.ConditionUnknown, v1alpha1.SuspendedReason, "The contact has a change that is not sent while spec.suspend is true")
	case b.state.isReady():
		b.again()
	default:
		b.synced(acceptedMessage)
	}
}

// yields notes that another contact owns the contactID. What OpenCX has is that
// one's affair, so it is not known. A reader of one namespace need not know what
// there is in another, so no name is told.
func (b *book) yields() (next time.Time) {
	s := &b.told
	s.ObservedGeneration = b.contact.Generation
	s.AppliedHash, s.AttemptedHash, s.Organization = "", "", ""
	s.NextAttemptTime, s.LastError = nil, nil
	s.ConsecutiveFailures = 0
	b.forgetsDrift()
	message := fmt.Sprintf("Another OpenCXContact owns this contactID in OpenCXOrganization %s: delete one of the two. Nothing is sent for this one. Capitals, and hyphens of a UUID, make no difference", b.organization.Name)
	b.stalled(v1alpha1.DuplicateReason, message)
	return b.title.VacantUntil
}

// blocked notes that the organization, its key or a value cannot be used. What does
// not exist may be on its way; what is unusable has to be changed. Either way the
// contact is looked at again when that happens.
func (b *book) blocked() (next time.Time) {
	p := b.organization.Problem
	if p == nil {
		p = b.loaded.problem
	}
	b.told.ObservedGeneration = b.contact.Generation
	if until := status.Since(b.facts.status.Conditions, p.Reason, b.now).Add(status.Grace); p.Missing && b.now.Before(until) {
		b.reconciling(metav1.ConditionFalse, p.Reason, p.Message)
		return until
	}
	b.stalled(p.Reason, p.Message)
	return time.Time{}
}

// again says of this generation what was said of an earlier one.
func (b *book) again() {
	for i := range b.told.Conditions {
		b.told.Conditions[i].ObservedGeneration = b.told.ObservedGeneration
	}
}

func (b *book) synced(message string) {
	b.mark(metav1.ConditionTrue, v1alpha1.SyncedReason, message)
}

// reconciling says that the operator goes on by itself.
func (b *book) reconciling(ready metav1.ConditionStatus, reason, message string) {
	b.mark(ready, reason, message, v1alpha1.ReconcilingCondition)
}

// stalled says that somebody has to act.
func (b *book) stalled(reason, message string) {
	b.mark(metav1.ConditionFalse, reason, message, v1alpha1.StalledCondition)
}

func (b *book) mark(ready metav1.ConditionStatus, reason, message string, abnormal ...string) {
	status.Mark(&b.told.Conditions, b.told.ObservedGeneration, ready, reason, message, abnormal...)
}
