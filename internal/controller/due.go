package controller

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// resyncJitter is the part of the resync interval by which it is longer or
// shorter, at the most.
const resyncJitter = 0.1

// plan says when a contact's next request is due, and how urgent it is.
type plan struct {
	// at is when the request is due: not after now for at once, zero for never.
	at    time.Time
	class budget.Class
	// unsent says that OpenCX has not been told what the manifest declares.
	unsent bool
}

func (p plan) due(now time.Time) bool { return !p.at.IsZero() && !p.at.After(now) }

// planFor decides when a request is due for contact, of which hash is what
// would be sent. changed says that what would be sent, or a key that OpenCX
// refused, is another one than at the last attempt, though the manifest is not.
// Nothing but what is listed here is a reason to send.
func planFor(contact *v1alpha1.OpenCXContact, hash string, changed bool, defaultResync time.Duration, now time.Time) plan {
	status := &contact.Status
	edited := status.ObservedGeneration != contact.Generation || changed
	unsent := status.AppliedHash != hash
	requested := contact.Annotations[v1alpha1.ReconcileAtAnnotation]

	class := budget.Resync
	switch {
	case unsent && status.AppliedHash != "" && status.ConsecutiveFailures == 0:
		class = budget.Edit
	case unsent:
		class = budget.Sync
	}

	switch {
	case requested != "" && requested != status.LastHandledReconcileAt,
		edited && status.ConsecutiveFailures > 0:
		// After a failure it is not known what OpenCX has, so an edit is sent
		// even when it goes back to what OpenCX accepted last.
		return plan{at: now, class: budget.Edit, unsent: unsent}
	case status.NextAttemptTime != nil && !edited:
		return plan{at: status.NextAttemptTime.Time, class: class, unsent: unsent}
	case unsent:
		return plan{at: now, class: class, unsent: true}
	default:
		return plan{at: resyncAt(contact, defaultResync), class: budget.Resync}
	}
}

// resyncAt is when an unchanged contact is sent again, zero for never. The
// interval differs a little from contact to contact, so that contacts that were
// created together do not stay together.
func resyncAt(contact *v1alpha1.OpenCXContact, defaultInterval time.Duration) time.Time {
	interval := defaultInterval
	if contact.Spec.ResyncInterval != nil {
		interval = contact.Spec.ResyncInterval.Duration
	}
	if interval <= 0 || contact.Status.LastSyncTime == nil {
		return time.Time{}
	}
	factor := 1 + resyncJitter*(2*fraction(contact.UID)-1)
	return contact.Status.LastSyncTime.Add(time.Duration(float64(interval) * factor))
}

// fraction maps a UID evenly to [0, 1), always to the same number.
func fraction(uid types.UID) float64 {
	sum := sha256.Sum256([]byte(uid))
	return float64(binary.BigEndian.Uint32(sum[:])) / (1 << 32)
}
