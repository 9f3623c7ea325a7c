package budget

import "time"

// maxHold bounds, in windows, how long a share that was found to be the most is
// kept before more is tried.
const maxHold = 8

// share is how many requests in a window are ours. It is the whole limit until
// a 429 shows that somebody else uses the same quota, and then what was got
// before the 429 came, until trying more shows that they have stopped.
type share struct {
	requests  int
	raiseAt   time.Time // when more is tried; zero while the share is the limit
	raisedAt  time.Time // when more was last tried
	loweredAt time.Time
	step      int // how much more is tried next
	hold      int // windows to wait before trying
}

// lower notes a 429 to a request that was sent at taken, while got other requests of the
// trailing window had been admitted. A twentieth less than that is asked for, because the use of others
// varies; but a tenth of the limit always, because after a restart nothing is
// known of what was sent before.
func (s *share) lower(limit Limit, got int, taken, now time.Time) {
	floor := max(1, limit.Requests/10)
	s.requests = min(s.requests, max(floor, got-(got+19)/20))
	switch {
	case s.hold > 0 && !taken.After(s.loweredAt): // it was under way with one that was refused
	case !s.raisedAt.IsZero() && now.Sub(s.raisedAt) < 2*limit.Window:
		s.hold = min(2*s.hold, maxHold) // trying more is what brought the 429
	default:
		s.hold = 1
	}
	s.loweredAt = now
	s.step = 1
	s.raiseAt = now.Add(time.Duration(s.hold) * limit.Window)
}

// recover tries more when it is time, each time twice as much more.
func (s *share) recover(limit Limit, now time.Time) {
	if s.raiseAt.IsZero() || now.Before(s.raiseAt) {
		return
	}
	s.requests = min(limit.Requests, s.requests+s.step)
	s.step *= 2
	s.raisedAt = now
	s.raiseAt = now.Add(limit.Window)
	if s.requests == limit.Requests {
		*s = share{requests: limit.Requests}
	}
}
