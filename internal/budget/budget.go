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

// Turn says what an asker in the queue waits for.
type Turn struct {
	// At is roughly when its turn will come.
	At time.Time
	// Obstacle is why nobody may send now.
	Obstacle Obstacle
}

// Take returns a slot when ask may send now. Otherwise it returns nil; the asker
// is then in the queue, where asking again does not move it back, and is woken
// when its turn has come, and when OpenCX begins or ceases to refuse the key.
func (b *Budget) Take(ask Ask) (*Slot, Turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()

	acct := b.account(ask.Key)
	if b.places[ask.Asker] != acct {
		b.leave(ask.Asker, now) // it asked with another key before
	}
	b.places[ask.Asker] = acct
	if _, woken := acct.turns[ask.Asker]; !woken {
		acct.queue.add(ask.Asker, ask.Class)
		b.serve(acct, now, ask.Asker)
	}
	if acct.claim(ask.Asker) {
		delete(b.places, ask.Asker)
		acct.inFlight++
		return &Slot{budget: b, account: acct, asker: ask.Asker, taken: now}, Turn{}
	}
	turn := Turn{At: acct.turnOf(ask.Asker, now)}
	if now.Before(acct.gate.until) {
		turn.Obstacle = acct.gate.obstacle
	}
	return nil, turn
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
	b.serve(acct, now, Asker{})
}

func (b *Budget) account(key Key) *account {
	acct := b.accounts[key]
	if acct == nil {
		acct = newAccount(key, b.limit)
		b.accounts[key] = acct
	}
	return acct
}

// serve gives out the turns that can be given, and arranges to be called again
// when that can next change. All who get one are woken but present, who asks at
// this moment. An account that remembers nothing is forgotten.
func (b *Budget) serve(acct *account, now time.Time, present Asker) {
	for {
		asker, ok := acct.grant(now)
		if !ok {
			break
		}
		if asker != present {
			b.wake(asker)
		}
	}
	if acct.timer != nil {
		acct.timer.Stop()
		acct.timer = nil
	}
	if next := acct.nextChange(now); !next.IsZero() {
		acct.timer = time.AfterFunc(next.Sub(now), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.serve(acct, time.Now(), Asker{})
		})
	} else if acct.idle(now) && b.accounts[acct.key] == acct {
		delete(b.accounts, acct.key)
	}
}

// wakeAll tells all who wait that they wait for another thing than before. They
// keep their places.
func (b *Budget) wakeAll(acct *account) {
	for asker := range acct.queue.places {
		b.wake(asker)
	}
}

// Slot is the right to send one request. Exactly one of its methods must be
// called when that request has ended.
type Slot struct {
	budget  *Budget
	account *account
	asker   Asker
	taken   time.Time
}

// Answered reports that OpenCX dealt with the request: it accepted it, or found
// fault with the request itself.
func (s *Slot) Answered() {
	s.end(func(acct *account, now time.Time) {
		acct.use(now.Add(acct.limit.Window))
		if acct.gate.succeeded(s.taken) {
			s.budget.wakeAll(acct)
		}
	})
}

// Unauthorized reports that OpenCX refused the key. When it does so for several
// askers, nobody sends with that key but one probe at a time, and all who wait
// are woken, because what they wait for is now another thing.
func (s *Slot) Unauthorized() {
	s.end(func(acct *account, now time.Time) {
		acct.use(now.Add(acct.limit.Window))
		if acct.gate.met(Unauthorized, s.asker, s.taken, now) {
			s.budget.wakeAll(acct)
		}
	})
}

// Failed reports that OpenCX answered, but failed to deal with the request. When
// it does so for several askers and for nobody else it does not, only one probe
// at a time is sent.
func (s *Slot) Failed() {
	s.end(func(acct *account, now time.Time) {
		acct.use(now.Add(acct.limit.Window))
		acct.gate.met(Unavailable, s.asker, s.taken, now)
	})
}

// NoAnswer reports that no answer came, which is a failure like Failed. The
// request may still arrive at OpenCX until its call would have timed out.
func (s *Slot) NoAnswer() {
	s.end(func(acct *account, now time.Time) {
		latest := s.taken.Add(s.budget.callTimeout)
		if latest.Before(now) {
			latest = now
		}
		acct.use(latest.Add(acct.limit.Window))
		acct.gate.met(Unavailable, s.asker, s.taken, now)
	})
}

// RateLimited reports a 429. The whole account is silent until the returned
// time: for retryAfter when OpenCX gave one, otherwise for a time that doubles
// with every further 429. After it one request probes whether OpenCX takes
// requests again, before the others follow, at a rate that leaves the others
// who use the quota what they use.
func (s *Slot) RateLimited(retryAfter time.Duration) (until time.Time) {
	s.end(func(acct *account, now time.Time) {
		acct.prune(now)
		acct.share.lower(acct.limit, len(acct.used)+acct.inFlight, now)
		acct.use(now.Add(acct.limit.Window))
		acct.gate.limited(s.taken, now, retryAfter)
		until = acct.gate.until
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
	s.budget.serve(s.account, now, Asker{})
}
