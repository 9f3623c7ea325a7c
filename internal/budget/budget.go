// Package budget decides who may send a request to OpenCX, and when. There is
// one budget per API key, recognised by the key's content. It knows nothing of
// Kubernetes or HTTP.
//
// The rule it keeps is OpenCX's, as OpenCX sees it: at most Limit.Requests
// requests in any trailing Limit.Window. A slot is taken before a request is
// sent and is free again one window after its answer came, so a request that
// travelled slowly and one that travelled fast cannot meet in one window.
package budget

import (
	"sync"
	"time"
)

// Key tells budgets apart: a digest of an API key's content, never the key.
type Key [32]byte

// Class says how urgent a request is.
type Class int

// The classes, most urgent first.
const (
	// Edit is a change that somebody made, or a reconcile that was asked for.
	Edit Class = iota
	// Sync is the first request of a contact, or a retry.
	Sync
	// Resync sends again what OpenCX was already told.
	Resync
)

// Asker names who asks, by namespace and name.
type Asker struct{ Namespace, Name string }

// Ask is a wish to send one request.
type Ask struct {
	Key   Key
	Asker Asker
	Class Class
}

// Budget hands out slots. It is safe for concurrent use.
type Budget struct {
	limit       Limit
	callTimeout time.Duration
	wake        func(Asker)

	mu       sync.Mutex
	accounts map[Key]*account
	places   map[Asker]*account // where an asker waits or has its turn
}

// New returns a budget of limit requests per key. callTimeout is the longest
// time in which a request that got no answer may still reach OpenCX. wake is
// called when the turn of an asker that Take sent waiting has come; it must
// neither block nor call the budget, and the asker then either takes its slot or withdraws.
func New(limit Limit, callTimeout time.Duration, wake func(Asker)) *Budget {
	return &Budget{
		limit:       limit,
		callTimeout: callTimeout,
		wake:        wake,
		accounts:    map[Key]*account{},
		places:      map[Asker]*account{},
	}
}

// Take returns a slot when ask may send now. Otherwise it returns nil and
// roughly when its turn will come; the asker is then in the queue, where asking
// again does not move it, and is woken once, when its turn has come.
func (b *Budget) Take(ask Ask) (*Slot, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()

	acct := b.account(ask.Key)
	if b.places[ask.Asker] != acct {
		b.leave(ask.Asker, now) // it asked with another key before
	}
	if acct.claim(ask.Asker) || acct.waiting.Len() == 0 && acct.available(now) > 0 {
		delete(b.places, ask.Asker)
		acct.inFlight++
		return &Slot{budget: b, account: acct, taken: now}, time.Time{}
	}
	b.places[ask.Asker] = acct
	acct.enqueue(ask)
	b.serve(acct, now)
	return nil, acct.lastTurn(now)
}

// Withdraw takes back what an asker asked for: its place in the queue, or its
// turn, which then goes to the next one. It does nothing when there is neither.
func (b *Budget) Withdraw(asker Asker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leave(asker, time.Now())
}

func (b *Budget) leave(asker Asker, now time.Time) {
	acct := b.places[asker]
	if acct == nil {
		return
	}
	delete(b.places, asker)
	acct.remove(asker)
	b.serve(acct, now)
}

func (b *Budget) account(key Key) *account {
	acct := b.accounts[key]
	if acct == nil {
		acct = newAccount(key, b.limit)
		b.accounts[key] = acct
	}
	return acct
}

// serve gives the free slots of an account to those who wait longest, and
// arranges to be called again when that can next change. An account that
// remembers nothing is forgotten.
func (b *Budget) serve(acct *account, now time.Time) {
	for acct.waiting.Len() > 0 && acct.available(now) > 0 {
		b.wake(acct.reserveNext())
	}
	if acct.timer != nil {
		acct.timer.Stop()
		acct.timer = nil
	}
	if next := acct.nextChange(now); !next.IsZero() {
		acct.timer = time.AfterFunc(next.Sub(now), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.serve(acct, time.Now())
		})
	} else if acct.idle(now) && b.accounts[acct.key] == acct {
		delete(b.accounts, acct.key)
	}
}

// Slot is the right to send one request. Exactly one of its methods must be
// called when that request has ended.
type Slot struct {
	budget  *Budget
	account *account
	taken   time.Time
}

// Answered reports that OpenCX answered, with anything but 429.
func (s *Slot) Answered() {
	s.end(func(acct *account, now time.Time) {
		acct.use(now.Add(s.budget.limit.Window))
		acct.answered(s.taken)
	})
}

// NoAnswer reports that no answer came. The request may still arrive at OpenCX
// until its call would have timed out.
func (s *Slot) NoAnswer() {
	s.end(func(acct *account, now time.Time) {
		latest := s.taken.Add(s.budget.callTimeout)
		if latest.Before(now) {
			latest = now
		}
		acct.use(latest.Add(s.budget.limit.Window))
	})
}

// RateLimited reports a 429. The whole account is silent until the returned
// time: for retryAfter when OpenCX gave one, otherwise for a time that doubles
// with every further 429. After it one request probes whether OpenCX takes
// requests again, before the others follow.
func (s *Slot) RateLimited(retryAfter time.Duration) (until time.Time) {
	s.end(func(acct *account, now time.Time) {
		acct.use(now.Add(s.budget.limit.Window))
		acct.silence(s.taken, now, retryAfter)
		until = acct.silentUntil
	})
	return until
}

// Unused reports that nothing was sent.
func (s *Slot) Unused() { s.end(func(*account, time.Time) {}) }

func (s *Slot) end(record func(acct *account, now time.Time)) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	now := time.Now()
	s.account.inFlight--
	record(s.account, now)
	s.budget.serve(s.account, now)
}
