package budget

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Limit is how many requests OpenCX takes in any trailing window.
type Limit struct {
	Requests int
	Window   time.Duration
}

// DefaultLimit is what OpenCX's page documents for standard endpoints.
var DefaultLimit = Limit{Requests: 100, Window: time.Minute}

// Bounds of a limit that makes sense. A longer window than an hour would leave
// contacts waiting for so long that a mistake in the unit is the likelier case.
const (
	maxRequests = 1_000_000
	minWindow   = 100 * time.Millisecond
	maxWindow   = time.Hour
)

// ParseLimit reads a limit like "100/1m": requests, a slash, and the window as
// a Go duration.
func ParseLimit(s string) (Limit, error) {
	requests, window, found := strings.Cut(s, "/")
	if !found {
		return Limit{}, errors.New("write requests/window, such as 100/1m")
	}
	n, err := strconv.Atoi(requests)
	if err != nil || n < 1 || n > maxRequests {
		return Limit{}, fmt.Errorf("the part before the slash must be a whole number of requests from 1 to %d, such as the 100 of 100/1m", maxRequests)
	}
	d, err := time.ParseDuration(window)
	if err != nil || d < minWindow || d > maxWindow {
		return Limit{}, fmt.Errorf("the part after the slash must be a duration from %s to %s, such as the 1m of 100/1m", minWindow, "1h")
	}
	return Limit{Requests: n, Window: d}, nil
}

// Part returns the part of l that a share of it, from more than 0 to 1, leaves: whole
// requests, or, where it is less than one, one in a window that is as much longer.
func (l Limit) Part(share float64) Limit {
	requests := float64(l.Requests) * share
	if whole := int(requests + 1e-9); whole >= 1 { // 0.29 of 100 is 28.999999999999996
		return Limit{Requests: whole, Window: l.Window}
	}
	return Limit{Requests: 1, Window: time.Duration(math.Round(float64(l.Window) / requests))}
}

// String is the inverse of ParseLimit.
func (l Limit) String() string { return fmt.Sprintf("%d/%s", l.Requests, l.Window) }

// Set makes a *Limit a flag value, with String.
func (l *Limit) Set(s string) (err error) {
	*l, err = ParseLimit(s)
	return err
}
