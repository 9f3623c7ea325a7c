// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// worlds is how many seeds each scenario is run with.
const worlds = 3

const (
	roundTrip = 150 * time.Millisecond // of a request that is answered
	patience  = 10 * time.Second       // with one that is not
	wakeDelay = 5 * time.Millisecond   // until somebody who was woken comes, at the most
	inFlight  = 10
)

var errKilled = errors.New("the process was killed")

// world is an OpenCX with organizations, contacts and people, and the budget between
// them, in the fake time of a synctest bubble. One goroutine does everything in the
// order of time, so that a seed gives the same run again.
type world struct {
	t      *testing.T
	random *rand.Rand
	limit  Limit
	start  time.Time
	budget *Budget
	saves  bool

	// says, if set, is what OpenCX says whoever asks; accepts leaves it to the contact.
	says func() answer
	// owner is the organization at OpenCX that a key belongs to, if not one of its own.
	owner map[string]string

	events   events
	numbered int
	contacts map[Asker]*contact
	sent     []request
	arrived  map[string][]time.Time // by key, and by owner
	refused  int

	bell    chan struct{}
	mu      sync.Mutex
	process int
	woken   []Asker
	saved   map[string]Reservation
}

// tenant is an organization as the operator knows it.
type tenant struct {
	name  string
	limit Limit
	key   Key

	suspended bool
	contacts  []*contact
}

// request is one that was sent.
type request struct {
	at      time.Time
	contact *contact
	class   Class
	said    answer
}

type event struct {
	at     time.Time
	number int
	do     func()
}

// events is a heap.
type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e events) Less(i, j int) bool {
	return cmp.Or(e[i].at.Compare(e[j].at), e[i].number-e[j].number) < 0
}
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// inWorld runs a test in a world of its own.
func inWorld(t *testing.T, limit Limit, seed uint64, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("the seed was %d", seed)
			}
		})
		w := &world{
			t: t, limit: limit, start: time.Now(),
			random:   rand.New(rand.NewPCG(seed, 11)),
			owner:    map[string]string{},
			contacts: map[Asker]*contact{},
			arrived:  map[string][]time.Time{},
			bell:     make(chan struct{}, 1),
		}
		w.restart(nil)
		test(w)
		w.mu.Lock()
		w.process++ // nothing more is saved
		w.mu.Unlock()
		time.Sleep(time.Second) // for a save that is under way
		if w.refused > 0 {
			t.Errorf("%d requests came over the limit", w.refused)
		}
	})
}

// restart kills the process, at whatever it is doing, and starts another, which finds
// what was saved and looks at every contact.
func (w *world) restart(active func(organization string) bool) {
	w.mu.Lock()
	w.process++
	process, saved := w.process, maps.Clone(w.saved)
	w.woken = nil
	w.mu.Unlock()
	options := Options{Limit: w.limit, CallTimeout: patience, MaxInFlight: inFlight, Active: active, Wake: func(a Asker) { w.wake(process, a) }}
	if w.saves {
		options.Save = func(_ context.Context, r map[string]Reservation) (map[string]Reservation, error) {
			if !w.alive(process) {
				return nil, errKilled
			}
			time.Sleep(20 * time.Millisecond)
			w.mu.Lock()
			defer w.mu.Unlock()
			if process == w.process {
				w.saved = r
			}
			return nil, nil
		}
	}
	w.budget = New(options)
	w.budget.Restore(saved)
	all := slices.SortedFunc(maps.Values(w.contacts), func(x, y *contact) int { return x.number - y.number })
	for _, c := range all {
		c.busy, c.again = false, false
		w.after(w.upTo(time.Second), func() { w.look(c) })
	}
}

func (w *world) wake(process int, a Asker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if process != w.process {
		return
	}
	w.woken = append(w.woken, a)
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// alive says whether the process is still the one with that number.
func (w *world) alive(process int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return process == w.process
}

// upTo is a random duration up to d.
func (w *world) upTo(d time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(d) + 1))
}

func (w *world) after(d time.Duration, do func()) {
	w.numbered++
	heap.Push(&w.events, event{time.Now().Add(d), w.numbered, do})
}

// every does something again and again, n times if n is not 0.
func (w *world) every(d time.Duration, n int, do func(i int)) {
	var again func(i int)
	again = func(i int) {
		if do(i); i+1 != n {
			w.after(d, func() { again(i + 1) })
		}
	}
	w.after(d, func() { again(0) })
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := time.Now().Add(d)
	for {
		w.answerWakes()
		next := end
		if len(w.events) > 0 && w.events[0].at.Before(end) {
			next = w.events[0].at
		}
		if wait := time.Until(next); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-w.bell:
			}
			timer.Stop()
			synctest.Wait()
			continue
		}
		if !next.Before(end) {
			return
		}
		heap.Pop(&w.events).(event).do()
	}
}

func (w *world) answerWakes() {
	w.mu.Lock()
	woken := w.woken
	w.woken = nil
	w.mu.Unlock()
	for _, a := range woken {
		if c := w.contacts[a]; c != nil {
			w.after(w.upTo(wakeDelay), func() { w.look(c) })
		}
	}
}

// admit is OpenCX's gateway: it counts what arrives with a key, and for its owner.
func (w *world) admit(content string) bool {
	now := time.Now()
	owner := cmp.Or(w.owner[content], content)
	for _, by := range []string{"key " + content, "owner " + owner} {
		if a := w.arrived[by]; len(a) >= w.limit.Requests && now.Sub(a[len(a)-w.limit.Requests]) < w.limit.Window {
			w.refused++
			return false
		}
	}
	for _, by := range []string{"key " + content, "owner " + owner} {
		w.arrived[by] = append(w.arrived[by], now)
	}
	return true
}

// requests is how many were sent from one time to another, since the start, by those
// for whom which is true.
func (w *world) requests(from, to time.Duration, which func(r request) bool) (n int) {
	for _, r := range w.sent {
		if at := r.at.Sub(w.start); at >= from && at < to && which(r) {
			n++
		}
	}
	return n
}

func anyRequest(request) bool { return true }

// waits are how long people waited.
type waits []time.Duration

// quantile is how long that part of them waited at the most.
func (l waits) quantile(q float64) time.Duration {
	if len(l) == 0 {
		return -1
	}
	slices.Sort(l)
	return l[min(len(l)-1, int(q*float64(len(l))))]
}

func (l waits) String() string {
	return fmt.Sprintf("n %d, median %.2f s, p95 %.2f s, worst %.2f s", len(l), l.quantile(.5).Seconds(), l.quantile(.95).Seconds(), l.quantile(1).Seconds())
}

// below asserts that the median and the worst are less than so much.
func (l waits) below(t *testing.T, what string, median, worst time.Duration) {
	t.Helper()
	t.Logf("%s: %s", what, l)
	if len(l) == 0 || l.quantile(.5) >= median || l.quantile(1) >= worst {
		t.Errorf("%s waited: %s; want less than %s in the median, %s at worst", what, l, median, worst)
	}
}
