// Package history judges an operator from outside: by what was declared, what OpenCX
// received, and what each status said, and when.
package history

import (
	"slices"
	"time"
)

// Version numbers the states of a contact: how often its manifest and the Secret that it
// takes a value from were changed. Neither ever falls.
type Version struct{ Manifest, Secret int }

// OlderThan says that v has a part which o has newer.
func (v Version) OlderThan(o Version) bool { return v.Manifest < o.Manifest || v.Secret < o.Secret }

// Change is a state that the API server took.
type Change struct {
	At      time.Time // when the API server had answered
	Version Version
	Deleted bool
}

// Request is one update that OpenCX received.
type Request struct {
	At         time.Time // of its arrival
	AcceptedAt time.Time // when OpenCX had taken it over; zero when it did not
	Version    Version
	Sender     string
}

func (r Request) accepted() bool { return !r.AcceptedAt.IsZero() }

// Sight is a status as it was stored.
type Sight struct {
	At    time.Time
	Ready bool // that Ready is True
}

// Contact is all that happened to one contact, each in the order of time.
type Contact struct {
	Changes  []Change
	Requests []Request
	Sights   []Sight
}

// Interval is from the first to the second time.
type Interval [2]time.Time

// MostIn returns the most of times, which are sorted, that lie in any window.
func MostIn(times []time.Time, window time.Duration) (most int) {
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// Stale returns the requests that arrived after a newer state had been accepted.
func (c *Contact) Stale() (stale []Request) {
	for i, request := range c.Requests {
		if slices.ContainsFunc(c.Requests[:i], func(before Request) bool {
			return before.accepted() && before.AcceptedAt.Before(request.At) && request.Version.OlderThan(before.Version)
		}) {
			stale = append(stale, request)
		}
	}
	return stale
}

// Repeats returns the requests for a state that had been accepted already.
func (c *Contact) Repeats() (repeats []Request) {
	for i, request := range c.Requests {
		if slices.ContainsFunc(c.Requests[:i], func(before Request) bool {
			return before.accepted() && before.Version == request.Version
		}) {
			repeats = append(repeats, request)
		}
	}
	return repeats
}

// Untrue returns the longest time without a break in which Ready was True while a change
// was unsent, but for what lies in excused. All of it is before end.
func (c *Contact) Untrue(excused []Interval, end time.Time) (longest time.Duration) {
	var declared, accepted Version
	var exists, ready bool
	var since time.Time // from when on it is untrue; zero while it is not
	changes, requests, sights := c.Changes, c.Requests, c.Sights
	accepting := slices.DeleteFunc(slices.Clone(requests), func(r Request) bool { return !r.accepted() })
	slices.SortStableFunc(accepting, func(a, b Request) int { return a.AcceptedAt.Compare(b.AcceptedAt) })
	for {
		next, at := none, end
		if len(changes) > 0 && changes[0].At.Before(at) {
			next, at = change, changes[0].At
		}
		if len(accepting) > 0 && accepting[0].AcceptedAt.Before(at) {
			next, at = acceptance, accepting[0].AcceptedAt
		}
		if len(sights) > 0 && sights[0].At.Before(at) {
			next, at = sight, sights[0].At
		}
		if !since.IsZero() {
			longest = max(longest, without(excused, since, at))
		}
		switch next {
		case none:
			return longest
		case change:
			declared, exists = changes[0].Version, !changes[0].Deleted
			changes = changes[1:]
		case acceptance:
			accepted = accepting[0].Version
			accepting = accepting[1:]
		case sight:
			ready = sights[0].Ready
			sights = sights[1:]
		}
		switch untrue := exists && ready && accepted.OlderThan(declared); {
		case !untrue:
			since = time.Time{}
		case since.IsZero():
			since = at
		}
	}
}

type event int

const (
	none event = iota
	change
	acceptance
	sight
)

// without returns the longest part of the time from one moment to another that nothing
// in excused, which is sorted, covers.
func without(excused []Interval, from, to time.Time) (longest time.Duration) {
	for _, interval := range excused {
		if interval[1].Before(from) || interval[0].After(to) {
			continue
		}
		longest = max(longest, interval[0].Sub(from))
		from = interval[1]
	}
	return max(longest, to.Sub(from))
}
