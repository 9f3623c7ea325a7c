package drift

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// firstWorld is the seed of the first random world. One alone is run again by its name:
// -run 'TestNoEditIsMissed/417$'.
var firstWorld = flag.Uint64("first-world", 0, "seed of the first random world")

// editing is how long people edit contacts in a random world, and unrest how long requests
// fail there and processes are killed.
const editing, unrest = 80 * time.Minute, 100 * time.Minute

// plusMinus is a random duration from -d to d, in whole milliseconds.
func plusMinus(random *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(random.Int64N(2*d.Milliseconds()+1)-d.Milliseconds()) * time.Millisecond
}

// randomOptions are an OpenCX of which nobody knows how it lists contacts. The clock of its
// store and that of its answers are both wrong by up to 90 s, and by no more than that
// apart.
func randomOptions(random *rand.Rand) opencxtest.Options {
	options := opencxtest.Options{
		List: opencxtest.ListOptions{
			PageSize: 1 + random.IntN(5), Overlap: random.IntN(3), Inclusive: random.IntN(2) == 0,
			NewestFirst: random.IntN(2) == 0, OmitUnset: random.IntN(2) == 0,
		},
		Store: opencxtest.StoreOptions{
			Ahead: plusMinus(random, 90*time.Second), Normalize: random.IntN(2) == 0, AlwaysTouch: random.IntN(2) == 0,
		},
	}
	options.DateAhead = min(plusMinus(random, 90*time.Second), options.Store.Ahead+90*time.Second)
	switch random.IntN(4) {
	case 0:
		options.List.CursorRequests, options.List.ExpiredStatus = 1, http.StatusGone
	case 1:
		options.List.CursorLife = 2 * time.Minute
	}
	return options
}

// unhappy is a random way in which a list fails.
func unhappy(random *rand.Rand) opencxtest.Answer {
	limited := opencxtest.Failure(http.StatusTooManyRequests, "Rate limit exceeded")
	switch random.IntN(6) {
	case 0:
		limited.Header["Retry-After"] = "20"
		return limited
	case 1:
		return limited
	case 2:
		return opencxtest.Answer{Break: opencxtest.Reset}
	case 3:
		return opencxtest.Answer{Status: http.StatusOK, Body: `{"items": []}`, Break: opencxtest.Half}
	case 4:
		return opencxtest.Answer{Break: opencxtest.Hang}
	}
	return opencxtest.Failure(http.StatusInternalServerError, "boom")
}

// randomWorld has 5 to 20 contacts of a manifest, and others.
func randomWorld(t *testing.T, seed uint64) *world {
	random := rand.New(rand.NewPCG(seed, 1<<32))
	w := newWorld(t, seed, randomOptions(random))
	w.unrest = true
	reports := random.IntN(2) == 0 // then the first sweep looks at all contacts
	for i := range 5 + random.IntN(16) {
		id := fmt.Sprintf("c%02d", i)
		w.simulator.AddContacts(id)
		w.declare(id, seed).report = reports && random.IntN(5) == 0
	}
	for i := range random.IntN(10) {
		w.others = append(w.others, fmt.Sprintf("o%02d", i))
	}
	w.simulator.AddContacts(w.others...)
	return w
}

// disturb has people edit contacts and manifests, requests fail, and the process be killed.
// Where there is little of that, nothing makes up for what is missed.
func (w *world) disturb(seed uint64, kills bool) {
	random := rand.New(rand.NewPCG(seed, 1<<33))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	seldom := 1 + 9*random.IntN(2)
	within := []time.Duration{time.Second, time.Minute, 10 * time.Minute}[random.IntN(3)]
	ids := slices.Clone(w.others)
	for _, c := range w.contacts {
		ids = append(ids, c.id)
		time.AfterFunc(upTo(within), func() { w.apply(c) })
		if random.IntN(3*seldom) == 0 {
			time.AfterFunc(within+upTo(editing-within), func() { w.apply(c) })
		}
	}
	edit := func(after time.Duration) {
		id, by := ids[random.IntN(len(ids))], rand.New(rand.NewPCG(random.Uint64(), 0))
		if after >= 0 && time.Since(w.start)+after < editing {
			time.AfterFunc(after, func() { w.edit(id, by) })
		}
	}
	killAfter := upTo(30 * time.Minute)
	kill := func(after time.Duration) {
		if now := time.Since(w.start); kills && now > killAfter && random.IntN(3) == 0 {
			killAfter = now + upTo(40*time.Minute)
			time.AfterFunc(after, w.restart)
		}
	}
	for range random.IntN(40 / seldom) {
		edit(upTo(editing))
	}
	for range random.IntN(10) { // before the first sweep
		edit(upTo(3 * time.Minute))
	}
	for range random.IntN(10) {
		answer := unhappy(random)
		time.AfterFunc(upTo(unrest), func() { w.simulator.InjectList(1, answer) })
	}
	w.onList = func(takes time.Duration) {
		switch random.IntN(4 * seldom) {
		case 0: // while a page is under way
			edit(upTo(takes + 1))
		case 1: // at the very instant of its answer, or after it
			edit(takes)
			edit(takes + upTo(3*time.Second))
		}
		kill(takes + upTo(10*time.Second))
	}
	w.onStored = func() { kill(upTo(20 * time.Second)) } // what is not stored by now is lost
	w.onResult = func() {
		if random.IntN(3*seldom) > 0 {
			return
		}
		w.takes = upTo(slowest-time.Second) + time.Millisecond
		date := w.beginsAt.Add(w.takes + w.options.DateAhead).Truncate(time.Second)
		mark := time.Until(date.Add(-DefaultTiming.Overlap - w.options.Store.Ahead))
		for _, beside := range []time.Duration{0, -time.Millisecond, time.Millisecond, time.Second} {
			edit(mark + beside)
		}
	}
	w.begin()
	time.Sleep(unrest)
	w.mu.Lock()
	w.onList, w.onStored, w.onResult, w.unrest, w.takes = nil, nil, nil, false, 0
	w.mu.Unlock()
	w.simulator.ClearFaults()
}

// restart kills the process, while there is unrest.
func (w *world) restart() {
	if time.Since(w.start) < unrest {
		w.begin()
	}
}

// lastRepairAt is when the last repair is due that waits.
func (w *world) lastRepairAt() (last time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.contacts {
		if due := c.dueAt(); due.After(last) {
			last = due
		}
	}
	return last
}

// wantKnown says that every difference is known, and that nothing else is told.
func (w *world) wantKnown() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.contacts {
		if fields := w.differs(c); (len(fields) > 0) != (c.told.drift == v1alpha1.FieldsDifferReason) {
			w.t.Errorf("OpenCX has something else for %s in %v, but status says %+v", c.id, fields, c.told)
		}
	}
}

// wantRepaired says that OpenCX has what is declared, and took no request for it in vain.
func (w *world) wantRepaired() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.contacts {
		fields, most := w.differs(c), c.version+c.drifts+w.kills
		if c.report { // nothing but what the manifest says
			fields, most = nil, c.version+w.kills
		}
		if len(fields) > 0 {
			w.t.Errorf("%s still differs in %v: status says %+v", c.id, fields, c.told)
		}
		if c.patches > most || c.vain > w.kills {
			w.t.Errorf("%s was sent %d times, want at most %d; %d times in vain, with %d kills", c.id, c.patches, most, c.vain, w.kills)
		}
	}
}

func testRandomWorlds(t *testing.T, runs uint64, kills bool) {
	t.Parallel()
	if testing.Short() {
		runs /= 10
	}
	var onMark, lists, patches, vain int
	for seed := *firstWorld; seed < *firstWorld+runs; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := randomWorld(t, seed)
				w.disturb(seed, kills)
				time.Sleep(3 * DefaultTiming.Interval)
				w.wantKnown()
				time.Sleep(time.Until(w.lastRepairAt()))
				time.Sleep(DefaultTiming.Interval)
				w.wantRepaired()
				w.end()
				onMark, lists = onMark+w.onMark, lists+w.lists
				for _, c := range w.contacts {
					patches, vain = patches+c.patches, vain+c.vain
				}
			})
		})
	}
	t.Logf("%d lists, %d updates, %d of them in vain; %d edits were at the very watermark of a sweep", lists, patches, vain, onMark)
}

func TestNoEditIsMissed(t *testing.T) { testRandomWorlds(t, worlds, false) }

func TestNoEditIsMissedByAProcessThatIsKilled(t *testing.T) { testRandomWorlds(t, worlds/2, true) }

// calmWorld has n contacts, in which nothing happens by itself, and which are all verified.
func calmWorld(t *testing.T, n int) *world {
	w := newWorld(t, 1, opencxtest.Options{List: opencxtest.ListOptions{PageSize: 50}})
	for i := range n {
		id := fmt.Sprintf("c%02d", i)
		w.simulator.AddContacts(id)
		w.declare(id, 1)
	}
	w.begin()
	for _, c := range w.contacts {
		w.apply(c)
	}
	time.Sleep(2*DefaultTiming.Interval + time.Minute)
	w.wantKnown()
	w.simulator.ResetJournal()
	return w
}

// requests is how many of a method were made since the last reset.
func (w *world) requests(method string) (n int) {
	for _, request := range w.simulator.Journal() {
		if request.Method == method {
			n++
		}
	}
	return n
}

func TestAnHourWithoutEditsCostsOneListInEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := calmWorld(t, 20)
		time.Sleep(time.Hour)
		if lists, patches := w.requests(http.MethodGet), w.requests(http.MethodPatch); lists != 6 || patches != 0 {
			t.Errorf("%d lists and %d updates, want 6 and none", lists, patches)
		}
		w.end()
	})
}

func TestSystemsThatInsistOnValuesCostFewRepairs(t *testing.T) {
	const day = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		w := calmWorld(t, 3)
		insists := w.contacts[0]
		for system := range 10 {
			go func() {
				for time.Since(w.start) < 3*day {
					time.Sleep(time.Duration(system+1) * time.Minute)
					w.simulator.Edit(insists.id, func(c *opencxtest.Contact) { c.Fields["name"] = fmt.Sprint("System ", system) })
				}
			}()
		}
		for i, want := range []int{6, 3, 3} {
			time.Sleep(day)
			if got := w.requests(http.MethodPatch); got != want {
				t.Errorf("day %d: %d repairs, want %d", i+1, got, want)
			}
			if lists := w.requests(http.MethodGet); lists > 144 {
				t.Errorf("day %d: %d lists, want at most one in each interval, which are 144", i+1, lists)
			}
			w.simulator.ResetJournal()
		}
		w.end()
	})
}
