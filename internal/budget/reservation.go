package budget

import (
	"context"
	"maps"
	"slices"
	"time"
)

const (
	// saveTimeout bounds one attempt to save reservations.
	saveTimeout = 10 * time.Second
	// clockSkew is how much the clocks of two processes may differ, one after the other.
	clockSkew = 5 * time.Second
	// buckets is into how many steps of a window the times in a Reservation are
	// rounded, so that it stays small whatever the limit is.
	buckets = 20
	// many organizations are so many that the times of each are rounded to a window, so
	// that all fit into 1 MiB.
	many = 1000
)

// saveBackoff spaces attempts to save.
var saveBackoff = doubling(time.Second, 30*time.Second)

// Reservation is what a process that comes after this one must know of an
// organization's requests, to keep the limit.
type Reservation struct {
	// Window is for how long what was used matters to the organization, in nanoseconds.
	Window time.Duration `json:"window"`
	// Open is how many requests may have been sent at any time until this process
	// ended.
	Open int `json:"open,omitempty"`
	// Used are requests that reached OpenCX at a known time.
	Used []Used `json:"used,omitempty"`
}

// Used are requests that reached OpenCX at the latest at the same time.
type Used struct {
	// At is that time, in seconds since 1970.
	At int64 `json:"at"`
	// Slots is how many they are.
	Slots int `json:"n"`
}

// SaveFunc keeps reservations, by organization, where a restart does not
// lose them. When it finds that another process has saved others since this one
// last loaded or saved, it returns those and saves nothing.
type SaveFunc func(ctx context.Context, reservations map[string]Reservation) (others map[string]Reservation, err error)

// unprovenName stands for all organizations whose key OpenCX has never accepted.
const unprovenName = ""

// reserved are slots that are noted where a restart finds them.
type reserved struct {
	left int // not kept for anybody
	out  int // kept, or in a request that is under way
}

// block is how many slots are reserved at once.
func (a *account) block() int { return max(1, a.limit.Requests/10) }

// wantsBlock says that those who wait will soon need more than is reserved.
func (a *account) wantsBlock() bool {
	return a.reserves && a.current.proven && a.saved.left <= a.block()/2 && a.queue.len > a.saved.left
}

// used is when the requests of ledgers were made that matter for window, by the wall
// clock, rounded up to multiples of step.
func used(window, step time.Duration, now time.Time, ledgers ...*ledger) (all []Used) {
	seconds := map[int64]int{}
	for _, l := range ledgers {
		for _, r := range l.entries[l.after(now.Add(-window)):] {
			wall := now.Round(0).Add(r.at.Sub(now) + step).Truncate(step)
			seconds[wall.Add(time.Second-1).Unix()] += r.slots
		}
	}
	for _, at := range slices.Sorted(maps.Keys(seconds)) {
		all = append(all, Used{at, seconds[at]})
	}
	return all
}

// inherited is what processes before this one sent for an organization that has not
// asked yet, and for how long that matters.
type inherited struct {
	ledger
	window time.Duration
}

// inherit is what r says. Clocks differ and are set, so nothing counts as sent later than
// just now.
func (r Reservation) inherit(callTimeout time.Duration, now time.Time) *inherited {
	i, latest := &inherited{window: r.Window}, now.Add(callTimeout)
	for _, u := range r.Used {
		at := now.Add(time.Unix(u.At, 0).Sub(now.Round(0)) + clockSkew) // by the monotonic clock from here on
		if at.After(latest) {
			at = latest
		}
		i.add(at, u.Slots)
	}
	i.add(latest, r.Open)
	return i
}

// Restore makes the budget respect what processes before this one may have
// sent. It must be called before Take.
func (b *Budget) Restore(reservations map[string]Reservation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restore(reservations, time.Now())
}

func (b *Budget) restore(reservations map[string]Reservation, now time.Time) {
	for name, r := range reservations {
		more := r.inherit(b.options.CallTimeout, now)
		if before := b.before[name]; before != nil {
			before.addAll(&more.ledger)
			before.window = max(before.window, more.window)
		} else {
			b.before[name] = more
		}
		if name == unprovenName {
			b.unproven.inherit(more.entries)
		}
		for _, acct := range b.accounts {
			if before := &b.before[name].ledger; name == unprovenName || slices.Contains(acct.ledgers, before) {
				acct.count(before, now.Add(b.options.CallTimeout))
			}
		}
		if acct := b.accounts[name]; acct != nil {
			b.inherit(acct)
		}
	}
}

// inherit gives an account what was reserved for its organization.
func (b *Budget) inherit(acct *account) {
	if before := b.before[acct.name]; before != nil {
		acct.current.addAll(&before.ledger)
		delete(b.before, acct.name)
	}
}

// reserve saves a block for each account that wants one, unless a save is under
// way; what is wanted meanwhile is saved after it. It runs apart from those who
// ask, and holds nobody up who has a slot.
func (b *Budget) reserve() {
	if b.saving || b.options.Save == nil {
		return
	}
	now := time.Now()
	blocks := map[*reserved]int{}
	for acct := range b.wanting {
		if acct.wantsBlock() {
			blocks[&acct.saved] = acct.block()
		} else {
			delete(b.wanting, acct)
		}
	}
	if b.unproven.wantsBlock() {
		blocks[&b.unproven.reserved] = b.unproven.block()
	}
	if len(blocks) == 0 {
		return
	}
	b.saving = true
	go b.save(b.reservations(blocks, now), blocks, b.wanting)
	b.wanting = map[*account]struct{}{}
}

// reservations is what to save when blocks are added to what is reserved.
func (b *Budget) reservations(blocks map[*reserved]int, now time.Time) map[string]Reservation {
	steps := time.Duration(buckets)
	if len(b.accounts)+len(b.before) > many {
		steps = 1
	}
	all := map[string]Reservation{}
	for name, before := range b.before {
		if name == unprovenName {
			continue // the shared tenth tells of it
		}
		if before.forget(now.Add(-max(b.longest, before.window))); before.empty() {
			delete(b.before, name)
		} else {
			all[name] = Reservation{Window: before.window, Used: used(before.window, before.window/steps, now, &before.ledger)}
		}
	}
	for name, acct := range b.accounts {
		b.prune(acct, now)
		window := max(acct.limit.Window, acct.ceiling.Window)
		own := slices.DeleteFunc(slices.Clone(acct.ledgers), func(l *ledger) bool {
			shared := b.before[unprovenName]
			return shared != nil && l == &shared.ledger // of which the shared tenth tells
		})
		r := Reservation{Window: window, Open: acct.saved.open(blocks), Used: used(window, window/steps, now, own...)}
		if r.Open > 0 || len(r.Used) > 0 {
			all[name] = r
		}
	}
	if pool := b.unproven.reservation(blocks, steps, now); pool.Open > 0 || len(pool.Used) > 0 {
		all[unprovenName] = pool
	}
	return all
}

// open is how many of them may be used at any time, with a block that is added.
func (r *reserved) open(blocks map[*reserved]int) int { return r.left + r.out + blocks[r] }

func (b *Budget) save(reservations map[string]Reservation, blocks map[*reserved]int, wanting map[*account]struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	others, err := b.options.Save(ctx, reservations)

	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for acct := range wanting {
		b.wanting[acct] = struct{}{} // perhaps again
	}
	b.unsaved = err != nil
	if err != nil {
		b.at(now.Add(b.saveRetry.Step()), func(time.Time) { b.saving = false })
		return
	}
	b.saveRetry = saveBackoff
	b.saving = false
	if others != nil {
		b.restore(others, now)
	} else {
		for r, n := range blocks {
			r.left += n
		}
	}
	for acct := range wanting {
		b.serve(acct, now, nil)
	}
	b.settle(now)
}
