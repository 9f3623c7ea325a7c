package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// policyOf is what happens when OpenCX has something else than a contact declares.
func policyOf(contact *v1alpha1.OpenCXContact) v1alpha1.DriftPolicy {
	return cmp.Or(contact.Spec.DriftPolicy, v1alpha1.DriftCorrect)
}

// isIntroduced says that a contact is compared before anything of it is ever sent.
func isIntroduced(contact *v1alpha1.OpenCXContact, told *v1alpha1.OpenCXContactStatus) bool {
	return policyOf(contact) == v1alpha1.DriftReport && told.AttemptedHash == "" && told.AppliedHash == ""
}

// introduces says so of this one, unless somebody asks for a request.
func (f *facts) introduces() bool { return isIntroduced(f.contact, &f.status) && !f.wished() }

// repeated says when what OpenCX was told is sent again, and why; zero for never.
func (f *facts) repeated(now time.Time) (cause, time.Time) {
	policy := policyOf(f.contact)
	last := f.status.LastSyncTime
	if last == nil {
		last = f.status.LastVerifiedTime
	}
	var resyncAt time.Time
	if last != nil && policy != v1alpha1.DriftReport { // else somebody else has written the status
		resyncAt = resyncDue(f.contact.UID, last.Time, f.resyncInterval(), now)
	}
	repairAt := now
	switch {
	case policy != v1alpha1.DriftCorrect, !wantsRepair(f.state.drift):
		return resync, resyncAt
	case f.state.drift == v1alpha1.FieldsDifferReason:
		repairAt = f.repairAt(now)
	}
	if !resyncAt.IsZero() && resyncAt.Before(repairAt) {
		return resync, resyncAt
	}
	return drifted, repairAt
}

// wantsRepair says that a contact of which Drifted has that reason is to be sent again:
// fields differ, or what OpenCX has nobody knows, because nobody was to look.
func wantsRepair(reason string) bool {
	return reason == v1alpha1.FieldsDifferReason || reason == v1alpha1.IgnoredReason
}

// repairAt is when a contact that has drifted is sent again.
func (f *facts) repairAt(now time.Time) time.Time {
	last := f.status.LastRepairTime
	if last == nil || last.After(now) { // the clock of who wrote that was ahead
		return now
	}
	return last.Add(drift.Pause(f.organization.DriftCheckInterval, f.status.ConsecutiveRepairs))
}

// mostFields are how many of those that differ are told.
const mostFields = 16

// found notes which fields differ: none when OpenCX has what is declared.
func (b *book) found(fields []string) {
	if b.introduces() {
		b.told.ObservedGeneration = b.contact.Generation // which is the one that was compared
	}
	if len(fields) == 0 {
		b.verified()
		return
	}
	s := &b.told
	if last := s.LastRepairTime; last != nil && b.now.Sub(last.Time) > drift.Forgiven {
		s.ConsecutiveRepairs = 0
	}
	s.DriftedFields = fields[:min(len(fields), mostFields)]
	b.drift(metav1.ConditionTrue, v1alpha1.FieldsDifferReason, b.difference())
}

// verified notes that OpenCX has what is declared, unless status says so since the last
// change.
func (b *book) verified() {
	s := &b.told
	last, attempted := s.LastVerifiedTime, s.LastAttemptTime
	if b.state.drift == v1alpha1.VerifiedReason && last != nil && (attempted == nil || !attempted.After(last.Time)) &&
		(b.seenUpdate.Equal(b.listing.UpdatedAt) || b.listing.UpdatedAt.Before(last.Add(-clockSkew))) {
		return
	}
	message := "OpenCX has what is declared"
	if b.contact.Spec.HTTPActionOverrides != nil {
		message += "; of httpActionOverrides, it does not show what it has"
	} else if b.introduces() {
		s.AppliedHash, s.AttemptedHash = b.hash, status.Attempt{Hash: b.hash}.String()
		s.Organization = b.organization.Name.String()
		b.synced(presentMessage)
	}
	s.LastVerifiedTime = status.Time(b.listing.RequestedAt)
	b.drift(metav1.ConditionFalse, v1alpha1.VerifiedReason, message)
}

// passedOver notes that the contact has changed in OpenCX and could not be compared. What
// is unsent will make up for that, unless it is taken back; then a sweep of all contacts
// does.
func (b *book) passedOver() {
	if b.told.AppliedHash != "" && b.state.drift != v1alpha1.FieldsDifferReason && policyOf(b.contact) != v1alpha1.DriftIgnore {
		b.drift(metav1.ConditionUnknown, v1alpha1.NotVerifiedReason, notVerified)
	}
}

// clockSkew is how much the clocks of OpenCX and of this process may differ.
const clockSkew = 5 * time.Minute

// accepts notes what an accepted PATCH means for what OpenCX has. repeats says that it had
// been accepted before.
func (b *book) accepts(repeats bool) {
	was := b.state.drift
	switch {
	case repeats && was == v1alpha1.FieldsDifferReason:
		b.told.ConsecutiveRepairs++
		b.told.LastRepairTime = status.Time(b.now)
		b.drift(metav1.ConditionFalse, v1alpha1.RepairedReason, "OpenCX has accepted the contact again, after "+strings.Join(b.told.DriftedFields, ", ")+" differed")
	case !repeats, was == v1alpha1.IgnoredReason:
		b.drift(metav1.ConditionUnknown, v1alpha1.NotVerifiedReason, notVerified)
	}
}

const notVerified = "What OpenCX has was not compared since it changed last"

// difference is what Drifted says while fields differ.
func (b *book) difference() string {
	message := "OpenCX has something else than is declared in " + strings.Join(b.told.DriftedFields, ", ")
	switch n := b.told.ConsecutiveRepairs; {
	case policyOf(b.contact) == v1alpha1.DriftReport:
		return message + "; nothing is sent because of that while spec.driftPolicy is Report"
	case b.contact.Spec.Suspend:
		return message + "; the contact is sent again when spec.suspend is false"
	case n == 0 || b.told.LastRepairTime == nil:
		return message + "; the contact is sent again"
	default:
		next := b.told.LastRepairTime.Add(drift.Pause(b.organization.DriftCheckInterval, n))
		return message + fmt.Sprintf("; the contact is sent again at %s at the earliest, because it was before, and that did not last (repairs in a row: %d): find out who else changes it, or set spec.driftPolicy to Report or Ignore",
			next.UTC().Format(time.RFC3339), n)
	}
}

// introduced notes that nothing is sent of a contact that OpenCX has never accepted,
// because its drift is reported and not corrected.
func (b *book) introduced() {
	b.told.ObservedGeneration = b.contact.Generation
	told := meta.FindStatusCondition(b.told.Conditions, v1alpha1.DriftedCondition)
	changed := b.seenHash != "" && b.seenHash != b.hash                              // as when a value in a Secret has
	if told != nil && (changed || told.ObservedGeneration != b.contact.Generation) { // it is about something else
		b.drift(metav1.ConditionUnknown, v1alpha1.NotVerifiedReason, notCompared)
		told = nil
	}
	const remedy = "set spec.driftPolicy to Correct, or ask for one request with the annotation " + v1alpha1.ReconcileAtAnnotation
	switch {
	case told != nil && told.Reason == v1alpha1.FieldsDifferReason:
		b.stalled(v1alpha1.ReportedReason, "OpenCX has something else than is declared in "+strings.Join(b.told.DriftedFields, ", ")+
			". Nothing was ever sent of this contact, and nothing is while spec.driftPolicy is Report: correct the manifest, "+remedy)
	case told != nil && told.Reason == v1alpha1.VerifiedReason:
		b.stalled(v1alpha1.NotComparedReason, "OpenCX has what is declared as far as it shows that, but of httpActionOverrides it shows nothing, and nothing is sent while spec.driftPolicy is Report: "+remedy)
	case b.organization.DriftCheckInterval <= 0:
		b.stalled(v1alpha1.NotComparedReason, "Nothing is sent of a contact whose spec.driftPolicy is Report before it was compared with what OpenCX has, and its organization never looks: its spec.driftCheckInterval is 0s: "+remedy)
	default:
		b.reconciling(metav1.ConditionUnknown, v1alpha1.NotComparedReason, notCompared)
	}
}

const notCompared = "Nothing is sent of a contact whose spec.driftPolicy is Report before it was compared with what OpenCX has, which its organization looks at from time to time; if this lasts, see the condition DriftChecked of that, and whether OpenCX has a contact of this spec.contactID"

// drifts brings Drifted up to date with what has changed besides what OpenCX has.
func (b *book) drifts() {
	told := meta.FindStatusCondition(b.told.Conditions, v1alpha1.DriftedCondition)
	policy := policyOf(b.contact)
	switch {
	case policy == v1alpha1.DriftIgnore:
		b.drift(metav1.ConditionUnknown, v1alpha1.IgnoredReason, "Nobody looks at what OpenCX has while spec.driftPolicy is Ignore")
	case told == nil, isIntroduced(b.contact, &b.told):
	case b.organization.Problem == nil && b.organization.DriftCheckInterval <= 0 && !wantsRepair(told.Reason):
		b.forgetsDrift() // nobody looks any more
	case told.Reason == v1alpha1.IgnoredReason && policy == v1alpha1.DriftReport:
		meta.RemoveStatusCondition(&b.told.Conditions, v1alpha1.DriftedCondition) // it begins now
		b.drift(metav1.ConditionUnknown, v1alpha1.NotVerifiedReason, notVerified)
	case told.Reason == v1alpha1.FieldsDifferReason:
		b.drift(told.Status, told.Reason, b.difference())
	default:
		b.drift(told.Status, told.Reason, told.Message)
	}
}

func (b *book) drift(is metav1.ConditionStatus, reason, message string) {
	if reason != v1alpha1.FieldsDifferReason {
		b.told.DriftedFields = nil
	}
	meta.SetStatusCondition(&b.told.Conditions, metav1.Condition{
		Type: v1alpha1.DriftedCondition, Status: is, Reason: reason, Message: message, ObservedGeneration: max(0, b.told.ObservedGeneration),
	})
}

// forgetsDrift notes that what OpenCX has is not this contact's affair.
func (b *book) forgetsDrift() {
	meta.RemoveStatusCondition(&b.told.Conditions, v1alpha1.DriftedCondition)
	b.told.DriftedFields = nil
}

// tellDrift logs that a contact has drifted, or was repaired, and records an event of the
// first.
func (r *ContactReconciler) tellDrift(ctx context.Context, before, after *v1alpha1.OpenCXContact) {
	was, is := stateOf(&before.Status).drift, stateOf(&after.Status).drift
	organization := r.organizations.NameFor(after).String()
	switch {
	case is == v1alpha1.FieldsDifferReason && (was != is || !slices.Equal(before.Status.DriftedFields, after.Status.DriftedFields)):
		if was != is {
			drift.CountFound(organization)
		}
		log.FromContext(ctx).Info("Contact has drifted", "contactID", after.Spec.ContactID, "fields", after.Status.DriftedFields)
		r.Recorder.Eventf(after, nil, corev1.EventTypeWarning, v1alpha1.DriftedCondition, "CompareContact", "%s",
			cutNote("OpenCX has something else than is declared in "+strings.Join(after.Status.DriftedFields, ", ")))
	case is == v1alpha1.RepairedReason && was == v1alpha1.FieldsDifferReason:
		drift.CountRepaired(organization)
		log.FromContext(ctx).Info("Contact was repaired", "contactID", after.Spec.ContactID, "fields", before.Status.DriftedFields)
	}
}
