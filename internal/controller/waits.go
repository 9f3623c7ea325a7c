package controller

import (
	"cmp"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

const (
	// longWait is the wait of which status tells at once.
	longWait = 10 * time.Second
	// tellWait is when it is told at the latest, so that no change is unsent and untold for
	// longWait: on a busy machine it takes seconds until it is seen, and until it is written.
	tellWait = longWait / 2
	// tellUnread is the same of what cannot be read. The next look may take loadTimeout, before
	// it can say so.
	tellUnread = 3 * time.Second
)

// waitsFor says what a contact waits for, where it is not its turn alone. The readers of
// contacts need not know which objects the operator keeps: its log names those.
var waitsFor = map[budget.Obstacle]string{
	budget.RateLimited: "OpenCX has asked for a pause, for the whole organization; the change waits until it is over",
	budget.Unavailable: "OpenCX fails, or does not answer, for the whole organization; the change waits until a probe succeeds, which is tried again",
	budget.Unproven:    "OpenCX has not accepted the API key of the organization yet, and all such organizations share a tenth of the limit; the change waits for its turn",
	budget.Unsaved:     "The operator cannot note at present how much it sends, without which it sends nothing, for nobody; the change waits until it can, which is tried again: if this lasts, tell who runs the operator",
}

// unreadMessage does not say which of the two it is: the key is nobody's business who
// may not see the organization.
const unreadMessage = "A value or the API key cannot be read from the API server at present, which is tried again; the change waits for it"

// busyMessage is of a contact that others of its namespace go before.
const busyMessage = "The change waits until the values of other contacts of the namespace have been read"

// waits notes that the contact waits for its turn. It will be woken for that. It says
// what it waits for before it has waited long, and again when that is no longer true.
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
		return b.checkAt(r.wait.At, r.unsentSince)
	case !unsent:
		if long || !b.state.isReady() {
			b.synced(resendWaits)
		}
		return time.Time{}
	case failed && b.state.reason == v1alpha1.RateLimitedReason && r.wait.Obstacle != budget.RateLimited,
		failed && b.state.reason == v1alpha1.UnauthorizedReason:
		// What was in the way of all is so no more.
	case failed:
		return time.Time{} // a failure that is about to be retried says more
	}
	if at, holds := b.toldWait(r); holds {
		return b.checkAt(at, r.unsentSince)
	} else if !long {
		return tellAt
	}
	message := waitSentence(r)
	if r.waitsForAnother {
		b.reconciling(metav1.ConditionUnknown, v1alpha1.WaitingReason, message)
		return time.Time{}
	}
	b.reconciling(metav1.ConditionUnknown, v1alpha1.WaitingReason, message+atAbout+r.wait.At.UTC().Truncate(time.Second).Format(time.RFC3339))
	return b.checkAt(r.wait.At, r.unsentSince)
}

// atAbout stands between what a contact waits for and until when.
const atAbout = ", at about "

func waitSentence(r result) string {
	if r.waitsForAnother {
		return "The change waits until nothing else of this contactID is under way or claims to be accepted"
	}
	return cmp.Or(waitsFor[r.wait.Obstacle], "The change waits for its turn in the request budget")
}

// lateness is how long after the time that was told a contact may still wait without
// telling another one.
const lateness = time.Minute

// toldWait returns until when the contact says that it waits, if it says so; and
// whether that holds. That it waits for another request of its contactID takes a
// moment, and is not told instead.
func (b *book) toldWait(r result) (at time.Time, holds bool) {
	if b.state.reason != v1alpha1.WaitingReason || b.state.message == beingSent {
		return at, false
	}
	sentence, until, _ := strings.Cut(b.state.message, atAbout)
	at, err := time.Parse(time.RFC3339, until)
	if err != nil { // another process, perhaps of another version, has written it
		return at, sentence == waitSentence(r)
	}
	return at, b.now.Before(at.Add(lateness)) && (r.waitsForAnother || sentence == waitSentence(r))
}

// checkAt is when a contact that says that it waits until at is looked at, to see whether
// that still holds: the later, the longer it has waited.
func (b *book) checkAt(at, unsentSince time.Time) time.Time {
	if at.Before(b.now) {
		at = b.now
	}
	return at.Add(max(lateness, b.now.Sub(unsentSince)/10))
}

// unread notes that what the contact would send cannot be read, or not yet.
func (b *book) unread(unsent bool, unsentSince time.Time) (next time.Time) {
	tellAt := unsentSince.Add(tellUnread)
	switch {
	case !unsent, b.tellsOfThis():
		return time.Time{}
	case b.now.Before(tellAt):
		return tellAt
	}
	message := unreadMessage
	if b.busy > 0 {
		message = busyMessage
	}
	b.reconciling(metav1.ConditionUnknown, v1alpha1.WaitingReason, message)
	return time.Time{}
}

// tellsOfThis says that status tells how the last attempt of what is wanted failed.
func (b *book) tellsOfThis() bool {
	return b.state.tellsFailure() && status.ParseAttempt(b.told.AttemptedHash).Hash == b.hash
}
