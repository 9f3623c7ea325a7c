package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
)

func (b bench) drain(ctx context.Context, r *result) error {
	return withOperator(ctx, b.short, func(w *world) error {
		if err := w.declare("import", many); err != nil {
			return err
		}
		told := map[string]promise{}
		least := bound(b.short)
		err := w.until("the drain's end", 3*least, func() (bool, error) {
			return len(w.accepted()) >= many, errors.Join(w.promises(told), w.pause(time.Second))
		})
		if err != nil {
			return err
		}
		journal, accepted := w.simulator.Journal(), w.accepted()
		windows := lastAccepted(accepted).Sub(journal[0].Time).Seconds() / b.short.Window.Seconds()
		r.told("windows", windows, "")
		r.atMost("windows more than contacts ÷ limit", windows-many/float64(b.short.Requests), 0.5, "")
		r.atMost("refused", float64(refused(journal)), 0, "")
		r.exactly("requests", float64(len(journal)), many)
		right := 0
		for name, p := range told {
			if p.kept(accepted[name]) {
				right++
			}
		}
		r.told("contacts that told when their turn comes", float64(len(told)), "")
		r.atLeast("of them right within a tenth", 100*float64(right)/float64(max(1, len(told))), 95, "%")
		return nil
	})
}

// promise is what the status of a contact tells of its turn.
type promise struct{ declared, at time.Time }

// kept says whether the turn came when it was told, within a tenth of the wait and the
// second to which times are told.
func (p promise) kept(at time.Time) bool {
	return at.Sub(p.at).Abs() <= at.Sub(p.declared)/10+time.Second
}

var aboutWhen = regexp.MustCompile(`at about (\S+)$`)

// promises adds to told what contacts tell of their turns and did not tell before.
func (w *world) promises(told map[string]promise) error {
	var contacts v1alpha1.OpenCXContactList
	if err := w.k8s.List(w, &contacts); err != nil {
		return err
	}
	for _, contact := range contacts.Items {
		ready := meta.FindStatusCondition(contact.Status.Conditions, v1alpha1.ReadyCondition)
		if _, known := told[contact.Name]; known || ready == nil || ready.Reason != v1alpha1.WaitingReason {
			continue
		}
		about := aboutWhen.FindStringSubmatch(ready.Message)
		if about == nil {
			return fmt.Errorf("%s waits and does not tell for when: %q", contact.Name, ready.Message)
		}
		at, err := time.Parse(time.RFC3339, about[1])
		if err != nil {
			return err
		}
		told[contact.Name] = promise{contact.CreationTimestamp.Time, at}
	}
	return nil
}

func (b bench) editsBesideADrain(ctx context.Context, r *result) error {
	return edits(ctx, r, b.short, many)
}

// editsInTheRealWindow shows what a shorter one cannot: how long people wait in the
// first window of a drain.
func (b bench) editsInTheRealWindow(ctx context.Context, r *result) error {
	return edits(ctx, r, budget.DefaultLimit, 400)
}

// edits makes ten edits in a window, at random times, until a drain has ended.
func edits(ctx context.Context, r *result, limit budget.Limit, backlog int) error {
	const edited, perWindow = 30, 10
	return withOperator(ctx, limit, func(w *world) error {
		if err := w.declare("shop", edited); err != nil {
			return err
		}
		if err := errors.Join(w.untilReady(edited, time.Minute), w.pause(limit.Window+time.Second)); err != nil {
			return err
		}
		imported := make(chan error, 1)
		go func() { imported <- w.declare("import", backlog) }()
		made := map[string]time.Time{}
		latencies := []float64{}
		start := time.Now()
		for i := 0; len(w.accepted()) < backlog+edited; i++ {
			if err := w.pause(time.Duration(rand.ExpFloat64() * float64(limit.Window/perWindow))); err != nil {
				return err
			}
			if time.Since(start) > time.Duration(4*backlog/limit.Requests)*limit.Window {
				return errors.New("the drain does not end")
			}
			name := fmt.Sprintf("shop-%04d", i%edited)
			if last, before := made[name]; before && !w.accepted()[name].After(last) {
				continue // still waits
			} else if before {
				latencies = append(latencies, w.accepted()[name].Sub(last).Seconds())
			}
			made[name] = time.Now()
			if err := w.edit("shop", name, fmt.Sprintf("edit %d", i)); err != nil {
				return err
			}
		}
		if err := errors.Join(<-imported, w.pause(limit.Window)); err != nil {
			return err
		}
		accepted := w.accepted()
		for name, at := range made {
			if !accepted[name].After(at) {
				return fmt.Errorf("the last edit of %s was never accepted", name)
			}
			latencies = append(latencies, accepted[name].Sub(at).Seconds())
		}
		slices.Sort(latencies)
		window := limit.Window.Seconds()
		r.told("edits", float64(len(latencies)), "")
		r.told("median until accepted", latencies[len(latencies)/2], "s")
		r.atMost("p95 until accepted", latencies[(len(latencies)*95+99)/100-1], max(window/60, 0.3), "s")
		r.atMost("worst until accepted", latencies[len(latencies)-1], max(window/12, 1), "s")
		r.atMost("refused", float64(refused(w.simulator.Journal())), 0, "")
		return nil
	})
}

// edit gives a contact another name at OpenCX.
func (w *world) edit(namespace, name, value string) error {
	contact := &v1alpha1.OpenCXContact{}
	contact.Namespace, contact.Name = namespace, name
	return w.k8s.Patch(w, contact, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"name":%q}}`, value)))
}
