package drift

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// due is when the next sweep begins, and whether it looks at all contacts.
func (s *Sweeper) due(ctx context.Context, found *v1alpha1.OpenCXOrganization, seen *sight, interval time.Duration, now time.Time) (at time.Time, full bool, plan Plan, err error) {
	at = found.CreationTimestamp.Add(interval)
	fullAfter, fullBegan := seen.fullEnded.Add(max(interval, seen.fullRest)), seen.fullBegan
	last := s.lastOf(found)
	if last != nil {
		if last.LastTime != nil {
			at = last.LastTime.Add(interval)
		}
		if fullBegan.IsZero() && last.LastFullTime != nil { // by a process before this one
			fullBegan = last.LastFullTime.Time
			fullAfter = later(fullAfter, notAhead(fullBegan.Add(interval), interval, now))
		}
	}
	plan, err = s.Contacts.Plan(ctx, client.ObjectKeyFromObject(found), seen.began, fullBegan)
	if err != nil || !plan.Contacts {
		return now.Add(interval), false, plan, err
	}
	at = notAhead(at, interval, now)
	knows := last != nil && last.Watermark != nil || !plan.Oldest.IsZero() // since when changes matter
	fullAt := at
	if plan.Unlisted {
		fullAt = notAhead(fullBegan.Add(fullPause), fullPause, now)
		if !plan.Newest.IsZero() {
			fullAt = notAhead(plan.Newest.Add(s.Settling), s.Settling, now)
		}
	}
	if plan.Unlisted || !knows {
		if fullAt = later(fullAt, fullAfter); fullAt.Before(at) || !knows {
			at = fullAt
		}
		// When a sweep is due, those who wait do so no longer for one that still settles.
		full = !fullAt.After(later(at, now).Add(s.Settling))
	}
	return later(at, seen.notBefore), full, plan, nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// notAhead is at, or now for a time that is further ahead than it can be: whoever wrote
// that had a clock that was.
func notAhead(at time.Time, most time.Duration, now time.Time) time.Time {
	if at.After(now.Add(most)) {
		return now
	}
	return at
}

// lastOf is what is known of the last sweep: by this process, or by one before it that
// compared the same contacts.
func (s *Sweeper) lastOf(found *v1alpha1.OpenCXOrganization) *v1alpha1.SweepStatus {
	told, before := s.TellsOf(client.ObjectKeyFromObject(found)).Sweep, found.Status.Sweep
	if told == nil && before != nil && before.Scope == s.Organizations.Scope.String() {
		return before
	}
	return told
}

// begin begins a sweep of what has changed since the watermark, or of all contacts.
func (s *Sweeper) begin(found *v1alpha1.OpenCXOrganization, plan Plan, full bool) *pass {
	p := &pass{full: full, sources: NewSources(s.Live, &s.kept)}
	switch last := s.lastOf(found); {
	case full:
	case last != nil && last.Watermark != nil:
		p.after = last.Watermark.Time
	default:
		p.after = plan.Oldest.Add(-s.Overlap)
	}
	return p
}
