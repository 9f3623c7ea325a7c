package organization

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// facts are what is known of an organization.
type facts struct {
	organization *v1alpha1.OpenCXOrganization
	key          heldKey
	unread       bool // the key could not be read, or compared
	account      budget.State
	limit        budget.Limit // this instance's part of it
	most         budget.Limit // that any organization may use
	raises       bool         // it declares more than that
	shares       bool         // other instances have the rest of its limit
	blind        bool         // it selects namespaces whose labels cannot be read
	contacts     v1alpha1.ContactCounts
	lastSync     *metav1.Time
	proven       bool // OpenCX has accepted a request with this version of the key
	sweeps       Sweeps
	looks        bool // for drift
	// resyncs is how many requests in a window its contacts need to be sent again.
	resyncs float64
}

// report says what an organization's status must say.
func report(f facts, now time.Time) v1alpha1.OpenCXOrganizationStatus {
	told := *f.organization.Status.DeepCopy()
	told.ObservedGeneration = f.organization.Generation
	told.Contacts = &f.contacts
	if f.lastSync != nil && (told.LastSyncTime == nil || told.LastSyncTime.Before(f.lastSync)) {
		told.LastSyncTime = f.lastSync
	}
	told.DrainsAt = nil
	if at := f.account.DrainsAt; at.Sub(now) > countInterval && !f.isStopped() {
		told.DrainsAt = status.Time(at.Add(countInterval).Truncate(countInterval)) // so that it does not flicker
	}
	ready, reason, message, abnormal := f.state(now)
	status.Mark(&told.Conditions, told.ObservedGeneration, ready, reason, message, abnormal...)
	f.setOvercommitted(&told)
	f.setDriftChecked(&told)
	return told
}

// isStopped says that nothing is asked of OpenCX but by probes, and nobody knows for how long.
func (f *facts) isStopped() bool {
	return f.key.problem != nil || f.account.Obstacle == budget.Unauthorized || f.account.Obstacle == budget.Unavailable
}

func (f *facts) setDriftChecked(told *v1alpha1.OpenCXOrganizationStatus) {
	if f.sweeps.Sweep != nil {
		told.Sweep = f.sweeps.Sweep
	}
	if !f.looks || f.isStopped() {
		meta.RemoveStatusCondition(&told.Conditions, v1alpha1.DriftCheckedCondition)
	} else if f.sweeps.Condition != nil {
		condition := *f.sweeps.Condition
		condition.ObservedGeneration = told.ObservedGeneration
		meta.SetStatusCondition(&told.Conditions, condition)
	}
}

// state is what Ready says, and which of Reconciling and Stalled is True with it.
func (f *facts) state(now time.Time) (ready metav1.ConditionStatus, reason, message string, abnormal []string) {
	reconciling, stalled := []string{v1alpha1.ReconcilingCondition}, []string{v1alpha1.StalledCondition}
	switch p := f.key.problem; {
	case f.organization.Spec.Suspend:
		return metav1.ConditionUnknown, v1alpha1.SuspendedReason, "No request is made while spec.suspend is true", nil
	case f.unread:
		return metav1.ConditionUnknown, v1alpha1.WaitingReason,
			"The API key cannot be read from the API server at present, which is tried again; no request is made until it can", reconciling
	case p != nil && p.Missing && now.Before(f.missingSince(now, p.Reason).Add(status.Grace)):
		return metav1.ConditionFalse, p.Reason, p.Message, reconciling
	case p != nil:
		return metav1.ConditionFalse, p.Reason, p.Message, stalled
	case f.account.Obstacle == budget.Unauthorized:
		return metav1.ConditionFalse, v1alpha1.UnauthorizedReason,
			"OpenCX refuses the API key; it is tried again from time to time, and at once when its Secret changes: check the key and the OpenCX subscription", stalled
	case f.account.Obstacle == budget.Unavailable:
		return metav1.ConditionFalse, v1alpha1.UnavailableReason,
			"OpenCX fails whatever is asked, or does not answer; it is probed from time to time", reconciling
	case f.account.Obstacle == budget.RateLimited:
		return metav1.ConditionUnknown, v1alpha1.RateLimitedReason,
			fmt.Sprintf("OpenCX asked for a pause, by a 429 or a Retry-After; no request is made before %s", f.account.Until.UTC().Truncate(time.Second).Format(time.RFC3339)), reconciling
	}
	return metav1.ConditionTrue, v1alpha1.UsableReason, f.usable(), nil
}

// missingSince is from when on status has told that the key is missing.
func (f *facts) missingSince(now time.Time, reason string) time.Time {
	return status.Since(f.organization.Status.Conditions, reason, now)
}

// usable is what Ready says while requests can be made.
func (f *facts) usable() string {
	message := "OpenCX has accepted none of the contacts that there are with this version of the API key yet"
	if f.proven {
		message = "OpenCX has accepted contacts with this version of the API key"
	}
	if f.raises {
		window := f.organization.Spec.RateLimit.Window.Duration
		message += fmt.Sprintf("; spec.rateLimit would allow more than the operator's --opencx-rate-limit of %s, which applies", f.most)
		if n := fitting(f.most, window); n > 0 {
			message += fmt.Sprintf(": at most %d in %s are within it", n, window)
		} else {
			message += fmt.Sprintf(": not even one in %s is within it", window)
		}
	}
	if f.blind {
		message += "; spec.allowedNamespaces.selector has no effect, because this operator is forbidden to list namespaces: contacts of other namespaces are not allowed"
	}
	return message
}

func (f *facts) setOvercommitted(told *v1alpha1.OpenCXOrganizationStatus) {
	contact, limit, requests := "every contact", "the limit", "that there are"
	if f.shares {
		contact, limit, requests = "every contact of this operator", "its share of the limit", "that are its share"
	}
	condition := metav1.Condition{
		Type: v1alpha1.OvercommittedCondition, Status: metav1.ConditionFalse, Reason: v1alpha1.ResyncsFitReason,
		Message:            fmt.Sprintf("To send %s again when its resync interval has passed needs at most half of %s", contact, limit),
		ObservedGeneration: told.ObservedGeneration,
	}
	if f.resyncs*2 > float64(f.limit.Requests) {
		condition.Status, condition.Reason = metav1.ConditionTrue, v1alpha1.TooManyResyncsReason
		condition.Message = fmt.Sprintf("To send %s again when its resync interval has passed needs %s requests in %s, of %d %s: use longer intervals, or 0s",
			contact, strconv.FormatFloat(math.Round(100*f.resyncs)/100, 'f', -1, 64), f.limit.Window, f.limit.Requests, requests)
	}
	meta.SetStatusCondition(&told.Conditions, condition)
}
