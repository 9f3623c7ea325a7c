package controller

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
)

const (
	// longWait is the wait for the budget from which status mentions it.
	longWait = 10 * time.Second
	// inputGrace is how long a missing key or source is taken for one that is
	// about to be created, as when a manifest and its Secret are applied together.
	inputGrace = 2 * time.Minute
)

// assessment is what one look at a contact came to: the status to write, if it
// differs, and when to look again without being asked, zero for never.
//
// The functions below make one each. They decide and do nothing else.
type assessment struct {
	status v1alpha1.OpenCXContactStatus
	next   time.Time
}

// attempted assesses contact after a request that carried hash came to o.
// silentUntil is when OpenCX takes requests again; it matters after a 429 only.
func attempted(contact *v1alpha1.OpenCXContact, hash string, o outcome, silentUntil time.Time, defaultResync time.Duration, now time.Time) assessment {
	status := *contact.Status.DeepCopy()
	// What is declared may be in OpenCX already, while a re-send fails.
	inSync := status.AppliedHash == hash && isReady(&status)

	status.ObservedGeneration = contact.Generation
	status.LastAttemptTime = timestamp(now)
	if requested := contact.Annotations[v1alpha1.ReconcileAtAnnotation]; requested != "" {
		status.LastHandledReconcileAt = requested
	}
	status.LastError = o.answer
	status.NextAttemptTime = nil

	var next time.Time
	switch o.effect {
	case accepted:
		status.LastSyncTime = timestamp(now)
		status.AppliedHash = hash
		status.ConsecutiveFailures = 0
		markSynced(&status, "OpenCX has accepted the contact")
		synced := contact.DeepCopy()
		synced.Status = status
		return assessment{status, resyncAt(synced, defaultResync)}
	case limited:
		next = silentUntil
	case soft, hard:
		if !o.repeats(&status) {
			status.ConsecutiveFailures = 0
		}
		status.ConsecutiveFailures++
		next = now.Add(o.retry.after(status.ConsecutiveFailures))
	}
	status.NextAttemptTime = timestamp(next)

	switch {
	case o.effect != hard && inSync:
		markSynced(&status, "OpenCX has accepted the contact; sending it again failed and is retried: "+o.message)
	case o.effect == limited:
		markReconciling(&status, metav1.ConditionUnknown, o.reason, o.message)
	case o.effect == soft && !o.retry.spent(status.ConsecutiveFailures):
		markReconciling(&status, metav1.ConditionFalse, o.reason, o.message)
	default:
		markStalled(&status, o.reason, o.message)
	}
	return assessment{status, next}
}

// unattempted assesses a contact for which no request is due before at.
func unattempted(contact *v1alpha1.OpenCXContact, at time.Time) *assessment {
	status := *contact.Status.DeepCopy()
	if status.NextAttemptTime != nil && status.ObservedGeneration == contact.Generation {
		return &assessment{status, at}
	}
	// Nothing is unsent and nothing has failed: an edit that needs no request,
	// or one that was taken back before it was sent.
	status.ObservedGeneration = contact.Generation
	status.NextAttemptTime = nil
	status.LastError = nil
	if ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition); ready != nil && ready.Status == metav1.ConditionTrue {
		markSynced(&status, ready.Message)
	} else {
		markSynced(&status, "OpenCX has accepted the contact")
	}
	return &assessment{status, at}
}

// suspended assesses a contact that must not be sent now.
func suspended(contact *v1alpha1.OpenCXContact, unsent bool) *assessment {
	status := *contact.Status.DeepCopy()
	status.ObservedGeneration = contact.Generation
	if unsent {
		mark(&status, metav1.ConditionUnknown, v1alpha1.SuspendedReason, "The contact has a change that is not sent while spec.suspend is true")
		return &assessment{status: status}
	}
	for i := range status.Conditions {
		status.Conditions[i].ObservedGeneration = contact.Generation
	}
	return &assessment{status: status}
}

// waiting assesses a contact that waits in the budget's queue. It will be woken,
// so nothing is scheduled, and it says what it waits for once.
func waiting(contact *v1alpha1.OpenCXContact, unsent bool, turn budget.Turn, now time.Time) assessment {
	status := *contact.Status.DeepCopy()
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition)
	saysRefused := ready != nil && ready.Reason == v1alpha1.UnauthorizedReason
	failed := ready != nil && ready.Status == metav1.ConditionFalse && status.ObservedGeneration == contact.Generation
	switch {
	case turn.Obstacle == budget.Unauthorized && unsent:
		if !saysRefused || !failed {
			status.ObservedGeneration = contact.Generation
			markStalled(&status, v1alpha1.UnauthorizedReason,
				"OpenCX refuses the API key, which other contacts use too; it is tried again from time to time. Check the API key, its contacts:write scope and the OpenCX subscription")
		}
	case turn.At.Sub(now) <= longWait:
	case ready != nil && ready.Reason == v1alpha1.WaitingReason:
	case failed && !saysRefused && !hasInputProblem(&status):
		// The failure that is about to be retried says more than the wait. What
		// was missing is there now, or there would be nothing to wait for.
	case !unsent && isReady(&status):
		markSynced(&status, "OpenCX has accepted the contact; sending it again waits for its turn in the request budget")
	default:
		markReconciling(&status, metav1.ConditionUnknown, v1alpha1.WaitingReason,
			fmt.Sprintf("The change waits for its turn in the request budget, at about %s", turn.At.UTC().Truncate(time.Second).Format(time.RFC3339)))
	}
	return assessment{status: status}
}

// duplicate assesses a contact whose contactID an older one claims with the same
// API key. What OpenCX has is the older one's affair, so it is not known. The
// reader of one namespace need not know what there is in another.
func duplicate(contact, older *v1alpha1.OpenCXContact) *assessment {
	status := *contact.Status.DeepCopy()
	status.ObservedGeneration = contact.Generation
	status.AppliedHash = ""
	status.NextAttemptTime = nil
	status.LastError = nil
	status.ConsecutiveFailures = 0
	where := "in another namespace"
	if older.Namespace == contact.Namespace {
		where = fmt.Sprintf("named %s/%s", older.Namespace, older.Name)
	}
	markStalled(&status, v1alpha1.DuplicateReason,
		fmt.Sprintf("An older OpenCXContact %s has the same contactID and the same API key: delete one of the two. Nothing is sent for this one", where))
	return &assessment{status: status}
}

// inputMissing assesses a contact whose API key or sources cannot be used. What
// does not exist may be on its way; what is unusable has to be changed. Either
// way the contact is looked at again when the Secret or ConfigMap changes.
func inputMissing(contact *v1alpha1.OpenCXContact, problem *inputError, now time.Time) *assessment {
	status := *contact.Status.DeepCopy()
	status.ObservedGeneration = contact.Generation
	status.NextAttemptTime = nil
	status.LastError = nil
	message := upperFirst(problem.Error())
	patience := time.Time{}
	if problem.reason == v1alpha1.APIKeyNotFoundReason || problem.reason == v1alpha1.ValueNotFoundReason {
		patience = missingSince(&status, problem.reason, now).Add(inputGrace)
	}
	if now.Before(patience) {
		markReconciling(&status, metav1.ConditionFalse, problem.reason, message)
		return &assessment{status, patience}
	}
	markStalled(&status, problem.reason, message)
	return &assessment{status: status}
}

// missingSince is when something was first found missing: now, unless status
// says so already.
func missingSince(status *v1alpha1.OpenCXContactStatus, reason string, now time.Time) time.Time {
	if c := meta.FindStatusCondition(status.Conditions, v1alpha1.StalledCondition); c != nil && c.Reason == reason {
		return time.Time{} // long enough
	}
	if c := meta.FindStatusCondition(status.Conditions, v1alpha1.ReconcilingCondition); c != nil && c.Reason == reason {
		return c.LastTransitionTime.Time
	}
	return now
}

// hasInputProblem says that the contact waits for something that is not
// OpenCX's answer. To look whether it still does costs no request.
func hasInputProblem(status *v1alpha1.OpenCXContactStatus) bool {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition)
	if ready == nil {
		return false
	}
	switch ready.Reason {
	case v1alpha1.APIKeyNotFoundReason, v1alpha1.APIKeyInvalidReason,
		v1alpha1.ValueNotFoundReason, v1alpha1.ValueInvalidReason, v1alpha1.DuplicateReason:
		return true
	}
	return false
}

func isReady(status *v1alpha1.OpenCXContactStatus) bool {
	return meta.IsStatusConditionTrue(status.Conditions, v1alpha1.ReadyCondition)
}

func markSynced(status *v1alpha1.OpenCXContactStatus, message string) {
	mark(status, metav1.ConditionTrue, v1alpha1.SyncedReason, message)
}

// markReconciling says that the operator goes on by itself.
func markReconciling(status *v1alpha1.OpenCXContactStatus, ready metav1.ConditionStatus, reason, message string) {
	mark(status, ready, reason, message, v1alpha1.ReconcilingCondition)
}

// markStalled says that somebody has to act.
func markStalled(status *v1alpha1.OpenCXContactStatus, reason, message string) {
	mark(status, metav1.ConditionFalse, reason, message, v1alpha1.StalledCondition)
}

// mark sets Ready, and of Reconciling and Stalled those that are named. The
// others become absent, as kstatus wants it.
func mark(status *v1alpha1.OpenCXContactStatus, ready metav1.ConditionStatus, reason, message string, abnormal ...string) {
	set := func(conditionType string, conditionStatus metav1.ConditionStatus) {
		meta.SetStatusCondition(&status.Conditions, metav1.Condition{
			Type:               conditionType,
			Status:             conditionStatus,
			Reason:             reason,
			Message:            message,
			ObservedGeneration: max(0, status.ObservedGeneration), // -1 stands for none
		})
	}
	for _, conditionType := range []string{v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		// The time since which one is True is that of its reason.
		if old := meta.FindStatusCondition(status.Conditions, conditionType); old != nil && old.Reason != reason {
			meta.RemoveStatusCondition(&status.Conditions, conditionType)
		}
	}
	set(v1alpha1.ReadyCondition, ready)
	for _, conditionType := range []string{v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if len(abnormal) == 1 && abnormal[0] == conditionType {
			set(conditionType, metav1.ConditionTrue)
		} else {
			meta.RemoveStatusCondition(&status.Conditions, conditionType)
		}
	}
}

// timestamp has the precision that the API server keeps: seconds.
func timestamp(t time.Time) *metav1.Time {
	return &metav1.Time{Time: t.UTC().Truncate(time.Second)}
}

// upperFirst makes an error text the beginning of a sentence.
func upperFirst(text string) string {
	r, size := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[size:]
}
