package drift

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

func TestPausesGrow(t *testing.T) {
	for _, tt := range []struct {
		interval time.Duration
		want     []time.Duration // after 0, 1, … repairs
	}{
		{0, []time.Duration{0, 10 * time.Minute, 40 * time.Minute, 160 * time.Minute, 8 * time.Hour, 8 * time.Hour}},
		{time.Minute, []time.Duration{0, 10 * time.Minute, 40 * time.Minute, 160 * time.Minute, 8 * time.Hour, 8 * time.Hour}},
		{time.Hour, []time.Duration{0, time.Hour, 4 * time.Hour, 8 * time.Hour, 8 * time.Hour}},
		{8 * time.Hour, []time.Duration{0, 8 * time.Hour, 8 * time.Hour}},
		{24 * time.Hour, []time.Duration{0, 24 * time.Hour, 24 * time.Hour}},
	} {
		t.Run(fmt.Sprint(tt.interval), func(t *testing.T) {
			var got []time.Duration
			for repairs := range tt.want {
				got = append(got, Pause(tt.interval, int32(repairs)))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("pauses: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestAnyNumberOfRepairsHasAPause(t *testing.T) {
	for repairs, want := range map[int32]time.Duration{math.MinInt32: 0, -1: 0, math.MaxInt32: 8 * time.Hour} {
		if got := Pause(time.Minute, repairs); got != want {
			t.Errorf("after %d repairs: %v, want %v", repairs, got, want)
		}
	}
	if got := Pause(math.MaxInt64, 2); got != math.MaxInt64 {
		t.Errorf("with the longest interval: %v", got)
	}
}

func TestDriftAtEveryMomentCostsAHandfulOfRepairsADay(t *testing.T) {
	const day = 24 * time.Hour
	for interval, want := range map[time.Duration][4]int{ // on each of the first days
		time.Minute:      {6, 3, 3, 3},
		10 * time.Minute: {6, 3, 3, 3},
		time.Hour:        {5, 3, 3, 3},
		3 * time.Hour:    {4, 3, 3, 3},
		12 * time.Hour:   {2, 2, 2, 2},
		24 * time.Hour:   {1, 1, 1, 1},
	} {
		t.Run(interval.String(), func(t *testing.T) {
			var got [4]int
			for at, repairs := time.Duration(0), int32(1); at < 4*day; repairs++ {
				got[at/day]++
				at += Pause(interval, repairs)
			}
			if got != want {
				t.Errorf("repairs on each day: %v, want %v", got, want)
			}
		})
	}
}
