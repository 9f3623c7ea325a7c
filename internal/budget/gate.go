package budget

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	// maxSilence bounds how long a single 429 can silence an organization, whatever it
	// asks for: after that, one probe an hour costs nothing and finds out.
	maxSilence = time.Hour
	// maxShut bounds, in windows, how long the breaker stays open between probes.
	maxShut = 16
	// suspicious is how many different askers have to fail, with no success
	// between them, for the fault to be the key's or OpenCX's and not theirs.
	suspicious = 3
)

// Obstacle says why nobody may send for an organization.
type Obstacle int

// The obstacles.
const (
	// None: requests are sent.
	None Obstacle = iota
	// RateLimited: OpenCX answered 429.
	RateLimited
	// Unauthorized: OpenCX refuses the key.
	Unauthorized
	// Unavailable: OpenCX does not answer, or fails whatever is asked.
	Unavailable
)

// gate stops requests for a time: after a 429, and, as a circuit breaker, when
// whatever is sent fails. When the time is over, one request probes whether it
// has passed; the next goes when that has succeeded.
type gate struct {
	window time.Duration

	obstacle Obstacle
	until    time.Time // shut before this
	shutAt   time.Time
	strikes  int // how often it was shut without a success in between

	failed map[Asker]struct{} // who has failed since the last success
	proven bool               // a request has succeeded since the gate was last shut
}

// admits is how many requests may be under way at now.
func (g *gate) admits(now time.Time) int {
	switch {
	case now.Before(g.until):
		return 0
	case g.obstacle != None:
		return 1
	case !g.proven:
		// Enough to find out whether the key is any good.
		return suspicious
	}
	return math.MaxInt
}

// succeeded notes that OpenCX dealt with a request that was sent at taken. One
// that was already under way when the gate was shut proves nothing.
func (g *gate) succeeded(taken time.Time) {
	if g.obstacle == None || taken.After(g.shutAt) {
		*g = gate{window: g.window, proven: true, until: g.until}
	}
}

// limited notes a 429 for a request that was sent at taken, and shuts the gate:
// for retryAfter, or else for a time that grows from a twelfth of the window,
// so that a short excess costs little.
func (g *gate) limited(taken, now time.Time, retryAfter time.Duration) {
	g.strike(RateLimited, taken, now)
	wait := retryAfter
	if wait <= 0 {
		wait = g.growing(g.window / 12)
	}
	g.shut(now, min(wait, maxSilence))
}

// met notes that a request of asker, sent at taken, met an obstacle. Enough
// of them shut the gate, for a time that grows from one window. It says whether
// the gate has just been shut by it.
func (g *gate) met(obstacle Obstacle, asker Asker, taken, now time.Time) bool {
	if g.failed == nil {
		g.failed = map[Asker]struct{}{}
	}
	g.failed[asker] = struct{}{}
	probe := g.obstacle != None && taken.After(g.shutAt)
	if len(g.failed) < suspicious && !probe {
		return false
	}
	opened := g.obstacle != obstacle
	g.strike(obstacle, taken, now)
	g.shut(now, g.growing(g.window))
	return opened
}

// strike counts a failure that shuts the gate. Requests that were under way
// together are one.
func (g *gate) strike(obstacle Obstacle, taken, now time.Time) {
	if g.obstacle == None || taken.After(g.shutAt) {
		g.strikes++
		g.shutAt = now
	}
	g.obstacle = obstacle
	g.proven = false
}

// growing doubles from first with every strike, up to maxShut windows, with up
// to a quarter more, so that several operators do not return together.
func (g *gate) growing(first time.Duration) time.Duration {
	wait := min(first<<min(g.strikes-1, 10), maxShut*g.window)
	return wait + rand.N(wait/4+1)
}

func (g *gate) shut(now time.Time, wait time.Duration) {
	if until := now.Add(wait); until.After(g.until) {
		g.until = until
	}
}
