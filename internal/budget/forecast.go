package budget

import "time"

// expected is roughly when a record that waits will be called.
func (a *account) expected(r *record, now time.Time) time.Time {
	if r.stage != queued {
		return now
	}
	ahead, at := a.queue.ahead(r), now
	switch {
	case r.class != Edit || !a.mayEdit(r.asker.Namespace):
		at = a.pacedAt(ahead, now)
	case ahead >= a.free(now):
		at = a.nextFree(now)
	}
	if r.past == Bystander && a.breaker.isOpen() {
		at = latest(at, now.Add(a.limit.Window)) // when another one's request has closed it
	}
	return latest(at, a.silence.until, a.breaker.until)
}

// drainsAt is roughly when the last who waits will be called.
func (a *account) drainsAt(now time.Time) time.Time {
	return latest(a.pacedAt(a.queue.len-1, now), a.silence.until, a.breaker.until)
}

// pacedAt is roughly when the backlog has its next slot but so many. It is now, or when
// the pacing will allow one, for as many as a burst then has room for, and one for each
// interval later behind them, reckoned from its beginning; edits slow it down if there go
// on being as many as in the last window.
//
// For example at 100/1m, the last of a backlog of 300, of which 80 have just been called,
// while ten edits came in the last window, has 219 ahead. The schedule has its next slot
// after 49.4 s; 100 less 10 in a window are one in 0.67 s, and 219 of these take 146 s:
// it is called after about 195 s.
func (a *account) pacedAt(ahead int, now time.Time) time.Time {
	pacing, own := a.pacing, a.own()
	next, free := a.pacedFrom(&pacing, now)
	if !pacing.paced {
		for at, slots := range frees(a.ledgers, own.Window, now) {
			if at.After(next) {
				break
			}
			free += slots
		}
		if ahead < free-own.keep() {
			return next
		}
	}
	interval := max(own.interval(), own.Window/time.Duration(max(1, own.Requests-a.editsBefore())))
	return next.Add(time.Duration(ahead) * interval)
}

// editsBefore is how many edits of the last window went before the backlog, which always
// has a tenth of the slots.
func (a *account) editsBefore() (n int) {
	for _, of := range a.editsOf {
		n += min(of, max(1, a.share.requests/5))
	}
	return min(n, a.share.requests*(everyTenth-1)/everyTenth)
}
