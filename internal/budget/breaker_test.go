package budget

import (
	"testing"
	"time"
)

func TestWhoseFailureSpeaksAgainstOpenCX(t *testing.T) {
	const window = time.Minute
	now := time.Now()
	for name, tt := range map[string]struct {
		past     Past
		obstacle Obstacle
		accepted time.Duration // before the request was sent, something was
		row      int           // failed since then that had not failed before
		usual    int           // fail before a success, of late
		want     bool
	}{
		"one whose last request was accepted":                          {Accepted, Unavailable, time.Second, 0, 0, true},
		"and while many fail, too":                                     {Accepted, Unavailable, time.Second, 0, 5, true},
		"one that failed before":                                       {Failed, Unavailable, time.Hour, 9, 0, false},
		"and with another answer, too":                                 {Failed, Unauthorized, time.Hour, 9, 0, false},
		"one never tried, while others are accepted":                   {Untried, Unavailable, window / twelfth, 9, 0, false},
		"one never tried, when nothing was accepted for a twelfth":     {Untried, Unavailable, window/twelfth + 1, 0, 0, true},
		"but not where as many fail as a rule":                         {Untried, Unavailable, time.Hour, 9, 5, false},
		"until twice as many have, in a row":                           {Untried, Unavailable, time.Hour, 10, 5, true},
		"one never tried whose key is refused, whoever else goes well": {Untried, Unauthorized, time.Second, 0, 5, true},
	} {
		t.Run(name, func(t *testing.T) {
			k := newBreaker(window)
			k.acceptedAt, k.row, k.usual = now.Add(-tt.accepted), tt.row, tt.usual
			if got := k.isWitness(tt.obstacle, &record{past: tt.past}, now); got != tt.want {
				t.Errorf("it speaks against OpenCX: %t, want %t", got, tt.want)
			}
		})
	}
}
