package controller

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// step is what to do with a contact now.
type step int

const (
	// rest: nothing is due before decision.at.
	rest step = iota
	// load: something seems to be due; read live what it needs, and decide again.
	load
	// hold: suspended.
	hold
	// yield: another contact owns the contactID.
	yield
	// block: the organization, its key or a value is missing or unusable.
	block
	// await: the contact owns its contactID, but another one still says that OpenCX
	// has accepted it.
	await
	// compare: nothing is sent before OpenCX has been seen to have what is declared, or
	// something else.
	compare
	// send: a PATCH is due.
	send
)

// String is the name of a step, for logs.
func (s step) String() string {
	return [...]string{"rest", "load", "hold", "yield", "block", "await", "compare", "send"}[s]
}

// cause is why a PATCH is due.
type cause int

const (
	first      cause = iota // nothing of the contact was ever sent
	edited                  // what would be sent is another than what was sent last
	requested               // the reconcile-at annotation has a new value
	keyChanged              // OpenCX refused the key, and it is another one now
	turnedAway              // the last attempt, which was urgent, met a 429
	retry                   // the last attempt failed
	resync                  // the resync interval has passed
	drifted                 // OpenCX has something else than it was told, or nobody was to look
)

// String is the name of a cause, for logs.
func (c cause) String() string {
	return [...]string{"first", "edited", "requested", "keyChanged", "turnedAway", "retry", "resync", "drifted"}[c]
}

// class is how urgent a request is, by its cause.
func (c cause) class() budget.Class {
	return map[cause]budget.Class{
		first: budget.Sync, edited: budget.Edit, requested: budget.Edit, keyChanged: budget.Sync,
		turnedAway: budget.Edit, retry: budget.Sync, resync: budget.Resync, drifted: budget.Resync,
	}[c]
}

// decision is one step and its cause.
type decision struct {
	step  step
	cause cause // of a PATCH that is due, now or at a later time
	// at is when the PATCH is due: zero for never.
	at time.Time
	// unsent says that OpenCX has not been told what the manifest declares.
	unsent bool
}

// decide says what to do with a contact of which f is known: the first row that fits is
// why it is not sent, unless judge could not read its values, or act could not send it.
func decide(f facts, now time.Time) decision {
	d := decision{unsent: f.hash != f.status.AppliedHash}
	d.cause, d.at = due(f, now)
	held := f.contact.Spec.Suspend || f.organization.Suspended
	switch {
	case f.organization.Problem != nil:
		d.step = block
	case !f.title.Owns:
		d.step = yield
	case held && d.unsent && f.sourced && f.loaded == nil:
		d.step = load // perhaps somebody has only labelled a Secret
	case held:
		d.step = hold
	case f.introduces():
		d.step = compare
	case d.at.IsZero() || d.at.After(now):
		d.step = rest
	case f.loaded == nil:
		d.step = load
	case f.loaded.problem != nil:
		d.step = block
	case f.loaded.contested:
		d.step = await
	default:
		d.step = send
	}
	return d
}

// due says when a PATCH is due, zero for never, and why. nextAttemptTime holds back
// all but what was not attempted yet. Nothing but what is listed here, and in repeated, is
// a reason to send.
func due(f facts, now time.Time) (cause, time.Time) {
	var (
		told      = f.status
		attempted = status.ParseAttempt(told.AttemptedHash)
		unsent    = f.hash != told.AppliedHash
	)
	switch {
	case unsent && told.AttemptedHash == "" && told.LastSyncTime == nil:
		return first, now
	case unsent && attempted.Hash != f.hash:
		return edited, now
	case f.wished():
		return requested, now
	case keyRefused(told.LastError) && f.keyVersion() != attempted.KeyVersion:
		return keyChanged, now
	case told.NextAttemptTime != nil:
		return f.retryCause(unsent), heldUntil(told.NextAttemptTime.Time, now)
	case unsent, told.ConsecutiveFailures > 0:
		return retry, now
	}
	return f.repeated(now)
}

// retryCause keeps an edit, or a PATCH that somebody asked for, from queueing behind
// an import because OpenCX would take nothing from anybody when its turn came. (A first
// sync with the annotation, or a resync of a contact that still has it, passes for one;
// no more of them meet a 429 than were under way.)
func (f *facts) retryCause(unsent bool) cause {
	limited := f.status.LastError != nil && f.status.LastError.StatusCode == http.StatusTooManyRequests
	if limited && (unsent && f.status.LastSyncTime != nil || f.wish() != "") {
		return turnedAway
	}
	return retry
}

// longestHold is more than any backoff or silence. What would be held back for longer
// was written by a clock that was ahead.
const longestHold = 27 * time.Hour

func heldUntil(at, now time.Time) time.Time {
	if at.After(now.Add(longestHold)) {
		return now
	}
	return at
}

// keyRefused says that an error is about the API key, so that another key is worth
// an attempt.
func keyRefused(e *v1alpha1.APIError) bool {
	return e != nil && e.StatusCode >= 401 && e.StatusCode <= 403
}

// resyncJitter is the part of the resync interval by which it is longer or
// shorter, at the most.
const resyncJitter = 0.1

// resyncAt is when an unchanged contact is sent again, zero for never. The
// interval differs a little from contact to contact, so that contacts that were
// created together do not stay together.
func resyncAt(uid types.UID, last time.Time, interval time.Duration) time.Time {
	if interval <= 0 {
		return time.Time{}
	}
	sum := sha256.Sum256([]byte(uid))
	fraction := float64(binary.BigEndian.Uint32(sum[:])) / (1 << 32) // evenly from [0, 1)
	return last.Add(time.Duration(float64(interval) * (1 + resyncJitter*(2*fraction-1))))
}

// resyncDue is resyncAt, but for a last sync that is in the future by more than clocks
// may differ: whoever wrote that had a clock that was ahead, and nobody knows by how
// much, so it is due now.
func resyncDue(uid types.UID, last time.Time, interval time.Duration, now time.Time) time.Time {
	if interval > 0 && last.After(now.Add(time.Duration(float64(interval)*resyncJitter))) {
		return now
	}
	return resyncAt(uid, last, interval)
}
