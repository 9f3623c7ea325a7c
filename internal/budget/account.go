package budget

import (
	"slices"
	"time"
)

// account is what is known of one organization's quota. The budget's lock guards
// it.
type account struct {
	name    string // of the organization
	limit   Limit  // of the organization
	ceiling Limit  // of any
	key     Key

	usedAt  time.Time // when the last request of the account itself ended
	current *ledger   // of the key
	ledgers []*ledger // all whose slots count: of the key, and of earlier ones
	// formerUntil is when the last request that counts ended with an earlier key, at the
	// latest. What others send with that later is not this account's.
	formerUntil time.Time

	queue    *queue
	underWay int            // called or sent, besides bystanders
	aside    int            // bystanders that are
	in       map[string]int // how many of them each namespace has
	edits    []edit         // that were called in the trailing window, the oldest first
	editsOf  map[string]int // how many of them each namespace has

	reserves bool      // slots are reserved in a place that survives a restart
	saved    reserved  // of those, while the key is proven
	pool     *reserved // before that, of all such accounts

	limited map[Asker]time.Time // when those got a 429 whom OpenCX has not accepted since
	share   share
	silence silence
	// recalledAt is when those who had a slot and had not sent were last sent back.
	recalledAt time.Time
	breaker    breaker
	pacing     pacing

	pooledAt int         // the number of its last slot of the shared tenth
	timer    *time.Timer // fires at nextChange
}

// quietly is for how long it is remembered who met a 429, or failed, and has not been
// heard of since: longer than anybody waits for another attempt. Who is gone is not
// remembered for ever.
const quietly = 24 * time.Hour

// edit is a slot that went to an edit.
type edit struct {
	at        time.Time
	namespace string
}

func newAccount(ask Ask, ceiling Limit, pool *reserved, reserves bool) *account {
	return &account{
		name:     ask.Organization,
		limit:    ask.Limit,
		ceiling:  ceiling,
		queue:    newQueue(),
		in:       map[string]int{},
		editsOf:  map[string]int{},
		limited:  map[Asker]time.Time{},
		reserves: reserves,
		pool:     pool,
		share:    share{requests: ask.Limit.Requests},
		breaker:  newBreaker(ask.Limit.Window),
	}
}

// reserved is where the slots of the account are reserved.
func (a *account) reserved() *reserved {
	if a.current.proven {
		return &a.saved
	}
	return a.pool
}

// count makes the slots of a ledger count, of requests that have ended by then.
func (a *account) count(l *ledger, then time.Time) {
	a.formerUntil = latest(a.formerUntil, then)
	if !slices.Contains(a.ledgers, l) {
		a.ledgers = append(a.ledgers, l)
		l.users++
	}
}

// prune forgets the edits of earlier windows.
func (a *account) prune(now time.Time) {
	for len(a.edits) > 0 && !now.Before(a.edits[0].at.Add(a.limit.Window)) {
		if a.editsOf[a.edits[0].namespace]--; a.editsOf[a.edits[0].namespace] == 0 {
			delete(a.editsOf, a.edits[0].namespace)
		}
		a.edits = a.edits[1:]
	}
}

// mayEdit says whether one more edit of a namespace goes before a backlog: a fifth of
// the limit in a window. More is a backlog itself.
func (a *account) mayEdit(namespace string) bool {
	return a.editsOf[namespace] < max(1, a.share.requests/5)
}

// next is who may be called at now, and by which rule of the breaker; nil for nobody.
// may says for whom there is a place among the requests under way.
func (a *account) next(may func(namespace string, past Past) bool, now time.Time) (*record, role) {
	others := func(namespace string, past Past) bool { return past != Bystander && may(namespace, past) }
	switch {
	case a.queue.len == 0, a.free(now) == 0, a.reserves && a.reserved().left == 0, now.Before(a.silence.until):
		return nil, regular
	case a.silence.on():
		if a.underWay+a.aside > 0 {
			return nil, regular // one finds out whether OpenCX takes requests again
		}
		if r := a.queue.mostUrgent(others); r != nil || a.breaker.isOpen() {
			return r, regular
		}
		return a.queue.mostUrgent(may), regular // nobody else waits who could find out
	case a.breaker.isOpen():
		return a.breaker.next(a.queue, a.in, others, now)
	case a.underWay >= a.breaker.admits(now):
		r, as := a.breaker.beside(a.queue, a.in, others, now)
		if r == nil && a.queue.bystanders > 0 {
			return a.inTurn(func(namespace string, past Past) bool { return past == Bystander && may(namespace, past) }, now), regular
		}
		return r, as
	}
	return a.inTurn(may, now), regular
}

// onlyBystanders says that nobody asks, nor is under way, who could show that OpenCX works.
func (a *account) onlyBystanders() bool { return a.underWay == 0 && a.queue.len == a.queue.bystanders }

// isAbandoned says that the breaker tells of a time that is over, as it does for an account
// for which nobody asks.
func (a *account) isAbandoned(now time.Time) bool {
	return a.breaker.isOpen() && a.onlyBystanders() && !now.Before(a.breaker.forget())
}

// inTurn is whose turn it is while nothing is in the way: an edit at once, a backlog
// at its pace. Edits that are a backlog themselves share it with first syncs. The tenth
// slots, which are for others than edits, know no pace.
func (a *account) inTurn(may func(namespace string, past Past) bool, now time.Time) *record {
	edit := a.queue.first(Edit, func(namespace string, past Past) bool { return a.mayEdit(namespace) && may(namespace, past) })
	tenth := a.queue.spares() && a.queue.waits(Edit)
	if edit != nil && !tenth {
		return edit
	}
	at, free := a.pacedFrom(&a.pacing, now)
	if edit == nil && at.After(now) {
		return nil
	}
	backlog := a.queue.next(may)
	if backlog == nil {
		return edit
	}
	if edit == nil && backlog.class == Edit && a.queue.served%2 == 1 {
		if sync := a.queue.first(Sync, may); sync != nil {
			backlog = sync
		}
	}
	a.pacing.granted(now, a.own(), free)
	return backlog
}

// call keeps a slot for a record.
func (a *account) call(r *record, as role, now time.Time) {
	a.queue.take(r)
	r.stage, r.role, r.ledger = called, as, a.current
	r.ledger.held++
	if r.past == Bystander {
		a.aside++
	} else {
		a.underWay++
		a.in[r.asker.Namespace]++
	}
	r.reserved = a.reserved()
	r.reserved.left--
	r.reserved.out++
	a.breaker.called(r.asker.Namespace, as, now)
	if r.class == Edit {
		a.edits = append(a.edits, edit{now, r.asker.Namespace})
		a.editsOf[r.asker.Namespace]++
	}
	if a.queue.len == 0 {
		a.pacing.rested(a.own(), a.free(now))
	}
}

// release takes the slot of a record out of those that are kept. unused says that
// nothing was sent with it.
func (a *account) release(r *record, unused bool) {
	r.ledger.held--
	if r.past == Bystander {
		a.aside--
	} else {
		a.underWay--
		if a.in[r.asker.Namespace]--; a.in[r.asker.Namespace] == 0 {
			delete(a.in, r.asker.Namespace)
		}
	}
	if r.reserved.out--; unused {
		r.reserved.left++
	}
	a.breaker.ended(r.role)
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }

// earliest is the earliest of times, of those that are not zero, if there is any.
func earliest(times ...time.Time) (first time.Time) {
	for _, at := range times {
		if first.IsZero() || !at.IsZero() && at.Before(first) {
			first = at
		}
	}
	return first
}

// nextChange is when something can next change without anybody's doing: somebody
// who waits can be called, or there is less to remember. Zero is never.
func (a *account) nextChange(longest time.Duration, now time.Time) time.Time {
	if a.queue.len > 0 {
		return a.nextCall(now)
	}
	return latest(a.forget(), a.lastUsed().Add(longest))
}

// nextCall is when the first in the queue can be called, as far as that depends on
// time alone.
func (a *account) nextCall(now time.Time) time.Time {
	free := a.free(now)
	switch {
	case a.reserves && a.reserved().left == 0:
		return time.Time{} // when more is reserved
	case now.Before(a.silence.until):
		return a.silence.until
	case a.silence.on() && a.underWay+a.aside > 0:
		return time.Time{} // when that request ends
	case free == 0:
		return a.nextFree(now)
	case a.breaker.isOpen() && a.onlyBystanders():
		return a.breaker.forget()
	case a.breaker.isOpen():
		return a.breaker.nextCall(now)
	}
	held := a.underWay >= a.breaker.admits(now)
	if held && a.queue.bystanders == 0 {
		return a.breaker.nextCall(now)
	}
	at, _ := a.pacedFrom(&a.pacing, now)
	switch {
	case !held:
		return at
	case at.After(now):
		return earliest(at, a.breaker.nextCall(now))
	}
	return a.breaker.nextCall(now) // the bystander waits for a place
}

// forget is until when an account is remembered although nobody asks: what was
// learnt of others who use the quota, of a failing OpenCX or of a key that is
// refused holds a while.
func (a *account) forget() time.Time {
	return latest(a.share.raiseAt, a.silence.forget(a.limit.Window), a.breaker.forget())
}

// idle says that nothing would be lost if the account were forgotten. What another one
// counts is not lost: the key may be that of an organization that is still there.
func (a *account) idle(now time.Time) bool {
	for _, l := range a.ledgers {
		if !l.empty() && l.users == 1 {
			return false
		}
	}
	return a.underWay+a.aside+a.queue.len == 0 && !now.Before(a.forget())
}
