package budget

import "time"

// used is how many slots of a window are not free.
func (a *account) used(window time.Duration, now time.Time) (n int) {
	for _, l := range a.ledgers {
		n += l.since(now.Add(-window))
	}
	return n
}

// free is how many slots are left at now: of the organization's own limit, and of the
// operator's, which says what it may have used before its own was another one.
func (a *account) free(now time.Time) int {
	free, _ := a.tightest(now)
	return free
}

// tightest is how many slots are left at now, and of which window.
func (a *account) tightest(now time.Time) (free int, window time.Duration) {
	a.share.recover(a.limit, now)
	own, ceiling := a.share.requests-a.used(a.limit.Window, now), a.ceiling.Requests-a.used(a.ceiling.Window, now)
	if ceiling < own {
		return max(0, ceiling), a.ceiling.Window
	}
	return max(0, own), a.limit.Window
}

// pacedFrom is from when the backlog may have one more slot by its pacing, and how many
// are free now.
func (a *account) pacedFrom(p *pacing, now time.Time) (at time.Time, free int) {
	free, window := a.tightest(now)
	if at = p.from(now, a.own(), free, frees(a.ledgers, window, now)); at.IsZero() {
		at = now.Add(window) // whatever is under way has ended then
	}
	return at, free
}

// lastUsed is when the account last used a slot, or, at the latest, the last one was used of
// those that it alone remembers, or alone knows to count for it: with an earlier key, or by
// another name.
func (a *account) lastUsed() time.Time {
	last := latest(a.usedAt, a.formerUntil)
	for _, l := range a.ledgers {
		if n := len(l.entries); n > 0 && l.users == 1 {
			last = latest(last, l.entries[n-1].at)
		}
	}
	return last
}

// nextFree is when one more slot becomes free; zero when that is not known.
func (a *account) nextFree(now time.Time) time.Time {
	own, ceiling := a.nextFreeOf(a.own(), now), a.nextFreeOf(a.ceiling, now)
	if own.IsZero() || ceiling.IsZero() {
		return time.Time{}
	}
	return latest(own, ceiling)
}

func (a *account) nextFreeOf(limit Limit, now time.Time) time.Time {
	excess := a.used(limit.Window, now) - limit.Requests // a lower share may have come to more
	if excess < 0 {
		return now
	}
	for at, slots := range frees(a.ledgers, limit.Window, now) {
		if excess -= slots; excess < 0 {
			return at
		}
	}
	return time.Time{}
}

// own is the limit that the account allows itself.
func (a *account) own() Limit { return Limit{a.share.requests, a.limit.Window} }
