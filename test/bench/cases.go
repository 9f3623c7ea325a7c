package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// many is how many contacts a backlog has.
const many = 1000

// bench is what the flags set.
type bench struct {
	short budget.Limit  // OpenCX's limit in a shorter window, for drains
	idle  time.Duration // how long nothing happens
	pairs int           // how often operator and bare loop are compared
	// unused is how many Secrets there are that no contact names.
	unused int
}

// cases are the rows of the table, in order.
func (b bench) cases() []struct {
	name string
	run  func(context.Context, *result) error
} {
	return []struct {
		name string
		run  func(context.Context, *result) error
	}{
		{"80 contacts into an empty window", b.smallBatch},
		{"drain of 1000 at the limit", b.drain},
		{"ten edits in a window beside a drain of 1000", b.editsBesideADrain},
		{"ten edits in a real window beside 400 contacts", b.editsInTheRealWindow},
		{"three kills and restarts in a drain", b.kills},
		{"somebody else takes half of the quota", b.others},
		{"300 contacts that get 500 for ever", b.broken},
		{"OpenCX down for ten windows", b.outage},
		{"revoked key and 1000 contacts waiting", b.revoked},
		{"150 organizations with bogus keys", b.bogus},
		{"no limit", b.noLimit},
		{"restart and idle with 1000 in sync", b.rest},
		{"Secrets that nobody uses", b.secrets},
	}
}

// bound is the least time in which many requests can be made.
func bound(limit budget.Limit) time.Duration {
	return time.Duration((many+limit.Requests-1)/limit.Requests-1) * limit.Window
}

func (b bench) smallBatch(ctx context.Context, r *result) error {
	return withOperator(ctx, budget.DefaultLimit, func(w *world) error {
		if err := w.declare("shop", 80); err != nil {
			return err
		}
		applied := time.Now()
		if err := w.untilAccepted(80, 2*time.Minute); err != nil {
			return err
		}
		r.atMost("last accepted after the last apply", lastAccepted(w.accepted()).Sub(applied).Seconds(), 3, "s")
		r.exactly("requests", float64(len(w.simulator.Journal())), 80)
		return nil
	})
}

func (b bench) kills(ctx context.Context, r *result) error {
	return inWorld(ctx, b.short, func(w *world) error {
		operator, err := w.startOperator()
		if err != nil {
			return err
		}
		defer operator.Kill()
		if err := w.declare("import", many); err != nil {
			return err
		}
		lost := 0
		for _, part := range []int{250, 500, 750} {
			if err := w.untilAccepted(part, 3*bound(b.short)); err != nil {
				return err
			}
			operator.Kill()
			accepted := len(w.accepted())
			ready, err := w.ready()
			if err != nil {
				return err
			}
			lost += accepted - ready
			if operator, err = w.startOperator(); err != nil {
				return err
			}
			defer operator.Kill()
		}
		if err := errors.Join(w.untilReady(many, 5*bound(b.short)), w.pause(b.short.Window)); err != nil {
			return err
		}
		journal := w.simulator.Journal()
		r.atMost("refused", float64(refused(journal)), 0, "")
		r.told("in flight at a kill", float64(lost), "")
		r.atMost("requests", float64(len(journal)), float64(many+lost), "")
		r.told("time in bounds", lastAccepted(w.accepted()).Sub(journal[0].Time).Seconds()/bound(b.short).Seconds(), "")
		return nil
	})
}

// others sends, beside the operator and with the same key, half of the limit.
func (b bench) others(ctx context.Context, r *result) error {
	const windows, settled = 18, 3
	return withOperator(ctx, b.short, func(w *world) error {
		if err := w.declare("import", windows*b.short.Requests); err != nil {
			return err
		}
		start := time.Now()
		ticker := time.NewTicker(2 * b.short.Window / time.Duration(b.short.Requests))
		defer ticker.Stop()
		for time.Since(start) < windows*b.short.Window {
			<-ticker.C
			if err := w.somebodyElse(); err != nil {
				return err
			}
		}
		end := time.Now()
		var ours, refused, theirs float64
		for _, request := range w.simulator.Journal() {
			switch ok := request.Status == http.StatusOK; {
			case request.Time.Before(start.Add(settled*b.short.Window)) || request.Time.After(end):
			case !strings.HasPrefix(request.Path, "/contacts/import-"):
				if ok {
					theirs++
				}
			case ok:
				ours++
			default:
				ours++
				refused++
			}
		}
		left := end.Sub(start.Add(settled*b.short.Window)).Seconds()/b.short.Window.Seconds()*float64(b.short.Requests) - theirs
		r.atMost("refused after three windows", 100*refused/ours, 2, "%")
		r.atLeast("used of what is left", 100*(ours-refused)/left, 85, "%")
		return nil
	})
}

func (w *world) somebodyElse() error {
	request, err := http.NewRequestWithContext(w, http.MethodPatch, w.simulator.URL+"/contacts/theirs", strings.NewReader(`{"contact":{}}`))
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+apiKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}
