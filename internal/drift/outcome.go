package drift

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// end ends a sweep of which everything is stored that it has found.
func (s *Sweeper) end(found *v1alpha1.OpenCXOrganization, seen *sight) {
	name, now, p := client.ObjectKeyFromObject(found), time.Now(), seen.pass
	s.giveUp(found, seen)
	seen.failures = 0
	swept := &v1alpha1.SweepStatus{Watermark: status.Time(p.watermark), LastTime: status.Time(now), ContactsSeen: new(p.seen), Scope: s.Organizations.Scope.String()}
	if last := s.lastOf(found); last != nil {
		swept.LastFullTime = last.LastFullTime
	}
	seen.began = p.requestedAt
	if p.full {
		swept.LastFullTime = status.Time(p.requestedAt)
		seen.fullBegan = p.requestedAt
	}
	sweepsTotal.WithLabelValues(name.String(), "swept").Inc()
	s.tell(name, seen, swept, metav1.Condition{
		Status: metav1.ConditionTrue, Reason: v1alpha1.SweptReason, Message: "The contacts are compared with what OpenCX has",
	})
}

// giveUp forgets the sweep that is under way. What one of all contacts has cost, whether it
// came to its end or not, counts for when the next one may begin.
func (s *Sweeper) giveUp(found *v1alpha1.OpenCXOrganization, seen *sight) {
	if p := seen.pass; p.full {
		limit := s.Organizations.LimitOf(found)
		seen.fullEnded = time.Now()
		seen.fullRest = fullShare * time.Duration(p.requests) * limit.Window / time.Duration(limit.Requests)
	}
	seen.pass = nil
}

// refused notes that OpenCX has not answered with a page, and returns when to ask again.
func (s *Sweeper) refused(ctx context.Context, found *v1alpha1.OpenCXOrganization, seen *sight, interval time.Duration, a answer, keyVersion string) (next time.Time) {
	name := client.ObjectKeyFromObject(found)
	switch {
	case a.meaning == limited:
		return time.Now() // the budget has told when
	case a.meaning == forbidden:
		s.giveUp(found, seen)
		seen.refusedKey, seen.refusedUntil = keyVersion, time.Now().Add(forbiddenPause)
		sweepsTotal.WithLabelValues(name.String(), "forbidden").Inc()
		s.tell(name, seen, seen.told.Sweep, metav1.Condition{
			Status: metav1.ConditionFalse, Reason: v1alpha1.ListForbiddenReason,
			Message: "OpenCX does not let the API key list contacts (403), so nobody sees when they change in OpenCX; contacts are sent all the same. It is tried again once a day, and when the key changes: give it the scope contacts:read, or set spec.driftCheckInterval to 0s",
		})
		return time.Now().Add(interval)
	case a.meaning == refused && seen.pass.cursor != "" && !seen.pass.again:
		was := seen.pass // of which the cursor was perhaps too old
		seen.pass = &pass{full: was.full, after: was.after, sources: was.sources, requests: was.requests, failuresBefore: was.failuresBefore, again: true}
		return time.Now()
	case a.meaning == refused:
		s.giveUp(found, seen)
	}
	return s.failed(ctx, found, seen, interval, a.text)
}

// failed notes that a sweep has come no further, and returns when it is tried again.
func (s *Sweeper) failed(ctx context.Context, found *v1alpha1.OpenCXOrganization, seen *sight, interval time.Duration, text string) (next time.Time) {
	name := client.ObjectKeyFromObject(found)
	seen.failures++
	seen.notBefore = time.Now().Add(min(interval, firstRetry<<min(seen.failures-1, 6)))
	sweepsTotal.WithLabelValues(name.String(), "failed").Inc()
	if seen.failures == toldFailures {
		log.FromContext(ctx).Info("Looking for drift fails", "reason", text)
	}
	if seen.failures >= toldFailures {
		s.tell(name, seen, seen.told.Sweep, metav1.Condition{
			Status: metav1.ConditionFalse, Reason: v1alpha1.SweepFailedReason,
			Message: fmt.Sprintf("The look at what OpenCX has fails, which is tried again: %s", text),
		})
	}
	return seen.notBefore
}

// tell has the status of an organization say what the last sweep was, and DriftChecked.
func (s *Sweeper) tell(name types.NamespacedName, seen *sight, last *v1alpha1.SweepStatus, checked metav1.Condition) {
	checked.Type = v1alpha1.DriftCheckedCondition
	s.mu.Lock()
	seen.told = organization.Sweeps{Sweep: last, Condition: &checked}
	s.mu.Unlock()
	s.Told(name)
}
