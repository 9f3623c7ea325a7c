// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"
)

// pacingLimit is what OpenCX documents; the figures of the pacing are for it.
var pacingLimit = Limit{100, time.Minute}

// policy says when a backlog may have a slot, as pacing does.
type policy interface {
	from(now time.Time, limit Limit, free int, frees iter.Seq2[time.Time, int]) time.Time
	granted(now time.Time, limit Limit, free int)
	rested(limit Limit, free int)
}

// pacingCell is a situation that policies are compared in.
type pacingCell struct {
	edits   int // in a window, on average
	backlog int
	trickle bool   // it arrives at 15 a second, not at once
	window  string // at the start: empty, even (full, its slots come free evenly), lump (full, they come free together) or most (so are 80)
}

func (c pacingCell) String() string {
	arrives := "at once"
	if c.trickle {
		arrives = "at 15 a second"
	}
	window := map[string]string{"empty": "", "even": ", window evenly full", "lump": ", window full in a lump", "most": ", 80 used in a lump"}[c.window]
	return fmt.Sprintf("%d edits, %d %s%s", c.edits, c.backlog, arrives, window)
}

// pacingRun is one simulated drain of a backlog, with edits of many namespaces at
// random times until a window after it.
type pacingRun struct {
	cell     pacingCell
	policy   policy
	now      time.Time
	start    time.Time
	nextEdit time.Time
	chance   *rand.Rand // of the edits, the same for every policy
	network  *rand.Rand

	used       usedSlots
	inFlight   []time.Time // when their answers come, ascending
	edits      []time.Time // that wait, the oldest first
	arrived    int         // of the backlog
	granted    int         // of the backlog
	served     int         // slots in all
	overtaken  []time.Time // by which edits, in the last window
	arrivals   []time.Time // at OpenCX
	lastAnswer time.Time   // to one of the backlog

	waits  []time.Duration // of the edits that came when there was a choice
	beside int             // edits that came before the drain was over
}

func newPacingRun(cell pacingCell, newPolicy func(*pacingRun) policy, seed uint64) *pacingRun {
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	r := &pacingRun{cell: cell, now: start, start: start, chance: rand.New(rand.NewPCG(seed, 1)), network: rand.New(rand.NewPCG(seed, 2))}
	r.policy = newPolicy(r)
	r.nextEdit = start.Add(r.untilNextEdit())
	for i := range map[string]int{"even": 100, "lump": 100, "most": 80}[cell.window] {
		until := start.Add(pacingLimit.Window)
		if cell.window == "even" {
			until = start.Add(pacingLimit.Window * time.Duration(i+1) / 100)
		}
		r.used.add(until, 1)
		r.arrivals = append(r.arrivals, until.Add(-pacingLimit.Window))
	}
	return r
}

func (r *pacingRun) untilNextEdit() time.Duration {
	if r.cell.edits == 0 {
		return 1000 * time.Hour
	}
	return time.Duration(r.chance.ExpFloat64() * float64(pacingLimit.Window) / float64(r.cell.edits))
}

// run simulates from event to event until nobody waits any more.
func (r *pacingRun) run() *pacingRun {
	for {
		r.happen()
		wake := r.serve()
		r.now = r.nextEvent(wake)
		if r.granted == r.cell.backlog && r.now.After(r.lastAnswer.Add(pacingLimit.Window)) && len(r.edits) == 0 {
			return r
		}
	}
}

// happen does what is due now: answers come, slots become free, somebody asks.
func (r *pacingRun) happen() {
	for len(r.inFlight) > 0 && !r.inFlight[0].After(r.now) {
		r.used.add(r.inFlight[0].Add(pacingLimit.Window), 1)
		r.inFlight = r.inFlight[1:]
	}
	r.used.prune(r.now)
	for !r.nextEdit.After(r.now) {
		r.edits = append(r.edits, r.nextEdit)
		if r.granted < r.cell.backlog {
			r.beside++
		}
		r.nextEdit = r.nextEdit.Add(r.untilNextEdit())
	}
	for r.arrived < r.cell.backlog && !r.arrival(r.arrived).After(r.now) {
		r.arrived++
	}
	for len(r.overtaken) > 0 && !r.overtaken[0].Add(pacingLimit.Window).After(r.now) {
		r.overtaken = r.overtaken[1:]
	}
}

// arrival is when number i of the backlog asks.
func (r *pacingRun) arrival(i int) time.Time {
	if !r.cell.trickle {
		return r.start
	}
	return r.start.Add(time.Second * time.Duration(i) / 15)
}

// open is when the first slot was free that a policy could give away.
func (r *pacingRun) open() time.Time {
	if r.cell.window == "lump" {
		return r.start.Add(pacingLimit.Window)
	}
	return r.start
}

func (r *pacingRun) free() int    { return pacingLimit.Requests - r.used.count - len(r.inFlight) }
func (r *pacingRun) waiting() int { return r.arrived - r.granted }

// frees is when slots come free, as far as is known before their answers.
func (r *pacingRun) frees(yield func(time.Time, int) bool) {
	for _, run := range r.used.runs {
		if !yield(run.Until, run.Slots) {
			return
		}
	}
	if len(r.inFlight) > 0 {
		yield(r.now.Add(pacingLimit.Window), len(r.inFlight))
	}
}

// serve gives slots to those who wait, edits first but for every tenth, and says
// when the backlog is to be looked at again, if it is.
func (r *pacingRun) serve() (again time.Time) {
	for r.free() > 0 && len(r.edits)+r.waiting() > 0 {
		tenth := (r.served+1)%10 == 0 && r.waiting() > 0
		if len(r.edits) > 0 && !tenth {
			if !r.edits[0].Before(r.open()) {
				r.waits = append(r.waits, r.now.Sub(r.edits[0]))
			}
			r.edits = r.edits[1:]
			if r.waiting() > 0 {
				r.overtaken = append(r.overtaken, r.now)
			}
			r.send()
			continue
		}
		if len(r.edits) == 0 {
			if again = r.policy.from(r.now, pacingLimit, r.free(), r.frees); again.IsZero() || again.After(r.now) {
				return again
			}
		}
		r.policy.granted(r.now, pacingLimit, r.free())
		r.granted++
		if answer := r.send(); answer.After(r.lastAnswer) {
			r.lastAnswer = answer
		}
	}
	if r.waiting() == 0 {
		r.policy.rested(pacingLimit, r.free())
	}
	return time.Time{}
}

// send sends a request, which arrives at some time before its answer comes.
func (r *pacingRun) send() (answer time.Time) {
	r.served++
	took := 100*time.Millisecond + time.Duration(r.network.Int64N(int64(200*time.Millisecond)))
	r.arrivals = append(r.arrivals, r.now.Add(time.Duration(r.network.Int64N(int64(took)))))
	answer = r.now.Add(took)
	i, _ := slices.BinarySearchFunc(r.inFlight, answer, time.Time.Compare)
	r.inFlight = slices.Insert(r.inFlight, i, answer)
	return answer
}

func (r *pacingRun) nextEvent(next time.Time) time.Time {
	soonest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	soonest(r.nextEdit)
	if len(r.inFlight) > 0 {
		soonest(r.inFlight[0])
	}
	if r.used.count > 0 {
		soonest(r.used.first())
	}
	if r.arrived < r.cell.backlog {
		soonest(r.arrival(r.arrived))
	}
	return next
}

// refused is how many requests OpenCX would have refused: it has had as many as the
// limit allows in the window before.
func (r *pacingRun) refused() (refused int) {
	slices.SortFunc(r.arrivals, time.Time.Compare)
	for i := pacingLimit.Requests; i < len(r.arrivals); i++ {
		if r.arrivals[i].Sub(r.arrivals[i-pacingLimit.Requests]) < pacingLimit.Window {
			refused++
		}
	}
	return refused
}

// beyond is by how many windows the drain took longer than the limit makes
// necessary in the long run.
func (r *pacingRun) beyond() float64 {
	took := r.lastAnswer.Sub(r.open()).Seconds() / pacingLimit.Window.Seconds()
	return took - float64(r.cell.backlog+r.beside)/float64(pacingLimit.Requests)
}
