package budget

import (
	"container/list"
	"math/rand/v2"
	"slices"
	"time"
)

// maxSilence bounds how long a single 429 can silence a key, whatever it asks
// for: after that, one probe an hour costs nothing and finds out.
const maxSilence = time.Hour

// account is what is known of one key. The budget's lock guards it.
type account struct {
	key   Key
	limit Limit

	used     []time.Time        // when each ended request's slot is free again, ascending
	inFlight int                // slots taken whose request has not ended
	turns    map[Asker]struct{} // askers that were woken and have not come yet
	waiting  *list.List         // of Asker, the longest waiting first
	places   map[Asker]*list.Element

	silentUntil time.Time
	silencedAt  time.Time // when the last 429 came, zero when none counts any more
	strikes     int       // 429s without a success between them

	timer *time.Timer // fires at nextChange
}

func newAccount(key Key, limit Limit) *account {
	return &account{
		key:     key,
		limit:   limit,
		turns:   map[Asker]struct{}{},
		waiting: list.New(),
		places:  map[Asker]*list.Element{},
	}
}

// prune forgets the slots that are free again.
func (a *account) prune(now time.Time) {
	free, _ := slices.BinarySearchFunc(a.used, now, func(until, now time.Time) int {
		if until.After(now) {
			return 1
		}
		return -1
	})
	a.used = a.used[free:]
}

// available is how many slots can be given out at now.
func (a *account) available(now time.Time) int {
	if now.Before(a.silentUntil) {
		return 0
	}
	a.prune(now)
	allowed := a.limit.Requests - len(a.used)
	if a.probing() {
		allowed = min(allowed, 1)
	}
	return max(0, allowed-a.inFlight-len(a.turns))
}

// probing says that a silence has ended and no request has succeeded since.
func (a *account) probing() bool { return !a.silencedAt.IsZero() }

// claim uses up the turn of an asker that was woken, if it was.
func (a *account) claim(asker Asker) bool {
	_, ok := a.turns[asker]
	delete(a.turns, asker)
	return ok
}

// enqueue puts the asker at the end of the queue, unless it is in it.
func (a *account) enqueue(ask Ask) {
	if a.places[ask.Asker] == nil {
		a.places[ask.Asker] = a.waiting.PushBack(ask.Asker)
	}
}

// reserveNext gives the first in the queue its turn.
func (a *account) reserveNext() Asker {
	asker := a.waiting.Remove(a.waiting.Front()).(Asker)
	delete(a.places, asker)
	a.turns[asker] = struct{}{}
	return asker
}

// remove forgets the asker's place or turn.
func (a *account) remove(asker Asker) {
	if place := a.places[asker]; place != nil {
		a.waiting.Remove(place)
		delete(a.places, asker)
	}
	delete(a.turns, asker)
}

// lastTurn estimates when the last in the queue will be served.
func (a *account) lastTurn(now time.Time) time.Time {
	ahead := a.waiting.Len() - 1 + a.inFlight + len(a.turns)
	at := now
	if behind := ahead - (a.limit.Requests - len(a.used)); behind >= 0 {
		// Every slot comes round once a window.
		if n := len(a.used); n > 0 {
			at = a.used[behind%n].Add(time.Duration(behind/n) * a.limit.Window)
		} else {
			at = now.Add(time.Duration(1+behind/a.limit.Requests) * a.limit.Window)
		}
	}
	if at.Before(a.silentUntil) {
		return a.silentUntil
	}
	return at
}

// use notes that a slot is not free again before until.
func (a *account) use(until time.Time) {
	i, _ := slices.BinarySearchFunc(a.used, until, time.Time.Compare)
	a.used = slices.Insert(a.used, i, until)
}

// answered notes that OpenCX takes requests, if the request was sent after the
// last 429; one that was already under way then proves nothing.
func (a *account) answered(taken time.Time) {
	if taken.After(a.silencedAt) {
		a.silencedAt = time.Time{}
		a.strikes = 0
	}
}

// silence notes a 429 for a request whose slot was taken at taken. Several
// requests that were under way together are one strike.
func (a *account) silence(taken, now time.Time, retryAfter time.Duration) {
	if a.silencedAt.IsZero() || taken.After(a.silencedAt) {
		a.strikes++
		a.silencedAt = now
	}
	wait := retryAfter
	if wait <= 0 {
		// From a twelfth of the window, so that a short excess costs little, to
		// sixteen windows; up to a quarter more, so that several operators
		// with one quota do not return together.
		wait = a.limit.Window / 12 << min(a.strikes-1, 10)
		wait = min(wait, 16*a.limit.Window)
		wait += rand.N(wait/4 + 1)
	}
	if until := now.Add(min(wait, maxSilence)); until.After(a.silentUntil) {
		a.silentUntil = until
	}
}

// nextChange is when something can next change without anybody's doing: a slot
// becomes free for those who wait, or the account becomes idle. Zero is never.
func (a *account) nextChange(now time.Time) time.Time {
	a.prune(now)
	switch {
	case now.Before(a.silentUntil):
		return a.silentUntil
	case a.waiting.Len() > 0 && len(a.used) > 0:
		return a.used[0]
	case len(a.used) > 0:
		return a.used[len(a.used)-1]
	case now.Before(a.forgetSilence()):
		return a.forgetSilence()
	}
	return time.Time{}
}

// forgetSilence is until when a 429 is remembered although nobody asks.
func (a *account) forgetSilence() time.Time { return a.silentUntil.Add(a.limit.Window) }

// idle says that nothing would be lost if the account were forgotten.
func (a *account) idle(now time.Time) bool {
	a.prune(now)
	return a.inFlight+len(a.turns)+len(a.used)+a.waiting.Len() == 0 && !now.Before(a.forgetSilence())
}
