package budget

import "time"

// forecast is roughly when those who wait in a backlog will be called, by how many are
// before them: the next ones as the pacing goes, those behind them at the pace at
// which it goes on.
type forecast struct {
	made  time.Time // zero when something was called, or has ended, since
	calls []time.Time
	pace  time.Duration
}

// foreseen bounds how many calls are reckoned one by one, and how many slots that become
// free are looked at.
const foreseen = 500

// at is when somebody with so many before it will be called.
func (f *forecast) at(ahead int) time.Time {
	if ahead < len(f.calls) {
		return f.calls[ahead]
	}
	return f.calls[len(f.calls)-1].Add(time.Duration(ahead-len(f.calls)+1) * f.pace)
}

// foresee makes the forecast at now, unless there is a fresh one: it paces a backlog
// that has no end, beside as many edits as there were in the last window.
func (a *account) foresee(now time.Time) *forecast {
	if !a.forecast.made.IsZero() && now.Sub(a.forecast.made) < a.limit.Window/20 {
		return &a.forecast
	}
	var next []entry // slots by when they become free
	for at, slots := range frees(a.ledgers, a.limit.Window, now) {
		if next = append(next, entry{at: at, slots: slots}); len(next) == foreseen {
			break
		}
	}
	free, pacing, t, edits := a.share.requests-a.used(a.limit.Window, now), a.pacing, now, 0.0
	rate := float64(a.editsBefore()) / a.limit.Window.Seconds()
	calls := make([]time.Time, 0, min(2*a.share.requests+1, foreseen))
	use := func(n int) {
		free -= n
		next = append(next, entry{at: t.Add(a.limit.Window), slots: n})
	}
	for len(calls) < cap(calls) {
		for len(next) > 0 && !next[0].at.After(t) {
			free += next[0].slots
			next = next[1:]
		}
		var at time.Time // of the next call, or of the next slot that becomes free
		if free > 0 {
			at = pacing.from(t, a.own(), free, each(next))
		}
		switch {
		case len(next) == 0 && at.IsZero():
			return a.extrapolate(now, append(calls, t))
		case at.IsZero() || at.After(t) && len(next) > 0 && next[0].at.Before(at):
			at = next[0].at
		}
		if !at.After(t) {
			calls = append(calls, t)
			pacing.granted(t, a.own(), free)
			use(1)
			continue
		}
		edits += rate * at.Sub(t).Seconds()
		if t = at; edits >= 1 {
			use(int(edits))
			edits -= float64(int(edits))
		}
	}
	return a.extrapolate(now, calls)
}

// extrapolate goes on at the pace of the later half of calls, but no faster than the
// schedule of a backlog.
func (a *account) extrapolate(now time.Time, calls []time.Time) *forecast {
	last, half := len(calls)-1, len(calls)/2
	a.forecast = forecast{made: now, calls: calls, pace: max(a.own().interval(), calls[last].Sub(calls[half])/time.Duration(max(1, last-half)))}
	return &a.forecast
}

// each yields entries.
func each(entries []entry) func(yield func(time.Time, int) bool) {
	return func(yield func(time.Time, int) bool) {
		for _, r := range entries {
			if !yield(r.at, r.slots) {
				return
			}
		}
	}
}

// editsBefore is how many edits of the last window went before the backlog.
func (a *account) editsBefore() (n int) {
	for _, of := range a.editsOf {
		n += min(of, max(1, a.share.requests/5))
	}
	return min(n, a.share.requests/2)
}

// expected is roughly when a record that waits will be called.
func (a *account) expected(r *record, now time.Time) time.Time {
	if r.stage != queued {
		return now
	}
	ahead, free, at := a.queue.ahead(r), a.free(now), now
	switch {
	case r.class == Edit && a.mayEdit(r.asker.Namespace):
		if ahead >= free {
			at = a.nextFree(now)
		}
	case a.pacing.paced || !a.own().bursts(free-ahead):
		at = a.foresee(now).at(ahead)
	}
	return latest(at, a.silence.until, a.breaker.until)
}

// drainsAt is roughly when the last who waits will be called.
func (a *account) drainsAt(now time.Time) time.Time {
	return latest(a.foresee(now).at(a.queue.len-1), a.silence.until, a.breaker.until)
}
