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

// UsedSlots are slots that are free again at the same time.
type UsedSlots struct {
	Until time.Time `json:"until"`
	Slots int       `json:"slots"`
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
	r := Reservation{Open: a.inFlight + a.credit + reserved}
	step := a.limit.Window / buckets
	for _, until := range a.used {
		until = now.Round(0).Add(until.Sub(now) + step).Truncate(step) // by the wall clock from here on
		if n := len(r.Used); n > 0 && r.Used[n-1].Until.Equal(until) {
			r.Used[n-1].Slots++
		} else {
			r.Used = append(r.Used, UsedSlots{until, 1})
		}
	}
	return r
}

// restored turns what another process saved into times at which slots are free
// again. Clocks differ and are set, so none is later than if the slot was used
// just now.
func (b *Budget) restored(r Reservation, now time.Time) (until []time.Time) {
	latest := now.Add(b.options.CallTimeout + b.options.Limit.Window)
	add := func(at time.Time, slots int) {
		// More than the limit at one time say no more than the limit.
		for range min(slots, b.options.Limit.Requests) {
			until = append(until, at)
		}
	}
	for _, used := range r.Used {
		// By the monotonic clock from here on.
		if at := now.Add(used.Until.Sub(now.Round(0))); at.Before(latest) {
			add(at, used.Slots)
		} else {
			add(latest, used.Slots)
		}
	}
	add(latest, r.Open)
	return until
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
		until := b.restored(r, now)
		found := false
		for _, acct := range b.accounts {
			if reservationID(acct.key) == id {
				found = true
				for _, at := range until {
					acct.use(at)
				}
			}
		}
		if !found {
			b.before[id] = until
		}
	}
	b.forgetBefore = now.Add(b.options.CallTimeout + b.options.Limit.Window)
}

// inherit gives a new account what was saved for its key.
func (b *Budget) inherit(acct *account, now time.Time) {
	id := reservationID(acct.key)
	for _, at := range b.before[id] {
		acct.use(at)
	}
	delete(b.before, id)
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
	blocks := map[*account]int{}
	for _, acct := range b.accounts {
		if acct.wantsBlock() {
			blocks[acct] = acct.block()
		}
	}
	if len(blocks) == 0 {
		return
	}
	reservations := map[string]Reservation{}
	if now.Before(b.forgetBefore) {
		for id, until := range b.before {
			r := (&account{limit: b.options.Limit, used: until}).reservation(0, now)
			reservations[id] = r
		}
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
