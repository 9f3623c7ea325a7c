package budget

import (
	"iter"
	"testing"
	"time"
)

// freed are slots that become free at a time.
type freed struct {
	at    time.Duration // from the start of the test
	slots int
}

func freeing(start time.Time, frees ...freed) iter.Seq2[time.Time, int] {
	return func(yield func(time.Time, int) bool) {
		for _, f := range frees {
			if !yield(start.Add(f.at), f.slots) {
				return
			}
		}
	}
}

func TestWhatIsKeptScalesWithTheLimit(t *testing.T) {
	for _, test := range []struct {
		limit       Limit
		keep, floor int
		interval    time.Duration
	}{
		{Limit{1, time.Minute}, 0, 0, time.Minute},
		{Limit{4, time.Minute}, 0, 0, 15 * time.Second},
		{Limit{5, time.Minute}, 1, 0, 12 * time.Second},
		{Limit{20, time.Minute}, 4, 0, 3 * time.Second},
		{Limit{25, time.Minute}, 5, 1, 2500 * time.Millisecond},
		{Limit{100, time.Minute}, 20, 4, 625 * time.Millisecond},
		{Limit{1_000_000, time.Hour}, 200_000, 40_000, time.Hour / 960_000},
	} {
		if keep, floor, interval := test.limit.keep(), test.limit.floor(), test.limit.interval(); keep != test.keep || floor != test.floor || interval != test.interval {
			t.Errorf("%s: keeps %d, floor %d, a slot each %s; want %d, %d, %s", test.limit, keep, floor, interval, test.keep, test.floor, test.interval)
		}
	}
}

func TestAGrantSparesWhatEditsMayNeed(t *testing.T) {
	const never = -1
	hundred, lump := Limit{100, time.Minute}, time.Minute
	for name, test := range map[string]struct {
		limit Limit
		free  int
		frees []freed
		want  time.Duration
	}{
		"in an empty window":                              {hundred, 100, nil, 0},
		"with one more than a fifth":                      {hundred, 21, []freed{{lump, 79}}, 0},
		"with a fifth, 19 after it last for 57 s":         {hundred, 20, []freed{{lump, 80}}, 3 * time.Second},
		"with 15, 14 last for 42 s":                       {hundred, 15, []freed{{lump, 85}}, 18 * time.Second},
		"and with one less":                               {hundred, 14, []freed{{lump, 86}}, 21 * time.Second},
		"with ten, 9 last for 27 s":                       {hundred, 10, []freed{{lump, 90}}, 33 * time.Second},
		"with ten, when the lump is near":                 {hundred, 10, []freed{{26 * time.Second, 90}}, 0},
		"with five, four are left":                        {hundred, 5, []freed{{lump, 95}}, 48 * time.Second},
		"with four, which are never the backlog's":        {hundred, 4, []freed{{lump, 96}}, 60 * time.Second},
		"with none, when five have come free":             {hundred, 0, []freed{{10 * time.Second, 4}, {20 * time.Second, 1}, {20500 * time.Millisecond, 95}}, 20 * time.Second},
		"with more in use than the limit, as after a cut": {hundred, -3, []freed{{10 * time.Second, 7}, {20 * time.Second, 1}, {21 * time.Second, 98}}, 20 * time.Second},
		"of all that come free, the scarcest counts":      {hundred, 10, []freed{{20 * time.Second, 2}, {58 * time.Second, 88}}, 58*time.Second - 11*3*time.Second},
		"with too few told of":                            {hundred, 2, []freed{{lump, 2}}, never},
		"with enough told of, but not all":                {hundred, 2, []freed{{lump, 3}}, lump},
		"of a limit of 1":                                 {Limit{1, time.Minute}, 1, nil, 0},
		"of a limit of 1 that is used":                    {Limit{1, time.Minute}, 0, []freed{{7 * time.Second, 1}}, 7 * time.Second},
		"of a limit of 4, nothing is kept":                {Limit{4, time.Minute}, 1, []freed{{lump, 3}}, 0},
		"of a limit of 5, one is kept":                    {Limit{5, time.Minute}, 1, []freed{{lump, 4}}, lump},
		"of a limit of 5, one is left":                    {Limit{5, time.Minute}, 2, []freed{{lump, 3}}, 0},
		"of a large limit in a long window":               {Limit{1_000_000, time.Hour}, 100_001, []freed{{time.Hour, 899_999}}, 30 * time.Minute},
		"of the longest window":                           {Limit{100_000, 24 * time.Hour}, 15_001, []freed{{24 * time.Hour, 84_999}}, 6 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			want := start.Add(test.want)
			if test.want == never {
				want = time.Time{}
			}
			if got := new(pacing).from(start, test.limit, test.free, freeing(start, test.frees...)); !got.Equal(want) {
				t.Errorf("a slot after %s, want %s", got.Sub(start), test.want)
			}
		})
	}
}

func TestAFewSlotsAreLookedAt(t *testing.T) {
	looked := 0
	oneByOne := func(yield func(time.Time, int) bool) {
		for looked < 1000 && yield(time.Now().Add(time.Minute), 1) {
			looked++
		}
	}
	new(pacing).from(time.Now(), Limit{100, time.Minute}, 21, oneByOne)
	if looked != 0 {
		t.Errorf("looked at %d used slots while more than a fifth is free", looked)
	}
	new(pacing).from(time.Now(), Limit{100, time.Minute}, 1, oneByOne)
	if looked > 20 {
		t.Errorf("looked at %d used slots, want no more than the 20 that are kept", looked)
	}
}

// drive gives a backlog that waits since the start its slots until that time, and
// tells when each was given. Answers take no time, and nobody else asks.
func drive(p *pacing, limit Limit, waiting int, until time.Duration) (grants []time.Duration) {
	start := time.Now()
	used := &usedSlots{}
	for now := start; len(grants) < waiting; {
		used.prune(now)
		free := limit.Requests - used.count
		at := p.from(now, limit, free, func(yield func(time.Time, int) bool) {
			for _, run := range used.runs {
				if !yield(run.Until, run.Slots) {
					return
				}
			}
		})
		if at.IsZero() || at.Sub(start) > until {
			return grants
		}
		if at.After(now) {
			now = at
			continue
		}
		p.granted(now, limit, free)
		used.add(now.Add(limit.Window), 1)
		grants = append(grants, now.Sub(start))
	}
	return grants
}

func TestABurstAndThenTheSchedule(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for name, test := range map[string]struct {
		limit Limit
		want  map[int]time.Duration // of some of the slots, counted from 1
	}{
		"the documented limit": {Limit{100, time.Minute}, map[int]time.Duration{
			1: 0, 80: 0, 81: 49400 * ms, 82: 50025 * ms, 96: 58775 * ms, 97: 60 * s, 200: 123775 * ms, 300: 186275 * ms, 1000: 623775 * ms}},
		"1 in a minute":     {Limit{1, time.Minute}, map[int]time.Duration{1: 0, 2: 60 * s, 3: 120 * s}},
		"4 in a minute":     {Limit{4, time.Minute}, map[int]time.Duration{4: 0, 5: 60 * s, 6: 60 * s, 7: 75 * s, 8: 90 * s, 9: 120 * s}},
		"5 in a minute":     {Limit{5, time.Minute}, map[int]time.Duration{4: 0, 5: 60 * s, 6: 60 * s, 7: 72 * s, 8: 84 * s, 9: 120 * s}},
		"10 in six seconds": {Limit{10, 6 * s}, map[int]time.Duration{8: 0, 9: 4200 * ms, 10: 6 * s, 11: 6 * s, 12: 6600 * ms}},
		"1000 in a second":  {Limit{1000, s}, map[int]time.Duration{800: 0, 801: 832 * ms, 1801: 1874 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			most := 0
			for i := range test.want {
				most = max(most, i)
			}
			grants := drive(&pacing{}, test.limit, most, time.Hour)
			for i, want := range test.want {
				if got := grants[i-1].Round(ms); got != want {
					t.Errorf("slot %d after %s, want %s", i, got, want)
				}
			}
		})
	}
}

func TestTheScheduleCatchesUpOneSlot(t *testing.T) {
	limit, start := Limit{100, time.Minute}, time.Now()
	p := pacing{paced: true, next: start}
	late := start.Add(10 * time.Second)
	for i, want := range []time.Duration{0, limit.interval() - limit.Window/100, 2*limit.interval() - limit.Window/100} {
		at := p.from(late, limit, 30, freeing(start))
		if got := at.Sub(late); got != max(0, want) {
			t.Errorf("slot %d is due %s later, want %s", i+1, got, want)
		}
		p.granted(late, limit, 30)
	}
}

func TestWhenAnotherBurstStarts(t *testing.T) {
	limit, start := Limit{100, time.Minute}, time.Now()
	later := start.Add(time.Hour)
	due := func(p *pacing, free int) bool { return p.from(start, limit, free, freeing(start)).Equal(start) }
	for name, test := range map[string]struct {
		when func(p *pacing)
		want bool
	}{
		"not while the backlog waits":                         {func(*pacing) {}, false},
		"when it rested and most of the window is free":       {func(p *pacing) { p.rested(limit, 21) }, true},
		"when it rested, and came back when most was free":    {func(p *pacing) { p.rested(limit, 20) }, true},
		"not when it came back while most was in use":         {func(p *pacing) { p.rested(limit, 20); due(p, 20) }, false},
		"not when that happens again and again, one by one":   {func(p *pacing) { p.rested(limit, 20); due(p, 20); p.rested(limit, 19); due(p, 19) }, false},
		"not when that one burst was used up":                 {func(p *pacing) { p.rested(limit, 21); due(p, 21); p.granted(start, limit, 21) }, false},
		"while that burst goes on, although it rests between": {func(p *pacing) { p.rested(limit, 90); p.granted(start, limit, 90); p.rested(limit, 89) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pacing{paced: true, next: later}
			test.when(p)
			if got := due(p, 60); got != test.want {
				t.Errorf("a burst: %t, want %t", got, test.want)
			}
		})
	}
}

func TestAScheduleOfALongerWindowIsForgotten(t *testing.T) {
	start, short := time.Now(), Limit{100, time.Second}
	p := pacing{paced: true, next: start.Add(time.Hour)}
	if at := p.from(start, short, 30, freeing(start)); !at.Equal(start.Add(time.Second)) {
		t.Errorf("a slot after %s, want 1s", at.Sub(start))
	}
	if at := p.from(start.Add(time.Second), short, 30, freeing(start)); !at.Equal(start.Add(time.Second)) {
		t.Errorf("a second later, a slot after %s, want 1s", at.Sub(start))
	}
}
