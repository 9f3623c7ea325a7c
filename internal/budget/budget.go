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

	"k8s.io/apimachinery/pkg/util/wait"
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

const numClasses = int(Resync) + 1

// String is the class in lower case.
func (c Class) String() string { return [numClasses]string{"edit", "sync", "resync"}[c] }

// Past is how the last attempt of an asker ended. What fails that never failed before
// speaks against OpenCX; what fails again speaks against itself. A bystander speaks of
// neither.
type Past int

// The pasts, those of contacts in the order in which they make a good probe.
const (
	// Accepted: OpenCX took the last request.
	Accepted Past = iota
	// Untried: there was none.
	Untried
	// Failed: OpenCX did not take it.
	Failed
	// Bystander: its answer says nothing of OpenCX's state, whatever it is. It opens and
	// closes no breaker, and waits while one is open, until others have closed it, or have
	// left it alone for so long that it is forgotten. After a 429 it lets everybody else go
	// first; if nobody else waits, it is the one that finds out whether OpenCX takes requests
	// again. That it is accepted proves the key.
	Bystander
)

const numPasts = int(Bystander) + 1

// Asker names who asks.
type Asker struct {
	// Namespace and Name are those of a contact, or of the organization whose sweep it is.
	Namespace, Name string
	// Sweep says that it is the organization's own sweep, not one of its contacts. It asks
	// as a Bystander of class Resync.
	Sweep bool
}

// Key is the API key of an organization, as far as the budget needs to know it.
type Key struct {
	// Version tells it from earlier ones of the organization. The same content in another
	// version may have got other rights meanwhile, which is worth a probe.
	Version string
	// Content is the same for the same key, whoever holds it; a digest will do.
	Content string
	// Proven says that OpenCX is known to have accepted a request with it.
	Proven bool
}

// Ask is a wish to send one request.
type Ask struct {
	// Organization is whose quota the request would use, as namespace/name.
	Organization string
	// Limit is what that organization may use.
	Limit Limit
	Key   Key
	Asker Asker
	Class Class
	Past  Past
}

// Options are the settings of a Budget.
type Options struct {
	// Limit is the most that any organization may use. A tenth of it is shared by those
	// whose key OpenCX has never accepted.
	Limit Limit
	// CallTimeout is the longest time in which a request that got no answer may
	// still reach OpenCX.
	CallTimeout time.Duration
	// MaxInFlight is how many requests may be under way at one time, for all
	// organizations; 0 is any number.
	MaxInFlight int
	// Wake is called when an asker that Take sent waiting may come for its slot. It
	// must neither block nor call the budget, and the asker then either takes
	// its slot or withdraws.
	Wake func(Asker)
	// Tell is called for each who waits when OpenCX begins or ceases to refuse the key,
	// as Wake may be; nil is Wake.
	Tell func(Asker)
	// Changed is called when an organization's Obstacle has changed; nil for nobody.
	// It must neither block nor call the budget.
	Changed func(organization string)
	// Active says whether an organization exists and is not suspended; nil for always.
	// What earlier processes sent for others counts for whoever comes with a key that
	// nobody knows. It must neither block nor call the budget.
	Active func(organization string) bool
	// Save makes the limit hold across restarts; nil does without.
	Save SaveFunc
}

// Budget hands out slots. It is safe for concurrent use.
type Budget struct {
	options Options

	mu       sync.Mutex
	accounts map[string]*account
	records  map[Asker]*record
	ledgers  map[string]*ledger // by content of the key
	longest  time.Duration      // the longest window of any organization
	places   places
	unproven unproven

	before    map[string]*inherited // by organization: what earlier processes reserved
	wanting   map[*account]struct{} // more reserved
	saving    bool
	unsaved   bool // the last attempt to save failed
	saveRetry wait.Backoff
}

// New returns a budget that nobody has used yet.
func New(options Options) *Budget {
	if options.Changed == nil {
		options.Changed = func(string) {}
	}
	if options.Tell == nil {
		options.Tell = options.Wake
	}
	if options.Active == nil {
		options.Active = func(string) bool { return true }
	}
	return &Budget{
		options:   options,
		accounts:  map[string]*account{},
		records:   map[Asker]*record{},
		ledgers:   map[string]*ledger{},
		longest:   options.Limit.Window,
		places:    newPlaces(options.MaxInFlight),
		unproven:  newUnproven(options.Limit, options.Save != nil),
		before:    map[string]*inherited{},
		wanting:   map[*account]struct{}{},
		saveRetry: saveBackoff,
	}
}

// stage is where an asker stands.
type stage int

const (
	queued stage = iota // it waits
	called              // it was woken, to come for a slot that is kept for it
	sent                // it has its slot
)

// record is all that is known of one asker that waits, was called, or sends.
type record struct {
	asker   Asker
	account *account
	stage   stage
	class   Class
	past    Past
	number  int // in the order of asking

	// Once it is called:
	ledger   *ledger   // where its slot counts
	reserved *reserved // where it was reserved
	role     role      // what its answer tells of OpenCX
	pooled   bool      // its slot is also one of the shared tenth
}

// Wait says what an asker in the queue waits for.
type Wait struct {
	// At is roughly when it will be called. For a Bystander while the breaker is open it is a
	// guess, because nobody knows when somebody else comes who may be a probe.
	At time.Time
	// Obstacle is why nobody may send now.
	Obstacle Obstacle
}

// Take returns a slot when ask may send now. Otherwise it returns nil; the asker
// is then in the queue, where asking again does not move it back, and is woken
// when a slot is kept for it, and told when OpenCX begins or ceases to refuse the key.
func (b *Budget) Take(ask Ask) (*Slot, Wait) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()

	acct := b.account(ask)
	r := b.records[ask.Asker]
	if r != nil && r.account != acct && r.stage != sent {
		b.leave(r, now) // it asked for another organization before
		r = nil
	}
	b.watch(acct, func() { b.adopt(acct, ask, now) })
	if r == nil {
		r = &record{asker: ask.Asker, account: acct}
		b.records[ask.Asker] = r
		acct.queue.add(r, ask.Class, ask.Past)
	}
	if r.stage == queued {
		acct.queue.update(r, ask.Class, ask.Past)
		b.serve(acct, now, r)
	}
	b.settle(now)
	if r.stage != called {
		return nil, Wait{At: latest(acct.expected(r, now), b.unproven.expected(acct, now)), Obstacle: b.obstacle(acct)}
	}
	r.stage = sent
	return &Slot{budget: b, record: r, taken: now, key: ask.Key.Content}, Wait{}
}

// Withdraw takes back what an asker asked for: its place in the queue, or the
// slot that it was called for, which then goes to the next one. It does nothing when
// there is neither.
func (b *Budget) Withdraw(asker Asker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.records[asker]; r != nil && r.stage != sent {
		b.leave(r, time.Now())
	}
}

// Pass gives back the slot that an asker was called for, which then goes to the next one.
// One that waits keeps its place.
func (b *Budget) Pass(asker Asker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.records[asker]; r != nil && r.stage == called {
		b.leave(r, time.Now())
	}
}

// Called says that an asker was called for a slot, which is kept for it.
func (b *Budget) Called(asker Asker) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.records[asker]
	return r != nil && r.stage == called
}

func (b *Budget) leave(r *record, now time.Time) {
	delete(b.records, r.asker)
	if r.stage == queued {
		r.account.queue.remove(r)
	} else {
		b.release(r, true)
	}
	b.serve(r.account, now, nil)
	b.settle(now)
}

// account returns the account of an organization.
func (b *Budget) account(ask Ask) *account {
	acct := b.accounts[ask.Organization]
	if acct == nil {
		acct = newAccount(ask, b.options.Limit, &b.unproven.reserved, b.options.Save != nil)
		b.accounts[ask.Organization] = acct
	}
	return acct
}

// adopt takes over what an ask says of its organization.
func (b *Budget) adopt(acct *account, ask Ask, now time.Time) {
	b.longest = max(b.longest, ask.Limit.Window)
	if acct.limit != ask.Limit {
		acct.limit, acct.share = ask.Limit, share{requests: ask.Limit.Requests}
		acct.breaker.window = ask.Limit.Window
	}
	switch {
	case acct.current == nil || acct.key.Content != ask.Key.Content:
		b.open(acct, ask.Key, now.Add(b.options.CallTimeout))
		acct.breaker.reset() // another key is innocent until it is refused
	case acct.key.Version != ask.Key.Version:
		acct.breaker.hasten()
	}
	acct.key = ask.Key
	acct.current.proven = acct.current.proven || ask.Key.Proven
}

// open makes the ledger of a key the one in which an account's requests count. The
// earlier ones go on counting, and what others sent with this key does, until then. Of a
// key that nobody knows it may be that an organization that is gone had it before the restart,
// and that some of the shared tenth was sent with it before it was accepted.
func (b *Budget) open(acct *account, key Key, then time.Time) {
	l, known := b.ledgers[key.Content]
	if !known {
		l = &ledger{content: key.Content}
		b.ledgers[key.Content] = l
		for name, left := range b.before {
			if name == unprovenName || name != acct.name && !b.options.Active(name) {
				acct.count(&left.ledger, then)
			}
		}
	}
	for _, other := range b.accounts { // of the same key, by another name
		if known && other.current == l {
			for _, counted := range other.ledgers {
				acct.count(counted, then)
			}
		}
	}
	acct.count(l, then)
	acct.current = l
	b.inherit(acct)
}

// watch tells when the obstacle of an account is another one after change. All
// who wait are then told if OpenCX began or ceased to refuse the key, because
// that is worth saying at once. They keep their places.
func (b *Budget) watch(acct *account, change func()) {
	before := acct.obstacle()
	change()
	after := acct.obstacle()
	if before == after {
		return
	}
	b.options.Changed(acct.name)
	if before == Unauthorized || after == Unauthorized {
		for asker, r := range b.records {
			if r.account == acct && r.stage == queued {
				b.options.Tell(asker)
			}
		}
	}
}
