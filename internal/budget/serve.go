package budget

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// places are for requests under way, of all organizations. Requests that OpenCX never
// answers must hold up nobody's edit. So the last fifth, or the last one of
// less than ten, is for contacts whose last attempt was accepted; half of it also for
// namespaces that have nothing under way, and half of it not for a namespace that has all
// the others. A bystander takes none of it.
type places struct {
	limit int // 0 is any number
	taken int
	in    map[string]int // by namespace

	// starved are the accounts that had somebody to call and no place, in the order in
	// which they will be served.
	starved []*account
}

func newPlaces(limit int) places { return places{limit: limit, in: map[string]int{}} }

// kept is how many are not for everybody, and common how many are.
func (p *places) kept() int   { return max(p.limit/5, min(1, p.limit-1)) }
func (p *places) common() int { return p.limit - p.kept() }

func (p *places) scarce() bool { return p.limit > 0 && p.taken >= p.common() }

func (p *places) may(namespace string, past Past) bool {
	newcomers := p.limit - (p.kept()+1)/2 // take places up to here
	return !p.scarce() ||
		past == Accepted && p.taken < p.limit && p.in[namespace] < newcomers ||
		past != Bystander && p.taken < newcomers && p.in[namespace] == 0
}

func (p *places) take(namespace string) {
	p.taken++
	p.in[namespace]++
}

func (p *places) free(namespace string) {
	p.taken--
	if p.in[namespace]--; p.in[namespace] == 0 {
		delete(p.in, namespace)
	}
}

func (p *places) starve(acct *account) {
	if !slices.Contains(p.starved, acct) {
		p.starved = append(p.starved, acct)
	}
}

// serve calls those of an account who may be called, and wakes them, but for present,
// who asks at this moment. When nobody does, and others had no place before, the account has
// its turn after theirs, when settle follows: what ends in a backlog would pass its place on
// to the next one of the backlog for ever.
func (b *Budget) serve(acct *account, now time.Time, present *record) {
	if present == nil && len(b.places.starved) > 0 {
		b.places.starve(acct)
		return
	}
	for b.call(acct, now, present) {
	}
	b.schedule(acct, now)
}

// settle serves everybody else whom something held up that has just been released, and
// reserves what they need.
func (b *Budget) settle(now time.Time) {
	for n := len(b.places.starved); n > 0; n-- {
		acct := b.places.starved[0]
		b.places.starved = b.places.starved[1:]
		if b.call(acct, now, nil) { // others have their turn before its next
			b.places.starve(acct)
			n++
		}
		b.schedule(acct, now)
	}
	b.serveUnproven(now)
	b.reserve()
}

// call calls the next one of an account, if one may be called now.
func (b *Budget) call(acct *account, now time.Time, present *record) bool {
	b.prune(acct, now)
	if acct.isAbandoned(now) {
		b.watch(acct, acct.breaker.reset)
	}
	if acct.queue.len == 0 || !b.unproven.admits(acct, now) {
		return false
	}
	r, as := acct.next(b.places.may, now)
	if r == nil {
		if b.places.scarce() {
			b.places.starve(acct)
		}
		return false
	}
	acct.call(r, as, now)
	b.places.take(r.asker.Namespace)
	if r.pooled = !acct.current.proven; r.pooled {
		b.unproven.take(acct, now)
	}
	if r != present {
		b.options.Wake(r.asker)
	}
	return true
}

// release gives back what was kept for a record that was called. unused says that
// nothing was sent.
func (b *Budget) release(r *record, unused bool) {
	r.account.release(r, unused)
	b.places.free(r.asker.Namespace)
	if r.pooled && unused {
		b.unproven.end(r.account, false, time.Now())
	}
}

// recall sends those who were called and have not come yet back to where they were in
// the queue, because they may not be sent any more.
func (b *Budget) recall(acct *account) {
	acct.recalledAt = time.Now()
	called := slices.DeleteFunc(slices.Collect(maps.Values(b.records)), func(r *record) bool { return r.account != acct || r.stage != called })
	slices.SortFunc(called, func(x, y *record) int { return cmp.Compare(x.number, y.number) })
	for _, r := range called {
		b.release(r, true)
		acct.queue.insert(r, r.class, r.past)
	}
}

// schedule has an account served again when that can next change anything. One that
// remembers nothing is forgotten.
func (b *Budget) schedule(acct *account, now time.Time) {
	b.prune(acct, now)
	if acct.wantsBlock() {
		b.wanting[acct] = struct{}{}
	}
	if acct.timer != nil {
		acct.timer.Stop()
		acct.timer = nil
	}
	if next := acct.nextChange(b.longest, now); next.After(now) {
		acct.timer = b.at(next, func(now time.Time) { b.serve(acct, now, nil) })
	} else if acct.idle(now) && b.accounts[acct.name] == acct {
		delete(b.accounts, acct.name)
		if acct.obstacle() != None {
			b.options.Changed(acct.name)
		}
		b.unproven.leave(acct)
		for _, l := range acct.ledgers {
			b.drop(l)
		}
		acct.ledgers = nil // who wanted more reserved for it may have it served once more
	}
}

// at has something done later, and everybody served who can be then.
func (b *Budget) at(then time.Time, do func(now time.Time)) *time.Timer {
	return time.AfterFunc(time.Until(then), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		now := time.Now()
		do(now)
		b.settle(now)
	})
}

// prune forgets what no longer matters to an account: slots that are free again for
// every window there is, and edits of earlier windows. An earlier key that others use now
// matters for a window more.
func (b *Budget) prune(acct *account, now time.Time) {
	acct.prune(now)
	acct.ledgers = slices.DeleteFunc(acct.ledgers, func(l *ledger) bool {
		l.forget(now.Add(-b.longest))
		if l == acct.current || l.held > 0 || len(l.entries) > 0 && now.Before(acct.formerUntil.Add(b.longest)) {
			return false
		}
		b.drop(l)
		return true
	})
}

// drop notes that an account counts a ledger no more.
func (b *Budget) drop(l *ledger) {
	if l.users--; l.users == 0 && b.ledgers[l.content] == l {
		delete(b.ledgers, l.content)
	}
}
