package budget

import (
	"slices"
	"time"
)

// account is what is known of one key. The budget's lock guards it.
type account struct {
	key   Key
	limit Limit

	used     []time.Time        // when each ended request's slot is free again, ascending
	inFlight int                // slots taken whose request has not ended
	turns    map[Asker]struct{} // askers that were woken and have not come yet
	queue    *queue
	edits    []edit         // that had a slot in the trailing window, the oldest first
	editsOf  map[string]int // how many of them each namespace made

	share share
	gate  gate
	pace  time.Time // before this, no slot for the backlog

	timer *time.Timer // fires at nextChange
}

// edit is a slot that went to an edit.
type edit struct {
	at        time.Time
	namespace string
}

func newAccount(key Key, limit Limit) *account {
	return &account{
		key:     key,
		limit:   limit,
		turns:   map[Asker]struct{}{},
		queue:   newQueue(),
		editsOf: map[string]int{},
		share:   share{requests: limit.Requests},
		gate:    gate{window: limit.Window},
	}
}

// prune forgets the slots that are free again.
func (a *account) prune(now time.Time) {
	free, _ := slices.BinarySearchFunc(a.used, now, func(until, now time.Time) int {
		if until.After(now) {
			return 1
		}
		return -1
	})
	a.used = a.used[free:]
	for len(a.edits) > 0 && !now.Before(a.edits[0].at.Add(a.limit.Window)) {
		namespace := a.edits[0].namespace
		if a.editsOf[namespace]--; a.editsOf[namespace] == 0 {
			delete(a.editsOf, namespace)
		}
		a.edits = a.edits[1:]
	}
}

// use notes that a slot is not free again before until.
func (a *account) use(until time.Time) {
	i, _ := slices.BinarySearchFunc(a.used, until, time.Time.Compare)
	a.used = slices.Insert(a.used, i, until)
}

// free is how many slots of the window are left at now.
func (a *account) free(now time.Time) int {
	a.prune(now)
	a.share.recover(a.limit, now)
	return max(0, a.share.requests-len(a.used)-a.inFlight-len(a.turns))
}

// open says whether the gate lets one more request through.
func (a *account) open(now time.Time) bool { return a.inFlight+len(a.turns) < a.gate.admits(now) }

// reserve is how many slots of an empty window a burst leaves for edits.
func (a *account) reserve() int { return a.share.requests / 10 }

// grant gives the next who waits its turn, if one can be given now. What fits
// goes out at once. A backlog is paced, and edits overtake it, unless they are a
// backlog themselves: more in a window than the reserve of one namespace.
func (a *account) grant(now time.Time) (asker Asker, ok bool) {
	free := a.free(now)
	if a.queue.len() == 0 || free == 0 || !a.open(now) {
		return Asker{}, false
	}
	isEdit := true
	asker, ok = a.queue.nextEdit(func(namespace string) bool { return a.editsOf[namespace] < a.reserve() })
	switch {
	case ok:
	case a.queue.len() <= free-a.reserve():
		asker, isEdit = a.queue.next()
	case now.Before(a.nextPaced(free)):
		return Asker{}, false
	default:
		// On schedule, so that small delays do not add up, but without catching
		// up on what was not used.
		interval := a.limit.Window / time.Duration(a.share.requests)
		if a.pace = a.pace.Add(interval); a.pace.Before(now) {
			a.pace = now.Add(interval)
		}
		asker, isEdit = a.queue.next()
	}
	if isEdit {
		a.edits = append(a.edits, edit{now, asker.Namespace})
		a.editsOf[asker.Namespace]++
	}
	a.turns[asker] = struct{}{}
	return asker, true
}

// nextPaced is from when the backlog may have one of the free slots: one share
// of the window after the last, and not while that would leave an edit without
// a slot. Edits are expected at a rate of reserve in a window; with the slots
// that are left and those that become free, each must find one.
func (a *account) nextPaced(free int) time.Time {
	at := a.pace
	reserve := a.reserve()
	if reserve == 0 {
		return at
	}
	between := a.limit.Window / time.Duration(reserve)
	for i, until := range a.used {
		left := free + i
		if left >= reserve {
			break
		}
		if covered := until.Add(-between * time.Duration(left)); covered.After(at) {
			at = covered
		}
	}
	return at
}

// claim uses up the turn of an asker that was woken, if it was.
func (a *account) claim(asker Asker) bool {
	_, ok := a.turns[asker]
	delete(a.turns, asker)
	return ok
}

// remove forgets the asker's place or turn.
func (a *account) remove(asker Asker) {
	a.queue.remove(asker)
	delete(a.turns, asker)
}

// turnOf estimates when an asker in the queue will be served.
func (a *account) turnOf(asker Asker, now time.Time) time.Time {
	ahead := a.queue.ahead(asker) + a.inFlight + len(a.turns)
	at := now
	if behind := ahead - (a.share.requests - len(a.used)); behind >= 0 {
		// Every slot comes round once a window.
		if n := len(a.used); n > 0 {
			at = a.used[behind%n].Add(time.Duration(behind/n) * a.limit.Window)
		} else {
			at = now.Add(time.Duration(1+behind/a.share.requests) * a.limit.Window)
		}
	} else if paced := a.nextPaced(max(1, a.free(now))); paced.After(now) {
		at = paced
	}
	if at.Before(a.gate.until) {
		return a.gate.until
	}
	return at
}

// nextChange is when something can next change without anybody's doing: a slot
// becomes free for those who wait, or the account becomes idle. Zero is never.
func (a *account) nextChange(now time.Time) time.Time {
	free := a.free(now)
	switch {
	case now.Before(a.gate.until):
		return a.gate.until
	case a.queue.len() > 0 && !a.open(now):
		return time.Time{} // when a request ends
	case a.queue.len() > 0 && free > 0:
		return a.nextPaced(free)
	case a.queue.len() > 0 && len(a.used) > 0:
		return a.used[0]
	case len(a.used) > 0:
		return a.used[len(a.used)-1]
	case now.Before(a.forget()):
		return a.forget()
	}
	return time.Time{}
}

// forget is until when an account is remembered although nobody asks: what was
// learnt of others who use the quota, or of a failing OpenCX, holds a while.
func (a *account) forget() time.Time {
	if until := a.gate.until.Add(a.limit.Window); until.After(a.share.raiseAt) {
		return until
	}
	return a.share.raiseAt
}

// idle says that nothing would be lost if the account were forgotten.
func (a *account) idle(now time.Time) bool {
	a.prune(now)
	return a.inFlight+len(a.turns)+len(a.used)+a.queue.len() == 0 && !now.Before(a.forget())
}
