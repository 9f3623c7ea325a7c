package budget

import (
	"context"
	"encoding/hex"
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
	// Open is how many slots may have been used at any time until this process
	// ended.
	Open int `json:"open,omitempty"`
	// Used are slots that are free again at a known time.
	Used []UsedSlots `json:"used,omitempty"`
}

// SaveFunc keeps reservations, by an ID of their key, where a restart does not
// lose them. When it finds that another process has saved others since this one
// last loaded or saved, it returns those and saves nothing.
type SaveFunc func(ctx context.Context, reservations map[string]Reservation) (others map[string]Reservation, err error)

// reservationID stands for a key where others may read it. It is short, so that
// it is worth little to somebody who wants to test a guess of the key; two keys
// that share one share what was reserved for either.
func reservationID(key Key) string { return hex.EncodeToString(key[:2]) }

// block is how many slots are reserved at once.
func (a *account) block() int { return max(1, a.limit.Requests/10) }

// wantsBlock says that those who wait will soon need more than is reserved.
func (a *account) wantsBlock() bool {
	return a.reserves && a.credit <= a.block()/2 && a.queue.len()+len(a.turns) > a.credit
}

// reservation is what to save of the account when reserved is added to its
// credit.
func (a *account) reservation(reserved int, now time.Time) Reservation {
	return Reservation{Open: a.inFlight + a.credit + reserved, Used: a.used.rounded(a.limit.Window/buckets, now)}
}

// rounded is what is used by the wall clock, rounded up to a multiple of step.
func (u *usedSlots) rounded(step time.Duration, now time.Time) []UsedSlots {
	var rounded usedSlots
	for _, run := range u.runs {
		rounded.add(now.Round(0).Add(run.Until.Sub(now)+step).Truncate(step), run.Slots)
	}
	return rounded.runs
}

// restored turns what another process saved into when slots are free again.
// Clocks differ and are set, so none is later than if the slot was used just now.
func (b *Budget) restored(r Reservation, now time.Time) *usedSlots {
	latest := now.Add(b.options.CallTimeout + b.options.Limit.Window)
	used := &usedSlots{}
	for _, run := range r.Used {
		at := now.Add(run.Until.Sub(now.Round(0))) // by the monotonic clock from here on
		if at.After(latest) {
			at = latest
		}
		used.add(at, run.Slots)
	}
	used.add(latest, r.Open)
	used.prune(now)
	return used
}

// Restore makes the budget respect what processes before this one may have
// sent. It must be called before Take.
func (b *Budget) Restore(reservations map[string]Reservation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restore(reservations, time.Now())
}

func (b *Budget) restore(reservations map[string]Reservation, now time.Time) {
	for id, r := range reservations {
		used := b.restored(r, now)
		found := false
		for _, acct := range b.accounts {
			if reservationID(acct.key) == id {
				found = true
				acct.used.addAll(used)
			}
		}
		if earlier := b.before[id]; earlier != nil {
			used.addAll(earlier)
		}
		if !found {
			b.before[id] = used
		}
	}
	b.forgetBefore = now.Add(b.options.CallTimeout + b.options.Limit.Window)
}

// inherit gives a new account what was saved for its key.
func (b *Budget) inherit(acct *account, now time.Time) {
	id := reservationID(acct.key)
	if used := b.before[id]; used != nil {
		acct.used.addAll(used)
		delete(b.before, id)
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
	if now.After(b.forgetBefore) {
		clear(b.before)
	}
	reservations := map[string]Reservation{}
	for id, used := range b.before {
		reservations[id] = Reservation{Used: used.rounded(b.options.Limit.Window/buckets, now)}
	}
	for _, acct := range b.accounts {
		acct.prune(now)
		id, r := reservationID(acct.key), acct.reservation(blocks[acct], now)
		if r.Open == 0 && len(r.Used) == 0 {
			continue
		}
		r.Open += reservations[id].Open
		r.Used = append(r.Used, reservations[id].Used...)
		reservations[id] = r
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
