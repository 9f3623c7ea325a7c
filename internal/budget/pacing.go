package budget

import (
	"iter"
	"time"
)

// pacing spreads the requests of a backlog over the window, so that edits find a
// slot whenever they come. Slots that were used together come free together, so a
// backlog that takes all it can get leaves edits nothing until a window later, and
// again a window after that. Therefore:
//
//   - A few slots, floor, are never the backlog's.
//   - A grant must leave what edits may need until the next slots come free, and the
//     next: keep of them in a window, in proportion to the time until then. What is
//     kept shrinks as that moment comes near, so nothing is kept in vain.
//   - Within that, a burst may use up all but keep of an empty window at once. It is
//     ahead of a schedule that has a slot for the backlog every interval, slower than the
//     limit allows by those few slots. Once the burst was used up, the backlog stays
//     behind the schedule until it is drained: another burst when those slots come
//     free would keep them in a lump for ever.
//
// A slot that is taken a moment late does not delay those after it; but no more than
// one is caught up.
//
// For example at 100/1m, 300 contacts that are applied together while nobody edits: 80 go
// at once, and 20 slots are left. By the schedule, which has one every 0.625 s, number 81
// is due after 49.4 s; 96 slots are in use at 58.8 s, and from 60 s on the burst comes
// free, but the schedule goes on, and the last has its slot after 186.3 s, a little more
// than the three windows of the limit. When 85 slots were in use at the start, by a process
// that was restarted, there is no schedule to wait for; then 14 are left after one more,
// which at 20 in a window last for 42 s, so that one is due at 18 s, and the next at 21 s.
//
// The caller guards it, and does not ask on behalf of edits, which take any slot.
type pacing struct {
	paced bool      // the burst was used up
	idle  bool      // nobody of the backlog waited when it was last heard of
	next  time.Time // the schedule's next slot for the backlog
}

// keep is how many slots of a window are kept for edits while those in use are in a
// lump, and floor how many are kept always. interval is how often the schedule has
// a slot for the backlog.
func (l Limit) keep() int               { return l.Requests / 5 }
func (l Limit) floor() int              { return l.Requests * 4 / 100 }
func (l Limit) interval() time.Duration { return l.Window / time.Duration(l.Requests-l.floor()) }

// bursts says whether a burst may go on while that many slots are free.
func (l Limit) bursts(free int) bool { return free > l.keep() }

// from is from when the backlog may have one more slot. That many are free now, and
// the others become free at the times that frees yields, ascending, with how many at
// each; of a request that is under way the best guess is a window from now. It is
// zero when that is not known, because too few of them are told: never, while nothing
// else changes. It must be asked only while somebody of the backlog waits.
func (p *pacing) from(now time.Time, limit Limit, free int, frees iter.Seq2[time.Time, int]) time.Time {
	if p.idle {
		// Decided now and once: when slots come free later, it is the middle of a drain.
		p.idle = false
		p.paced = p.paced && !limit.bursts(free)
	}
	at := spares(now, limit, free, frees)
	if at.IsZero() || !p.paced && limit.bursts(free) {
		return at
	}
	if longest := now.Add(limit.Window); p.next.After(longest) {
		p.next = longest // the window was longer before
	}
	return latest(at, p.next)
}

// spares is from when a grant spares enough for edits.
func spares(now time.Time, limit Limit, free int, frees iter.Seq2[time.Time, int]) time.Time {
	keep, floor := limit.keep(), limit.floor()
	left, at := free-1, now
	if left >= keep {
		return at
	}
	between := limit.Window / time.Duration(max(1, keep))
	for until, slots := range frees {
		if left < floor {
			at = latest(at, until)
		} else {
			at = latest(at, until.Add(-between*time.Duration(left)))
		}
		if left += slots; left >= keep {
			break
		}
	}
	if left < floor {
		return time.Time{}
	}
	return at
}

// granted notes that the backlog got a slot at now, when that many were free.
func (p *pacing) granted(now time.Time, limit Limit, free int) {
	if !limit.bursts(free - 1) {
		p.paced = true
	}
	p.next = latest(p.next, now.Add(-limit.Window/time.Duration(limit.Requests))).Add(limit.interval())
}

// rested notes that nobody of the backlog waits while that many slots are free. Who
// comes later starts another burst, unless most of the window is in use still:
// contacts that arrive one by one are one backlog.
func (p *pacing) rested(limit Limit, free int) {
	p.idle = true
	p.paced = p.paced && !limit.bursts(free)
}
