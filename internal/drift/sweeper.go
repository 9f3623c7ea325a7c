// Package drift finds out what OpenCX really has: it asks OpenCX from time to time which
// contacts have changed, and hands them to whoever compares them with the manifests. It
// tells how they differ, and how often that may be repaired.
package drift

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

// Timing is when OpenCX is looked at, and how far what it says of times is believed.
type Timing struct {
	// Interval is between two sweeps of an organization that does not say; 0 is never.
	Interval time.Duration
	// Overlap is how far before the Date of a sweep's first page the next one begins: more
	// than the clocks of OpenCX's machines differ.
	Overlap time.Duration
	// Settling is how long ago the last request of a contact must have ended for what
	// OpenCX lists to be newer.
	Settling time.Duration
}

// DefaultTiming is the one for OpenCX.
var DefaultTiming = Timing{Interval: 10 * time.Minute, Overlap: 2 * time.Minute, Settling: 10 * time.Second}

const (
	// fullShare is of how many requests of the limit sweeps of all contacts may use one, and
	// fullPause the time after which a contact is looked for again that none of them has
	// shown.
	fullShare, fullPause = 20, 24 * time.Hour
	// forbiddenPause is how long a key that may not list contacts is not tried again.
	forbiddenPause = 24 * time.Hour
	// patience is how long a page may take to be compared.
	patience = 10 * time.Minute
	// believed is how far the clock of OpenCX may be ahead of this one.
	believed = 5 * time.Minute
	// mostPages ends a list that has no end.
	mostPages = 10_000
	// firstRetry is how long after a first failure it is tried again. It is doubled after each
	// further one, up to the interval.
	firstRetry = time.Minute
	// toldFailures is how many failures in a row are told.
	toldFailures = 3
)

// Plan is what a sweep of an organization would be for.
type Plan struct {
	// Contacts says that there are contacts to compare.
	Contacts bool
	// Oldest is when the contact of which that is longest ago was accepted, or verified,
	// last; zero when none was.
	Oldest time.Time
	// Unlisted says that there are contacts to compare that a sweep of what has changed
	// does not show. Newest is since when the last of those is there that no sweep of all
	// contacts has looked for; zero when there is none.
	Unlisted bool
	Newest   time.Time
}

// Listing is a contact as OpenCX has it.
type Listing struct {
	opencx.ListedContact
	// Organization is the one that was asked.
	Organization types.NamespacedName
	// RequestedAt is when the page was requested.
	RequestedAt time.Time
	// Sources reads Secrets and ConfigMaps.
	Sources client.Reader
	// Done must be called once when what follows from it is stored.
	Done func()
}

// Contacts are those that the manifests declare.
type Contacts interface {
	// Plan says what a sweep of an organization would be for. swept is when the last sweep
	// began, and full the last one of all contacts; zero when there was none.
	Plan(ctx context.Context, organization types.NamespacedName, swept, full time.Time) (Plan, error)
	// Compare has those compared that the listing speaks of, for each of which one is
	// made. It does not wait for that.
	Compare(ctx context.Context, organization types.NamespacedName, listed opencx.ListedContact, listing func() Listing) error
}

// Lister is OpenCX: see opencx.Client.
type Lister interface {
	ListContacts(ctx context.Context, key opencx.APIKey, updatedAfter time.Time, cursor string) (opencx.Page, error)
}

// Options are what a Sweeper works with. Every field is required.
type Options struct {
	Timing
	OpenCX        Lister
	Budget        *budget.Budget
	Organizations *organization.Organizations
	Contacts      Contacts
	// Live reads Secrets and ConfigMaps from the API server.
	Live client.Reader
	// Lease is asked immediately before each request, whether this process will lead for
	// that long.
	Lease func(left time.Duration) error
	// Wake has the Sweeper look at an organization, and Told who writes its status.
	Wake, Told func(organization types.NamespacedName)
}

// Sweeper reconciles organizations: it sweeps those of which it is time. What it comes to
// know of an organization itself, another reconciler writes.
type Sweeper struct {
	Options

	kept atomic.Int64 // bytes of what sweeps have read of Secrets and ConfigMaps

	mu     sync.Mutex
	sights map[types.NamespacedName]*sight
}

// sight is what is known of the sweeps of an organization.
type sight struct {
	uid  types.UID
	pass *pass // nil when none is under way
	// sources are those of the last pass, nil when they are closed.
	sources *Sources

	failures  int       // in a row
	notBefore time.Time // the next request, after a failure
	// refusedKey may not list contacts, and is not tried before refusedUntil.
	refusedKey   string
	refusedUntil time.Time

	began     time.Time // the last sweep that came to its end
	fullBegan time.Time // the last one of all contacts that did
	// When the last one of all contacts ended, however that was, and the pause after it, by
	// what it has cost.
	fullEnded time.Time
	fullRest  time.Duration

	// What is told. Whoever reconciles the organization alone sets it, with the mutex of the
	// Sweeper, which all others need to read it.
	told organization.Sweeps
}

// New returns a Sweeper that has swept nothing.
func New(options Options) *Sweeper {
	return &Sweeper{Options: options, sights: map[types.NamespacedName]*sight{}}
}

// TellsOf returns what there is to say of an organization.
func (s *Sweeper) TellsOf(name types.NamespacedName) organization.Sweeps {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen := s.sights[name]; seen != nil {
		return seen.told
	}
	return organization.Sweeps{}
}

func (s *Sweeper) sight(name types.NamespacedName) *sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sights[name] == nil {
		s.sights[name] = &sight{}
	}
	return s.sights[name]
}

// closes gives up the sources of a pass that is over.
func (seen *sight) closes() {
	if seen.pass == nil && seen.sources != nil {
		seen.sources.Close()
		seen.sources = nil
	}
}

func (s *Sweeper) forget(name types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sights, name)
	forgetCounts(name.String())
}

// asker is who asks the budget for the requests of a sweep.
func asker(name types.NamespacedName) budget.Asker {
	return budget.Asker{Namespace: name.Namespace, Name: name.Name, Sweep: true}
}

// Reconcile takes the sweep of an organization one step further: it begins one, asks for a
// page, or ends it when all that was found is stored. It waits for one page at most.
func (s *Sweeper) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	name := request.NamespacedName
	seen := s.sight(name)
	defer seen.closes()
	found, err := s.Organizations.Get(ctx, name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if found == nil {
		seen.pass = nil
		s.Budget.Withdraw(asker(name))
		s.forget(name)
		return ctrl.Result{}, nil
	}
	if seen.uid != "" && seen.uid != found.UID { // another one of that name
		seen.pass = nil
		s.forget(name)
		return ctrl.Result{RequeueAfter: time.Millisecond}, nil
	}
	seen.uid = found.UID
	interval := s.Organizations.DriftCheckIntervalOf(found)
	if interval <= 0 || found.Spec.Suspend {
		s.abandon(found, seen)
		return ctrl.Result{}, nil
	}
	next, err := s.step(ctx, found, seen, interval)
	if err != nil {
		s.Budget.Pass(asker(name))
		return ctrl.Result{}, err
	}
	if next.IsZero() {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: max(time.Until(next), time.Millisecond)}, nil
}

// abandon gives up the pass that is under way, and its place in the queue.
func (s *Sweeper) abandon(found *v1alpha1.OpenCXOrganization, seen *sight) {
	if seen.pass != nil {
		s.giveUp(found, seen)
	}
	s.Budget.Withdraw(asker(client.ObjectKeyFromObject(found)))
}

// step does what is next, and returns when to look again without being woken, zero for
// never.
func (s *Sweeper) step(ctx context.Context, found *v1alpha1.OpenCXOrganization, seen *sight, interval time.Duration) (next time.Time, err error) {
	name, now := client.ObjectKeyFromObject(found), time.Now()
	key, err := s.Organizations.Key(ctx, name)
	if err != nil {
		return now, err
	}
	if key.Problem != nil || key.Version == seen.refusedKey && now.Before(seen.refusedUntil) {
		s.abandon(found, seen)
		return now.Add(interval), nil // or when the key changes
	}
	if seen.pass == nil {
		begins, full, plan, err := s.due(ctx, found, seen, interval, now)
		if err != nil {
			return now, err
		}
		if begins.After(now) {
			s.Budget.Withdraw(asker(name))
			return begins, nil
		}
		seen.pass = s.begin(found, plan, full)
		seen.sources, seen.pass.failuresBefore = seen.pass.sources, seen.failures
	}
	p := seen.pass
	switch {
	case p.pending.Load() > 0 && now.Sub(p.handedAt) >= patience:
		s.giveUp(found, seen)
		return s.failed(ctx, found, seen, interval, "what OpenCX listed could not be compared within "+patience.String()), nil
	case p.pending.Load() > 0:
		return now.Add(patience), nil // it is woken at the end of that
	case p.ended:
		s.end(found, seen)
		return now, nil
	case seen.notBefore.After(now):
		s.Budget.Withdraw(asker(name))
		return seen.notBefore, nil
	}
	return s.ask(ctx, found, seen, interval, key)
}

// ask asks OpenCX for the next page of a pass, once it is its turn, and has that compared.
// It returns the same as step.
func (s *Sweeper) ask(ctx context.Context, found *v1alpha1.OpenCXOrganization, seen *sight, interval time.Duration, key organization.Key) (next time.Time, err error) {
	name, p := client.ObjectKeyFromObject(found), seen.pass
	slot, _ := s.Budget.Take(budget.Ask{
		Organization: name.String(), Limit: s.Organizations.LimitOf(found), Key: key.Key,
		Asker: asker(name), Class: budget.Resync, Past: budget.Bystander,
	})
	if slot == nil {
		return time.Time{}, nil // it is woken when it is its turn
	}
	if err := s.Lease(opencx.CallTimeout); err != nil || ctx.Err() != nil {
		slot.Unused()
		return time.Now(), err
	}
	if !slot.Sent() {
		slot.Unused()
		return time.Now(), nil
	}
	requestsTotal.WithLabelValues(name.String()).Inc()
	p.requests++
	requestedAt := time.Now()
	page, err := s.OpenCX.ListContacts(context.WithoutCancel(ctx), key.APIKey, p.after, p.cursor)
	a := answerOf(err)
	until := a.end(slot)
	log.FromContext(ctx).V(1).Info("Asked OpenCX what has changed", "contacts", len(page.Contacts), "full", p.full, "answer", a.text)
	if a.meaning != usable {
		next = s.refused(ctx, found, seen, interval, a, key.Version)
		if next.Before(until) {
			seen.notBefore, next = until, until
		}
		return next, nil
	}
	seen.failures, seen.notBefore, seen.refusedKey = p.failuresBefore, time.Time{}, ""
	if !key.Proven {
		s.Organizations.KeyProven(name, key.Version)
	}
	if page.Release == nil {
		page.Release = func() {}
	}
	if text := p.takes(page, requestedAt, s.Overlap); text != "" {
		page.Release()
		s.giveUp(found, seen)
		return s.failed(ctx, found, seen, interval, text), nil
	}
	contactsSeen.WithLabelValues(name.String()).Add(float64(len(page.Contacts)))
	if err := s.hand(ctx, name, p, page, requestedAt); err != nil {
		s.giveUp(found, seen)
		seen.notBefore = time.Now().Add(min(interval, firstRetry))
		return time.Now(), err
	}
	return time.Now().Add(patience), nil
}

// hand has the contacts of a page compared.
func (s *Sweeper) hand(ctx context.Context, name types.NamespacedName, p *pass, page opencx.Page, requestedAt time.Time) error {
	p.handedAt = time.Now()
	p.pending.Add(1) // until all are handed out
	done := func() {
		if p.pending.Add(-1) == 0 {
			page.Release()
			s.Wake(name)
		}
	}
	defer done()
	for _, listed := range page.Contacts {
		if err := s.Contacts.Compare(ctx, name, listed, func() Listing {
			p.pending.Add(1)
			return Listing{ListedContact: listed, Organization: name, RequestedAt: requestedAt, Sources: p.sources, Done: sync.OnceFunc(done)}
		}); err != nil {
			return err
		}
	}
	return nil
}
