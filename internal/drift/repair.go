package drift

import "time"

// Forgiven is how long a contact must have needed no repair since its last one, for its
// repairs to be counted from 0 again.
const Forgiven = 24 * time.Hour

// The pauses between repairs of one contact. A longer interval between two comparisons
// replaces both.
const firstPause, longestPause = 10 * time.Minute, 8 * time.Hour

// Pause is how long after the last of so many consecutive repairs the next one may be
// made: 0 when there was none, then the interval between two comparisons but at least
// ten minutes, and four times as long after each further repair, up to eight hours. So
// where another system insists on different values, the two of them cost a handful of
// requests a day, and not one at every comparison.
func Pause(interval time.Duration, repairs int32) time.Duration {
	if repairs <= 0 {
		return 0
	}
	pause := max(interval, firstPause)
	longest := max(pause, longestPause)
	for ; repairs > 1 && pause < longest; repairs-- {
		pause *= 4
	}
	return min(pause, longest)
}
