// Package budget decides who may send a request to OpenCX, and when. There is one
// account per organization. It knows nothing of Kubernetes or HTTP.
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
	// Organization is whose quota the request would use.
	Organization string
	// Limit is what that organization may use.
	Limit Limit
	// KeyVersion tells the organization's API key from earlier ones.
	KeyVersion string
	Asker      Asker
	Class      Class
}

// Options are the settings of a Budget.
type Options struct {
	// CallTimeout is the longest time in which a request that got no answer may
	// still reach OpenCX.
	CallTimeout time.Duration
	// MaxInFlight is how many requests may be under way at one time, for all
	// organizations; 0 is any number.
	MaxInFlight int
	// Wake is called when the turn of an asker that Take sent waiting has come.
	// It must neither block nor call the budget, and the asker then either takes
	// its slot or withdraws.
	Wake func(Asker)
	// Changed is called when an organization's Obstacle has changed; nil for nobody.
	// It must neither block nor call the budget.
	Changed func(organization string)
	// Save makes the limit hold across restarts; nil does without.
	Save SaveFunc
}

// Budget hands out slots. It is safe for concurrent use.
type Budget struct {
	options Options

	mu       sync.Mutex
	accounts map[string]*account
	places   map[Asker]*account // where an asker waits or has its turn
	active   int                // turns and slots of all accounts

	before       map[string]*inheritance // by organization
	saving       bool
	saveFailures int
}

// New returns a budget that nobody has used yet.
func New(options Options) *Budget {
	if options.Changed == nil {
		options.Changed = func(string) {}
	}
	return &Budget{
		options:  options,
		accounts: map[string]*account{},
		places:   map[Asker]*account{},
		before:   map[string]*inheritance{},
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
	if b.places[ask.Asker] != acct {
		b.leave(ask.Asker, now) // it asked for another organization before
	}
	b.places[ask.Asker] = acct
	b.watch(acct, func() { acct.adopt(ask, now) })
	if _, woken := acct.turns[ask.Asker]; !woken {
		acct.queue.add(ask.Asker, ask.Class)
		b.serve(acct, now, ask.Asker)
	}
	if _, woken := acct.turns[ask.Asker]; woken {
		acct.claim(ask.Asker)
		delete(b.places, ask.Asker)
		b.reserve()
		return &Slot{budget: b, account: acct, asker: ask.Asker, taken: now, keyVersion: ask.KeyVersion}, Turn{}
	}
	return nil, Turn{At: acct.turnAt(acct.queue.ahead(ask.Asker), now), Obstacle: acct.gate.obstacle}
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
	if _, woken := acct.turns[asker]; woken {
		delete(acct.turns, asker)
		b.active--
	}
	acct.queue.remove(asker)
	b.serveAll(acct, now)
}

func (b *Budget) account(ask Ask, now time.Time) *account {
	acct := b.accounts[ask.Organization]
	if acct == nil {
		acct = newAccount(ask.Organization, ask.Limit, b.options.Save != nil)
		acct.keyVersion = ask.KeyVersion
		b.accounts[ask.Organization] = acct
		b.inherit(acct, now)
	}
	return acct
}

// watch tells when the obstacle of an account is another one after change. All
// who wait are then woken if OpenCX began or ceased to refuse the key, because
// that is worth saying at once. They keep their places.
func (b *Budget) watch(acct *account, change func()) {
	before := acct.gate.obstacle
	change()
	after := acct.gate.obstacle
	if before == after {
		return
	}
	b.options.Changed(acct.name)
	if before == Unauthorized || after == Unauthorized {
		for asker, at := range b.places {
			if at == acct {
				b.options.Wake(asker)
			}
		}
	}
}

// serveAll serves acct, and everybody whom the number of requests under way held
// up.
func (b *Budget) serveAll(acct *account, now time.Time) {
	b.serve(acct, now, Asker{})
	if b.options.MaxInFlight == 0 {
		return
	}
	for _, other := range b.accounts {
		if other != acct && other.queue.len() > 0 {
			b.serve(other, now, Asker{})
		}
	}
}

// serve gives out the turns that can be given, and arranges to be called again
// when that can next change. All who get one are woken but present, who asks at
// this moment. An account that remembers nothing is forgotten.
func (b *Budget) serve(acct *account, now time.Time, present Asker) {
	for b.options.MaxInFlight == 0 || b.active < b.options.MaxInFlight {
		asker, ok := acct.grant(now)
		if !ok {
			break
		}
		b.active++
		if asker != present {
			b.options.Wake(asker)
		}
	}
	b.reserve()
	if acct.timer != nil {
		acct.timer.Stop()
		acct.timer = nil
	}
	if next := acct.nextChange(now); next.After(now) {
		acct.timer = time.AfterFunc(next.Sub(now), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.serve(acct, time.Now(), Asker{})
		})
	} else if acct.idle(now) && b.accounts[acct.name] == acct {
		delete(b.accounts, acct.name)
	}
}

// Slot is the right to send one request. Exactly one of its methods must be
// called when that request has ended.
type Slot struct {
	budget  *Budget
	account *account
	asker   Asker
	taken   time.Time
	// keyVersion is of the key that the request carries.
	keyVersion string
}

// Sent reports that the request is sent now. What was done before with the slot in
// hand took time, in which no request was under way.
func (s *Slot) Sent() { s.taken = time.Now() }

// Answered reports that OpenCX dealt with the request: it accepted it, or found
// fault with the request itself.
func (s *Slot) Answered() {
	s.end(func(acct *account, now time.Time) {
		acct.used.add(now.Add(acct.limit.Window), 1)
		acct.gate.succeeded(s.taken)
	})
}

// Unauthorized reports that OpenCX refused the key. When it does so for several
// askers, one probe at a time is sent, and all who wait are woken, because what
// they wait for is now another thing.
func (s *Slot) Unauthorized() {
	s.end(func(acct *account, now time.Time) {
		acct.used.add(now.Add(acct.limit.Window), 1)
		if s.keyVersion == acct.keyVersion { // otherwise it says nothing of the key that is used now
			s.met(Unauthorized, now)
		}
	})
}

// Failed reports that OpenCX answered, but failed to deal with the request. When
// it does so for several askers and for nobody else it does not, only one probe
// at a time is sent.
func (s *Slot) Failed() {
	s.end(func(acct *account, now time.Time) {
		acct.used.add(now.Add(acct.limit.Window), 1)
		s.met(Unavailable, now)
	})
}

// NoAnswer reports that no answer came, which is a failure like Failed. The
// request may still arrive at OpenCX until its call would have timed out.
func (s *Slot) NoAnswer() {
	s.end(func(acct *account, now time.Time) {
		acct.used.add(latest(now, s.taken.Add(s.budget.options.CallTimeout)).Add(acct.limit.Window), 1)
		s.met(Unavailable, now)
	})
}

func (s *Slot) met(obstacle Obstacle, now time.Time) {
	if s.account.gate.met(obstacle, s.asker, s.taken, now) {
		s.takeBackTurns()
	}
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
		s.takeBackTurns()
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

func (s *Slot) takeBackTurns() {
	s.budget.active -= len(s.account.turns)
	s.account.takeBackTurns()
}

func (s *Slot) end(record func(acct *account, now time.Time)) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	now := time.Now()
	s.account.inFlight--
	s.budget.active--
	s.budget.watch(s.account, func() { record(s.account, now) })
	s.budget.serveAll(s.account, now)
}
