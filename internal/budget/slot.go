package budget

import (
	"maps"
	"time"
)

// Slot is the right to send one request. Exactly one of its methods, besides Sent, must
// be called when that request has ended, or was not made.
type Slot struct {
	budget *Budget
	record *record
	taken  time.Time
	// key is the content of the one that the request carries.
	key string
}

// Sent reports that the request is sent now, and says whether it may be. What was done
// before with the slot in hand took time, in which no request was under way; if OpenCX
// asked for silence meanwhile, or the breaker opened, the slot is to be given back as
// Unused.
func (s *Slot) Sent() bool {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	if s.record.account.recalledAt.After(s.taken) {
		return false
	}
	s.taken = time.Now()
	return true
}

// Accepted reports that OpenCX accepted the request: it works, and takes the key. Of a
// bystander it shows only the latter.
func (s *Slot) Accepted() {
	s.end(func(acct *account, now time.Time) {
		s.record.ledger.add(now, 1)
		s.record.ledger.proven = true
		delete(acct.limited, s.record.asker)
		acct.silence.passed(s.taken)
		if s.record.past != Bystander {
			acct.breaker.succeeded(s.record.asker.Namespace, s.taken, now)
		}
	})
}

// Refused reports that fault was found with the request itself. That shows that OpenCX
// works when it accepted the asker's last request, and when the request was a probe of an
// asker that was never tried. Otherwise it shows nothing: what is too long, a gateway may
// refuse for ever by itself, whatever is behind it, and before it looks at the key.
func (s *Slot) Refused() {
	s.end(func(acct *account, now time.Time) {
		s.record.ledger.add(now, 1)
		acct.silence.passed(s.taken)
		if s.record.past == Accepted || s.record.past == Untried && s.record.role == probe {
			acct.breaker.succeeded(s.record.asker.Namespace, s.taken, now)
		}
	})
}

// Unauthorized reports that OpenCX refused the key. When it does so for several
// askers, one probe at a time is sent, and all who wait are woken, because what
// they wait for is now another thing.
func (s *Slot) Unauthorized() {
	s.end(func(acct *account, now time.Time) {
		s.record.ledger.add(now, 1)
		acct.silence.passed(s.taken)
		if s.key == acct.key.Content { // otherwise it says nothing of the key that is used now
			s.failed(Unauthorized, now)
		}
	})
}

// Failed reports that OpenCX answered, but failed to deal with the request. When
// it does so for several askers that never failed before, only one probe at a time is
// sent. With retryAfter, if the answer carried one, the whole account is silent for that
// long, as after a 429, if the failure speaks against OpenCX; otherwise the time is for the
// asker alone. Failed returns when the asker may try again at the earliest, zero for at any
// time.
func (s *Slot) Failed(retryAfter time.Duration) (until time.Time) {
	s.end(func(acct *account, now time.Time) {
		s.record.ledger.add(now, 1)
		if retryAfter > 0 {
			until = now.Add(min(retryAfter, maxSilence))
		}
		if retryAfter > 0 && (s.record.role == probe || acct.breaker.isWitness(Unavailable, s.record, s.taken)) {
			acct.silence.limited(acct.limit.Window, s.taken, now, retryAfter)
			s.budget.recall(acct)
			return
		}
		acct.silence.passed(s.taken)
		s.failed(Unavailable, now)
	})
	return until
}

// NoAnswer reports that no answer came, which is a failure like Failed. The
// request may still arrive at OpenCX until its call would have timed out.
func (s *Slot) NoAnswer() {
	s.end(func(acct *account, now time.Time) {
		s.record.ledger.add(latest(now, s.taken.Add(s.budget.options.CallTimeout)), 1)
		acct.silence.passed(s.taken)
		s.failed(Unavailable, now)
	})
}

// Lost reports that no answer came, for a reason that is nobody's fault and says
// nothing of OpenCX: the connection was closed at that moment. The request may
// have arrived.
func (s *Slot) Lost() {
	s.end(func(_ *account, now time.Time) {
		s.record.ledger.add(latest(now, s.taken.Add(s.budget.options.CallTimeout)), 1)
	})
}

// RateLimited reports a 429. The whole account is silent until the returned
// time: for retryAfter when OpenCX gave one, otherwise for a time that doubles
// with every further 429. After it one request probes whether OpenCX takes
// requests again, before the others follow, at a rate that leaves the others
// who use the quota what they use. An asker that gets a 429 again, though OpenCX accepted
// others since the one before, waits alone, for a window or longer: it is no sign of
// others, and nobody shall throttle everybody by one contact.
func (s *Slot) RateLimited(retryAfter time.Duration) (until time.Time) {
	s.end(func(acct *account, now time.Time) {
		maps.DeleteFunc(acct.limited, func(_ Asker, at time.Time) bool { return now.Sub(at) > quietly })
		before, again := acct.limited[s.record.asker]
		acct.limited[s.record.asker] = now
		if again && acct.breaker.acceptedAt.After(before) {
			s.record.ledger.add(now, 1)
			until = now.Add(max(acct.limit.Window, min(retryAfter, maxSilence)))
			return
		}
		acct.share.lower(acct.limit, acct.used(acct.limit.Window, now), s.taken, now)
		s.record.ledger.add(now, 1)
		acct.silence.limited(acct.limit.Window, s.taken, now, retryAfter)
		s.budget.recall(acct)
		until = acct.silence.until
	})
	return until
}

// Unused reports that nothing was sent.
func (s *Slot) Unused() {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	delete(b.records, s.record.asker)
	b.release(s.record, true)
	b.serve(s.record.account, now, nil)
	b.settle(now)
}

// failed notes a failure, and calls nobody more when it opened the breaker.
func (s *Slot) failed(obstacle Obstacle, now time.Time) {
	acct := s.record.account
	was := acct.breaker.obstacle
	acct.breaker.failed(obstacle, s.record, s.taken, now)
	if acct.breaker.obstacle != was {
		s.budget.recall(acct)
	}
}

func (s *Slot) end(note func(acct *account, now time.Time)) {
	b, acct := s.budget, s.record.account
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	delete(b.records, s.record.asker)
	b.release(s.record, false)
	acct.usedAt = now
	if s.record.ledger != acct.current {
		acct.formerUntil = latest(acct.formerUntil, now.Add(b.options.CallTimeout))
	}
	b.watch(acct, func() { note(acct, now) })
	if s.record.pooled {
		b.unproven.end(acct, !s.record.ledger.proven, now)
	}
	b.serve(acct, now, nil)
	b.settle(now)
}
