package budget

import (
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// maxSilence bounds how long a single answer can silence an organization, whatever it
	// asks for: after that, one probe an hour costs nothing and finds out.
	maxSilence = time.Hour
	// silenceCap bounds, in windows, a silence of which OpenCX does not say how long it
	// shall be.
	silenceCap = 16
	// silenceJitter is added, so that several operators do not return together.
	silenceJitter = 0.25
)

// silence is kept after OpenCX asked for it. When its time is over, one request at a
// time is sent until one is answered otherwise.
type silence struct {
	until     time.Time
	limitedAt time.Time // zero when there was none since
	growing   wait.Backoff
}

func (s *silence) on() bool { return !s.limitedAt.IsZero() }

// limited notes that OpenCX asked for silence, for a request that was sent at taken:
// for retryAfter, or else for a time that grows from a twelfth of the window, so that a
// short excess costs little. Requests that were under way together count once.
func (s *silence) limited(window time.Duration, taken, now time.Time, retryAfter time.Duration) {
	if !s.on() {
		s.growing = doubling(window/twelfth, silenceCap*window)
		s.growing.Jitter = silenceJitter
	}
	pause := retryAfter
	if pause <= 0 && (!s.on() || taken.After(s.limitedAt)) {
		pause = s.growing.Step()
	}
	s.until = latest(s.until, now.Add(min(pause, maxSilence)))
	s.limitedAt = now
}

// passed notes that OpenCX answered a request otherwise that was sent at taken.
func (s *silence) passed(taken time.Time) {
	if taken.After(s.limitedAt) {
		s.limitedAt = time.Time{}
	}
}

// forget is until when a silence matters although nobody asks.
func (s *silence) forget(window time.Duration) time.Time {
	if !s.on() {
		return time.Time{}
	}
	return s.until.Add(window)
}
