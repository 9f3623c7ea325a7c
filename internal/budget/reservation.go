package budget

import (
	"context"
	"time"
)

const (
	// saveTimeout bounds one attempt to save reservations.
	saveTimeout = 10 * time.Second
	// After a failed attempt, the next one comes after firstSaveRetry, and after
	// twice as long with every further failure, up to maxSaveRetry.
	firstSaveRetry = time.Second
	maxSaveRetry   = 30 * time.Second
	// buckets is into how many steps of a window the times in a Reservation are
	// rounded, so that it stays small whatever the limit is.
	buckets = 20
)

// Reservation is what a process that comes after this one must know of an
// account, to keep the limit.
type Reservation struct {
	// Window is that of the organization's limit, in nanoseconds.
	Window time.Duration `json:"window"`
	// Open is how many slots may have been used at any time until this process
	// ended.
	Open int `json:"open,omitempty"`
	// Used are slots that are free again at a known time.
	Used []UsedSlots `json:"used,omitempty"`
}

// SaveFunc keeps reservations, by organization, where a restart does not
// lose them. When it finds that another process has saved others since this one
// last loaded or saved, it returns those and saves nothing.
type SaveFunc func(ctx context.Context, reservations map[string]Reservation) (others map[string]Reservation, err error)

// block is how many slots are reserved at once.
func (a *account) block() int { return max(1, a.limit.Requests/10) }

// wantsBlock says that those who wait will soon need more than is reserved.
func (a *account) wantsBlock() bool {
	return a.reserves && a.credit <= a.block()/2 && a.queue.len()+len(a.turns) > a.credit
}

// reservation is what to save of the account when reserved is added to its
// credit.
func (a *account) reservation(reserved int, now time.Time) Reservation {
	return Reservation{Window: a.limit.Window, Open: a.inFlight + a.credit + reserved, Used: a.used.rounded(a.limit.Window/buckets, now)}
}

// rounded is what is used by the wall clock, rounded up to a multiple of step.
func (u *usedSlots) rounded(step time.Duration, now time.Time) []UsedSlots {
	var rounded usedSlots
	for _, run := range u.runs {
		rounded.add(now.Round(0).Add(run.Until.Sub(now)+step).Truncate(step), run.Slots)
	}
	return rounded.runs
}

// inheritance is what earlier processes reserved for an organization that nobody has
// asked for yet.
type inheritance struct {
	window time.Duration
	used   usedSlots
}

// add counts what r reserves. Clocks differ and are set, so no slot is free again
// later than if it was used just now.
func (i *inheritance) add(r Reservation, callTimeout time.Duration, now time.Time) {
	i.window = r.Window
	latest := now.Add(callTimeout + r.Window)
	for _, run := range r.Used {
		at := now.Add(run.Until.Sub(now.Round(0))) // by the monotonic clock from here on
		if at.After(latest) {
			at = latest
		}
		i.used.add(at, run.Slots)
	}
	i.used.add(latest, r.Open)
	i.used.prune(now)
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
		if b.before[name] == nil {
			b.before[name] = &inheritance{}
		}
		b.before[name].add(r, b.options.CallTimeout, now)
		if acct := b.accounts[name]; acct != nil {
			b.inherit(acct, now)
		}
	}
}

// inherit gives an account what was reserved for its organization.
func (b *Budget) inherit(acct *account, now time.Time) {
	before := b.before[acct.name]
	if before == nil {
		return
	}
	delete(b.before, acct.name)
	if before.window != acct.limit.Window {
		before.used.prune(now)
		acct.used.add(now.Add(max(before.window, acct.limit.Window)), before.used.count)
	} else {
		acct.used.addAll(&before.used)
	}
	acct.prune(now)
}

// reserve saves a block for each account that wants one, unless a save is under
// way; what is wanted meanwhile is saved after it. It runs apart from those who
// ask, and holds nobody up who has a slot.
func (b *Budget) reserve() {
	if b.saving || b.options.Save == nil {
		return
	}
	now := time.Now()
	var blocks map[*account]int
	for _, acct := range b.accounts {
		if acct.wantsBlock() {
			if blocks == nil {
				blocks = map[*account]int{}
			}
			blocks[acct] = acct.block()
		}
	}
	if blocks == nil {
		return
	}
	reservations := map[string]Reservation{}
	for name, before := range b.before {
		if before.used.prune(now); before.used.count > 0 {
			reservations[name] = Reservation{Window: before.window, Used: before.used.rounded(before.window/buckets, now)}
		} else {
			delete(b.before, name)
		}
	}
	for name, acct := range b.accounts {
		acct.prune(now)
		if r := acct.reservation(blocks[acct], now); r.Open > 0 || len(r.Used) > 0 {
			reservations[name] = r
		}
	}
	b.saving = true
	go b.save(reservations, blocks)
}

func (b *Budget) save(reservations map[string]Reservation, blocks map[*account]int) {
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	others, err := b.options.Save(ctx, reservations)

	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	switch {
	case err != nil:
		wait := min(firstSaveRetry<<min(b.saveFailures, 10), maxSaveRetry)
		b.saveFailures++
		time.AfterFunc(wait, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.saving = false
			b.reserve()
		})
		return
	case others != nil:
		b.restore(others, now)
	default:
		b.saveFailures = 0
		for acct, n := range blocks {
			acct.credit += n
		}
	}
	b.saving = false
	for acct := range blocks {
		b.serve(acct, now, Asker{})
	}
	b.reserve()
}
