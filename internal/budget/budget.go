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

// String is the class in lower case.
func (c Class) String() string { return [numClasses]string{"edit", "sync", "resync"}[c] }

// Asker names who asks, by namespace and name.
type Asker struct{ Namespace, Name string }

// Ask is a wish to send one request.
type Ask struct {
	// Key is the API key that the request would carry.
	Key Key
	// Group joins keys that share one quota; zero for a key that has its own.
	Group Key
	// Credential names the key in metrics.
	Credential string
	Asker      Asker
	Class      Class
}

// Options are the settings of a Budget.
type Options struct {
	// Limit is what each key, or group of keys, may use.
	Limit Limit
	// CallTimeout is the longest time in which a request that got no answer may
	// still reach OpenCX.
	CallTimeout time.Duration
	// Wake is called when the turn of an asker that Take sent waiting has come.
	// It must neither block nor call the budget, and the asker then either takes
	// its slot or withdraws.
	Wake func(Asker)
	// Save makes the limit hold across restarts; nil does without.
	Save SaveFunc
}

// Budget hands out slots. It is safe for concurrent use.
type Budget struct {
	options Options

	mu       sync.Mutex
	accounts map[Key]*account
	places   map[Asker]*lane // where an asker waits or has its turn

	before       map[string]*usedSlots // what earlier processes reserved, by reservationID
	forgetBefore time.Time
	saving       bool
	saveFailures int
}

// New returns a budget that nobody has used yet.
func New(options Options) *Budget {
	return &Budget{
		options:  options,
		accounts: map[Key]*account{},
		places:   map[Asker]*lane{},
		before:   map[string]*usedSlots{},
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

	acct := b.account(ask, now)
	l := acct.lane(ask.Key, ask.Credential)
	if b.places[ask.Asker] != l {
		b.leave(ask.Asker, now) // it asked with another key before
	}
	b.places[ask.Asker] = l
	if _, woken := acct.turns[ask.Asker]; !woken {
		l.add(ask.Asker, ask.Class, now)
		b.serve(acct, now, ask.Asker)
	}
	if _, woken := acct.turns[ask.Asker]; woken {
		acct.claim(ask.Asker)
		delete(b.places, ask.Asker)
		b.reserve()
		return &Slot{budget: b, lane: l, asker: ask.Asker, taken: now}, Turn{}
	}
	turn := Turn{At: acct.turnOf(ask.Asker, l, now)}
	switch {
	case now.Before(acct.gate.until):
		turn.Obstacle = acct.gate.obstacle
	case l.gate.obstacle != None:
		turn.Obstacle = l.gate.obstacle
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
	l := b.places[asker]
	if l == nil {
		return
	}
	delete(b.places, asker)
	l.remove(asker)
	b.serve(l.account, now, Asker{})
}

func (b *Budget) account(ask Ask, now time.Time) *account {
	key := ask.Group
	if key == (Key{}) {
		key = ask.Key
	}
	acct := b.accounts[key]
	if acct == nil {
		acct = newAccount(key, ask.Credential, b.options.Limit, b.options.Save != nil)
		b.accounts[key] = acct
		b.inherit(acct, now)
	}
	return acct
}

// serve gives out the turns that can be given, and arranges to be called again
// when that can next change. All who get one are woken but present, who asks at
// this moment. An account that remembers nothing is forgotten.
func (b *Budget) serve(acct *account, now time.Time, present Asker) {
	for _, l := range acct.lanes {
		l.admit(now)
	}
	for {
		asker, ok := acct.grant(now)
		if !ok {
			break
		}
		if asker != present {
			b.options.Wake(asker)
		}
	}
	b.reserve()
	if acct.timer != nil {
		acct.timer.Stop()
		acct.timer = nil
	}
	if next := acct.nextChange(now); !next.IsZero() {
		acct.timer = time.AfterFunc(next.Sub(now), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			now := time.Now()
			acct.forgetLanes(now)
			b.serve(acct, now, Asker{})
		})
	} else if acct.idle(now) && b.accounts[acct.key] == acct {
		delete(b.accounts, acct.key)
	}
}

// wakeAll tells all who wait for a key that they wait for another thing than
// before. They keep their places.
func (b *Budget) wakeAll(l *lane) {
	for asker, at := range b.places {
		if at == l {
			b.options.Wake(asker)
		}
	}
}

// Slot is the right to send one request. Exactly one of its methods must be
// called when that request has ended.
type Slot struct {
	budget *Budget
	lane   *lane
	asker  Asker
	taken  time.Time
}

// Answered reports that OpenCX dealt with the request: it accepted it, or found
// fault with the request itself.
func (s *Slot) Answered() {
	s.end(func(acct *account, now time.Time) {
		acct.used.add(now.Add(acct.limit.Window), 1)
		acct.gate.succeeded(s.taken)
		if s.lane.gate.succeeded(s.taken) {
			s.budget.wakeAll(s.lane)
		}
	})
}

// Unauthorized reports that OpenCX refused the key. When it does so for several
// askers, nobody sends with that key but one probe at a time, and all who wait
// for it are woken, because what they wait for is now another thing.
func (s *Slot) Unauthorized() {
	s.end(func(acct *account, now time.Time) {
		acct.used.add(now.Add(acct.limit.Window), 1)
		acct.gate.succeeded(s.taken)
		if s.lane.gate.met(Unauthorized, s.asker, s.taken, now) {
			s.lane.recall(s.budget.places)
			s.budget.wakeAll(s.lane)
		}
	})
}

// Failed reports that OpenCX answered, but failed to deal with the request. When
// it does so for several askers and for nobody else it does not, only one probe
// at a time is sent.
func (s *Slot) Failed() {
	s.end(func(acct *account, now time.Time) {
		acct.used.add(now.Add(acct.limit.Window), 1)
		if acct.gate.met(Unavailable, s.asker, s.taken, now) {
			acct.takeBackTurns()
		}
	})
}

// NoAnswer reports that no answer came, which is a failure like Failed. The
// request may still arrive at OpenCX until its call would have timed out.
func (s *Slot) NoAnswer() {
	s.end(func(acct *account, now time.Time) {
		latest := s.taken.Add(s.budget.options.CallTimeout)
		if latest.Before(now) {
			latest = now
		}
		acct.used.add(latest.Add(acct.limit.Window), 1)
		if acct.gate.met(Unavailable, s.asker, s.taken, now) {
			acct.takeBackTurns()
		}
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
		acct.share.lower(acct.limit, acct.used.count+acct.inFlight, now)
		acct.used.add(now.Add(acct.limit.Window), 1)
		acct.gate.limited(s.taken, now, retryAfter)
		acct.takeBackTurns()
		until = acct.gate.until
	})
	return until
}

// Unused reports that nothing was sent.
func (s *Slot) Unused() {
	s.end(func(acct *account, _ time.Time) {
		if acct.reserves {
			acct.credit++
		}
	})
}

func (s *Slot) end(record func(acct *account, now time.Time)) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	now := time.Now()
	acct := s.lane.account
	acct.inFlight--
	s.lane.active--
	record(acct, now)
	s.budget.serve(acct, now, Asker{})
}
