package controller

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

const (
	// longWait is the wait from which status mentions it.
	longWait = 10 * time.Second
	// tellWait is when it is told at the latest: a status takes a moment to write.
	tellWait = longWait - time.Second
)

// waitsFor says what a contact waits for, where it is not its turn alone.
var waitsFor = map[budget.Obstacle]string{
	budget.RateLimited: "OpenCX has asked for a pause, for the whole organization; the change waits until it is over",
	budget.Unavailable: "OpenCX fails, or does not answer, for the whole organization; the change waits until a probe succeeds, which is tried again",
	budget.Unproven:    "OpenCX has not accepted the API key of the organization yet, and all such organizations share a tenth of the limit; the change waits for its turn",
	budget.Unsaved:     "What is sent must be noted in ConfigMap opencx-operator-budget first, which fails: see the log of the operator; the change waits until it succeeds",
}

// unreadMessage does not say which of the two it is: the key is nobody's business who
// may not see the organization.
const unreadMessage = "A value or the API key cannot be read from the API server at present, which is tried again; the change waits for it"

// waits notes that the contact waits for its turn. It will be woken for that. It
// says what it waits for once, and before it has waited long.
func (b *book) waits(unsent bool, r result) (next time.Time) {
	tellAt := r.unsentSince.Add(tellWait)
	long := r.wait.At.Sub(b.now) > longWait || unsent && !b.now.Before(tellAt)
	failed := b.tellsOfThis()
	switch {
	case r.wait.Obstacle == budget.Unauthorized && unsent:
		if b.state.reason != v1alpha1.UnauthorizedReason || !failed {
			b.told.ObservedGeneration = b.contact.Generation
			b.stalled(v1alpha1.UnauthorizedReason, "OpenCX refuses the API key of the organization; it is tried again from time to time. Check the key and the OpenCX subscription")
		}
	case !unsent:
		if long || !b.state.isReady() {
			b.synced(resendWaits)
		}
	case b.state.reason == v1alpha1.WaitingReason && b.state.message != beingSent,
		failed && b.state.reason != v1alpha1.UnauthorizedReason:
		// It says so already; and a failure that is about to be retried says more.
	case long && r.waitsForAnother:
		b.reconciling(metav1.ConditionUnknown, v1alpha1.WaitingReason, "The change waits until nothing else of this contactID is under way or claims to be accepted")
	case long:
		b.reconciling(metav1.ConditionUnknown, v1alpha1.WaitingReason,
			cmp.Or(waitsFor[r.wait.Obstacle], "The change waits for its turn in the request budget")+", at about "+r.wait.At.UTC().Truncate(time.Second).Format(time.RFC3339))
	default:
		return tellAt
	}
	return time.Time{}
}

// unread notes that what the contact would send cannot be read. The next look may take
// as long as reading may, before it can say so.
func (b *book) unread(unsent bool, unsentSince time.Time) (next time.Time) {
	tellAt := unsentSince.Add(tellWait - loadTimeout)
	switch {
	case !unsent, b.tellsOfThis():
		return time.Time{}
	case b.now.Before(tellAt):
		return tellAt
	}
	b.reconciling(metav1.ConditionUnknown, v1alpha1.WaitingReason, unreadMessage)
	return time.Time{}
}

// tellsOfThis says that status tells how the last attempt of what is wanted failed.
func (b *book) tellsOfThis() bool {
	return b.state.tellsFailure() && status.ParseAttempt(b.told.AttemptedHash).Hash == b.hash
}
