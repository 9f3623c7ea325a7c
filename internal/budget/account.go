package budget

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// account is what is known of one organization's quota. The budget's lock guards
// it.
type account struct {
	name       string // of the organization
	limit      Limit
	keyVersion string // of the API key that was last asked with

	used      usedSlots
	inFlight  int            // slots taken whose request has not ended
	turns     map[Asker]turn // askers that were woken and have not come yet
	queue     *queue
	edits     []edit         // that had a slot in the trailing window, the oldest first
	editsOf   map[string]int // how many of them each namespace made
	overtakes int            // how many of them overtook

	reserves bool // slots are reserved in a place that survives a restart
	credit   int  // slots that are reserved and not taken

	share share
	gate  gate
	pace  time.Time // before this, no slot for the backlog

	timer *time.Timer // fires at nextChange
}

// turn is what an asker was given when it was woken.
type turn struct {
	class  Class
	number int // in the order in which turns were given
}

// edit is a turn that went to an edit.
type edit struct {
	at        time.Time
	namespace string
	overtook  bool // others that wait
}

func newAccount(name string, limit Limit, reserves bool) *account {
	return &account{
		name:     name,
		limit:    limit,
		turns:    map[Asker]turn{},
		queue:    newQueue(),
		editsOf:  map[string]int{},
		reserves: reserves,
		share:    share{requests: limit.Requests},
		gate:     gate{window: limit.Window},
	}
}

// adopt takes over what an ask says of the organization. After a change of the
// limit all used slots count as just used, for the longer of both windows, because
// when they would be free again was reckoned with another one. Another key is innocent until it is refused.
func (a *account) adopt(ask Ask, now time.Time) {
	if a.limit != ask.Limit {
		a.prune(now)
		used := usedSlots{}
		used.add(now.Add(max(a.limit.Window, ask.Limit.Window)), a.used.count)
		a.limit, a.used, a.share = ask.Limit, used, share{requests: ask.Limit.Requests}
		a.gate.window = ask.Limit.Window
	}
	if a.keyVersion != ask.KeyVersion {
		a.keyVersion = ask.KeyVersion
		if a.gate.obstacle == Unauthorized || a.gate.obstacle == Unavailable {
			a.gate = gate{window: a.limit.Window}
		}
	}
}

// prune forgets the slots that are free again.
func (a *account) prune(now time.Time) {
	a.used.prune(now)
	for len(a.edits) > 0 && !now.Before(a.edits[0].at.Add(a.limit.Window)) {
		namespace := a.edits[0].namespace
		if a.editsOf[namespace]--; a.editsOf[namespace] == 0 {
			delete(a.editsOf, namespace)
		}
		if a.edits[0].overtook {
			a.overtakes--
		}
		a.edits = a.edits[1:]
	}
}

// free is how many slots of the window are left at now.
func (a *account) free(now time.Time) int {
	a.prune(now)
	a.share.recover(a.limit, now)
	return max(0, a.share.requests-a.used.count-a.inFlight-len(a.turns))
}

// open says whether one more request may go, as far as the gate is concerned
// and what is reserved.
func (a *account) open(now time.Time) bool {
	return a.inFlight+len(a.turns) < a.gate.admits(now) && (!a.reserves || len(a.turns) < a.credit)
}

// spare is how many slots of an empty window a burst leaves for edits.
func (a *account) spare() int { return a.share.requests / 10 }

// grant gives the next who waits its turn, if one can be given now. What fits
// into the window goes out at once, as far as that spares something for edits. A
// backlog is paced, and edits overtake it, unless they are a
// backlog themselves: more in a window from one namespace than is spared.
func (a *account) grant(now time.Time) (asker Asker, ok bool) {
	free := a.free(now)
	if a.queue.len() == 0 || free == 0 || !a.open(now) {
		return Asker{}, false
	}
	class := Edit
	asker, overtook := a.queue.nextEdit(func(namespace string) bool { return a.editsOf[namespace] < a.spare() })
	switch {
	case overtook:
		a.overtakes++
	case a.queue.len() <= free && free > a.spare():
		asker, class = a.queue.next()
	case now.Before(a.nextPaced(free)):
		return Asker{}, false
	default:
		// On schedule, so that small delays do not add up, but without catching
		// up on what was not used.
		interval := a.interval(free, now)
		if a.pace = a.pace.Add(interval); a.pace.Before(now) {
			a.pace = now.Add(interval)
		}
		asker, class = a.queue.next()
	}
	if class == Edit {
		a.edits = append(a.edits, edit{now, asker.Namespace, overtook})
		a.editsOf[asker.Namespace]++
	}
	a.turns[asker] = turn{class, a.queue.served}
	return asker, true
}

// interval is how long after one slot for the backlog the next one follows: a
// share of the window, or longer when as many edits as overtook the backlog in the
// last window would find no slot in the next. It evens out, so that slots become
// free one by one and not all at one time of the window.
func (a *account) interval(free int, now time.Time) time.Duration {
	interval := a.limit.Window / time.Duration(a.share.requests)
	expected := min(a.overtakes, a.share.requests/2)
	if expected == 0 {
		return interval
	}
	for _, run := range a.used.runs {
		left := run.Until.Sub(now)
		slots := float64(free) - float64(expected)*left.Seconds()/a.limit.Window.Seconds()
		interval = max(interval, time.Duration(float64(left)/max(1, slots)))
		free += run.Slots
	}
	return interval
}

// nextPaced is from when the backlog may have one of the free slots: one share
// of the window after the last, and not while that would leave an edit without
// a slot. Edits are expected at a rate of spare in a window; with the slots
// that are left and those that become free, each must find one.
func (a *account) nextPaced(free int) time.Time {
	at := a.pace
	spare := a.spare()
	if spare == 0 {
		return at
	}
	between := a.limit.Window / time.Duration(spare)
	for _, run := range a.used.runs {
		if free >= spare {
			break
		}
		at = latest(at, run.Until.Add(-between*time.Duration(free)))
		free += run.Slots
	}
	return at
}

// claim turns the asker's turn into a slot.
func (a *account) claim(asker Asker) {
	delete(a.turns, asker)
	a.inFlight++
	if a.reserves {
		a.credit--
	}
}

// takeBackTurns sends those who were woken and have not come yet back to the
// queue, in the order in which they were woken, because the gate has been shut
// meanwhile.
func (a *account) takeBackTurns() {
	inOrder := slices.SortedFunc(maps.Keys(a.turns), func(x, y Asker) int { return cmp.Compare(a.turns[x].number, a.turns[y].number) })
	for _, asker := range inOrder {
		a.queue.add(asker, a.turns[asker].class)
	}
	clear(a.turns)
}

// turnAt estimates when somebody who waits behind that many others will be served:
// when a slot comes round, and at the pace of a backlog.
func (a *account) turnAt(ahead int, now time.Time) time.Time {
	at, free := now, a.free(now)
	if a.queue.len() > free || free <= a.spare() {
		pace := a.limit.Window / time.Duration(a.share.requests)
		at = latest(at, a.nextPaced(free)).Add(time.Duration(ahead) * pace)
	}
	if behind := ahead - free; behind >= 0 {
		// Every slot comes round once a window.
		if n := a.used.count; n > 0 {
			at = latest(at, a.used.at(behind%n).Add(time.Duration(behind/n)*a.limit.Window))
		} else {
			at = latest(at, now.Add(time.Duration(1+behind/a.share.requests)*a.limit.Window))
		}
	}
	return latest(at, a.gate.until)
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// nextChange is when something can next change without anybody's doing: a slot
// becomes free for those who wait, a gate may be probed, or there is less to
// remember. Zero is never.
func (a *account) nextChange(now time.Time) time.Time {
	next := a.nextGrant(now)
	if !next.IsZero() || a.queue.len() > 0 {
		return next
	}
	// Nobody waits.
	next = a.forget()
	if a.used.count > 0 {
		next = latest(next, a.used.last())
	}
	if !next.After(now) {
		return time.Time{}
	}
	return next
}

// nextGrant is when the first in the queue can have its turn, as far as that
// depends on time alone.
func (a *account) nextGrant(now time.Time) time.Time {
	free := a.free(now)
	switch {
	case a.queue.len() == 0:
		return time.Time{}
	case now.Before(a.gate.until):
		return a.gate.until
	case !a.open(now):
		return time.Time{} // when a request ends, or more is reserved
	case free > 0:
		return a.nextPaced(free)
	case a.used.count > 0:
		return a.used.first()
	}
	return time.Time{}
}

// forget is until when an account is remembered although nobody asks: what was
// learnt of others who use the quota, of a failing OpenCX or of a key that is
// refused holds a while.
func (a *account) forget() time.Time {
	if a.gate.obstacle == None {
		return a.share.raiseAt
	}
	return latest(a.share.raiseAt, a.gate.until.Add(a.limit.Window))
}

// idle says that nothing would be lost if the account were forgotten.
func (a *account) idle(now time.Time) bool {
	a.prune(now)
	return a.inFlight+len(a.turns)+a.queue.len()+a.used.count == 0 && !now.Before(a.forget())
}
