// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"iter"
	"time"
)

// pacingPolicies are those that are compared, the one that is used first.
var pacingPolicies = []struct {
	name string
	make func(*pacingRun) policy
}{
	{"**as it is**: 80 at once, then a schedule", func(*pacingRun) policy { return &pacing{} }},
	{"the schedule from the start", func(*pacingRun) policy { return evenPolicy{&pacing{paced: true}} }},
	{"80 at once, a fifth kept until they come free, then W / L", func(*pacingRun) policy { return &untilFreed{} }},
	{"a fifth always kept", func(*pacingRun) policy { return fifthKept{} }},
	{"nothing kept", func(*pacingRun) policy { return noneKept{} }},
	{"as it was before: a tenth kept", func(r *pacingRun) policy { return &before{run: r} }},
}

// unobservant is the part of a policy that goes without knowing what was granted.
type unobservant struct{}

func (unobservant) granted(time.Time, Limit, int) {}
func (unobservant) rested(Limit, int)             {}

// whenFree is when that many slots are free.
func whenFree(now time.Time, want, free int, frees iter.Seq2[time.Time, int]) time.Time {
	if free >= want {
		return now
	}
	for until, slots := range frees {
		if free += slots; free >= want {
			return until
		}
	}
	return time.Time{}
}

// noneKept lets the backlog have every slot that edits do not use at once.
type noneKept struct{ unobservant }

func (noneKept) from(now time.Time, _ Limit, free int, frees iter.Seq2[time.Time, int]) time.Time {
	return whenFree(now, 1, free, frees)
}

// fifthKept lets the backlog have what leaves a fifth of the window.
type fifthKept struct{ unobservant }

func (fifthKept) from(now time.Time, limit Limit, free int, frees iter.Seq2[time.Time, int]) time.Time {
	return whenFree(now, limit.keep()+1, free, frees)
}

// evenPolicy is pacing without a burst.
type evenPolicy struct{ *pacing }

func (evenPolicy) rested(Limit, int) {}

// untilFreed keeps a fifth of the window until the first slots of the burst come
// free, and then spreads the backlog evenly over all of it.
type untilFreed struct {
	unobservant
	next time.Time
}

func (p *untilFreed) from(now time.Time, limit Limit, free int, frees iter.Seq2[time.Time, int]) time.Time {
	if p.next.IsZero() {
		if limit.bursts(free) {
			return now
		}
		p.next = whenFree(now, free+1, free, frees)
	}
	return latest(p.next, whenFree(now, 1, free, frees))
}

func (p *untilFreed) granted(now time.Time, limit Limit, _ int) {
	if !p.next.IsZero() && !now.Before(p.next) {
		interval := limit.Window / time.Duration(limit.Requests)
		p.next = latest(p.next, now.Add(-interval)).Add(interval)
	}
}

// before is what the budget did before pacing: a backlog that fits goes at once, a
// larger one at W / L or slower by as many edits as overtook it, and a tenth is kept
// in proportion to the time until slots come free.
type before struct {
	run    *pacingRun
	next   time.Time
	isPace bool // the slot is one of a backlog that does not fit
}

func (p *before) from(now time.Time, limit Limit, free int, _ iter.Seq2[time.Time, int]) time.Time {
	spare := limit.Requests / 10
	if p.isPace = p.run.waiting() > free || free <= spare; !p.isPace {
		return now
	}
	at := p.next
	for _, run := range p.run.used.runs {
		if free >= spare {
			break
		}
		at = latest(at, run.Until.Add(-limit.Window/time.Duration(spare)*time.Duration(free)))
		free += run.Slots
	}
	return latest(at, now)
}

func (p *before) granted(now time.Time, limit Limit, free int) {
	if !p.isPace {
		return
	}
	interval := limit.Window / time.Duration(limit.Requests)
	if expected := float64(min(len(p.run.overtaken), limit.Requests/2)); expected > 0 {
		for _, run := range p.run.used.runs {
			left := run.Until.Sub(now)
			slots := float64(free) - expected*left.Seconds()/limit.Window.Seconds()
			interval = max(interval, time.Duration(float64(left)/max(1, slots)))
			free += run.Slots
		}
	}
	if p.next = p.next.Add(interval); p.next.Before(now) {
		p.next = now.Add(interval)
	}
}

func (p *before) rested(Limit, int) {}
