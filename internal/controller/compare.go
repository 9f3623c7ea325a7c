package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/drift"
)

// errStale says that the values of a contact are another version than the cache knows.
var errStale = errors.New("the cache does not know these values yet")

// patience is for how many times the settling time it is tried to compare a contact. One
// whose values change all the time, or cannot be read, or whose status cannot be written, must
// not hold up the sweep, which is that of all contacts.
const patience = 6

// compare stores what follows from what OpenCX lists of the contact, if that is to be
// compared. It says whether there is anything new to decide on.
func (r *ContactReconciler) compare(ctx context.Context, f *facts, d decision) (stored bool, err error) {
	if f.listing == nil {
		return false, nil
	}
	late := time.Since(f.listing.RequestedAt) > patience*r.Drift.Settling
	if d.step == load && !late { // what it has to be compared with cannot be read at present
		return false, nil
	}
	before := f.contact
	b := book{facts: *f, told: *f.status.DeepCopy(), now: time.Now()}
	switch {
	case f.isRecent(r.Drift.Settling), f.listing.Organization != f.organization.Name: // it has moved since
	case d.step != load && f.isComparable():
		fields, known, err := r.differences(ctx, f)
		if err != nil && !late {
			return false, err
		}
		if err == nil && known {
			b.found(fields)
		} else {
			b.passedOver()
		}
	default:
		b.passedOver()
	}
	if err := r.store(ctx, f, b.told); err != nil {
		if late { // its labels may be so many that no status can be written
			r.memory.passOver(f.contact, f.listing)
		}
		return false, err
	}
	r.memory.compared(f.contact, f.listing, f.hash)
	f.seenHash = f.hash
	return f.contact != before, nil
}

// isComparable says that what OpenCX lists can be compared with what is declared: nothing
// else is unsent, and nothing failed.
func (f *facts) isComparable() bool {
	switch {
	case f.organization.Problem != nil, !f.title.Owns, policyOf(f.contact) == v1alpha1.DriftIgnore, f.wished():
		return false
	case f.introduces():
		return true
	}
	return f.hash == f.status.AppliedHash && f.status.ConsecutiveFailures == 0 && f.status.NextAttemptTime == nil
}

// isRecent says that a request had hardly ended when OpenCX was asked, or has since: then
// OpenCX lists the contact once more.
func (f *facts) isRecent(settling time.Duration) bool {
	ended := f.attemptEnded
	if last := f.status.LastAttemptTime; ended.IsZero() && last != nil && last.Time.Before(f.listing.RequestedAt.Add(clockSkew)) {
		ended = last.Add(time.Second) // of a process before this one; status has whole seconds
	}
	return ended.After(f.listing.RequestedAt.Add(-settling))
}

// differences compares what OpenCX lists with the values that are declared: of the versions
// that the cache knows. known is false when they cannot be used.
func (r *ContactReconciler) differences(ctx context.Context, f *facts) (fields []string, known bool, err error) {
	spec, namespace := &f.contact.Spec, f.contact.Namespace
	if f.sourced {
		if _, ok := r.reads.begin(namespace, false); !ok {
			return nil, false, errBusy
		}
		defer r.reads.end(namespace)
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	cached, err := desired.CachedVersions(ctx, r.cache, namespace, spec)
	if err != nil {
		return nil, false, err
	}
	if r.hash(f, cached) != f.hash { // what is noted of the hash must be true of these values
		return nil, false, errStale
	}
	// What the sweep has read may be older than the cache by now.
	for _, reader := range []client.Reader{f.listing.Sources, r.live} {
		declared, versions, err := desired.ReadListed(ctx, reader, namespace, spec)
		if _, is := errors.AsType[*desired.ValueError](err); is {
			return nil, false, nil
		}
		if err != nil && !errors.Is(err, drift.ErrTooMuch) {
			return nil, false, fmt.Errorf("reading what is compared: %w", err)
		}
		if err == nil && versions.AreOf(cached) {
			return drift.Differences(declared, f.listing.ListedContact), true, nil
		}
	}
	return nil, false, errStale
}
