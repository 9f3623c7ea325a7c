package budget

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// simulation is an OpenCX that counts arrivals in a trailing window, and askers
// that want one request each accepted, over a network that delays each request
// and each answer. It runs in the fake time of a synctest bubble.
type simulation struct {
	t      *testing.T
	limit  Limit
	delay  time.Duration      // of a request and of an answer, at the most
	answer func(Ask) Obstacle // what OpenCX says, besides 429
	faults float64            // the part of requests that something happens to on their way

	mu       sync.Mutex
	random   *rand.Rand
	budget   *Budget
	process  int // how often it was started
	saved    map[string]Reservation
	savedBy  time.Duration // by how much the clock was fast of the process that saved
	asked    map[Asker]Ask
	past     map[Asker]Past
	askedAt  map[Asker]time.Time
	accepted map[Asker]time.Time
	busy     map[Asker]bool // is being attempted
	again    map[Asker]bool // and was woken meanwhile
	lost     int            // requests that were under way when their process was killed
	arrivals []time.Time    // admitted, ours and those of others
	ours     []time.Time    // when a request of ours arrived
	refused  []time.Time    // when a request of ours was answered 429
	answered time.Time      // when the last answer came
	requests sync.WaitGroup
}

func simulate(t *testing.T, limit Limit, seed uint64, test func(s *simulation)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{
			t: t, limit: limit, delay: 20 * time.Millisecond,
			answer:  func(Ask) Obstacle { return None },
			random:  rand.New(rand.NewPCG(seed, 0)),
			asked:   map[Asker]Ask{},
			past:    map[Asker]Past{},
			askedAt: map[Asker]time.Time{}, accepted: map[Asker]time.Time{},
		}
		s.start(0)
		test(s)
		s.requests.Wait()
		time.Sleep(s.delay) // for a save that is under way
	})
}

// start kills the process that is running, at whatever it is doing, and starts
// another, which finds what was saved and everybody who still asks. Its clock is
// fast by so much.
func (s *simulation) start(fast time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process++
	s.lost += len(s.busy)
	s.busy, s.again = map[Asker]bool{}, map[Asker]bool{}
	process := s.process
	s.budget = New(Options{
		Limit:       s.limit,
		CallTimeout: callTimeout,
		MaxInFlight: 10,
		Wake:        func(a Asker) { s.requests.Go(func() { s.attempt(process, a) }) },
		Save: func(_ context.Context, r map[string]Reservation) (map[string]Reservation, error) {
			time.Sleep(s.upTo(s.delay))
			s.mu.Lock()
			defer s.mu.Unlock()
			if process == s.process {
				s.saved, s.savedBy = r, fast
			}
			return nil, nil
		},
	})
	found := map[string]Reservation{} // as it looks by this clock
	for name, r := range s.saved {
		r.Used = slices.Clone(r.Used)
		for i := range r.Used {
			r.Used[i].At += int64((s.savedBy - fast).Seconds())
		}
		found[name] = r
	}
	s.budget.Restore(found)
	for a := range s.asked {
		s.requests.Go(func() { s.attempt(process, a) })
	}
}

// lose has what was saved deleted. Then what counts is when a contact was attempted
// last, and that some may have been on their way.
func (s *simulation) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.savedBy = 0
	s.saved = map[string]Reservation{orgA: {Window: s.limit.Window, Open: 10, Used: []Used{{At: s.answered.Unix() + 1, Slots: s.limit.Requests}}}}
}

// upTo is a random duration up to d.
func (s *simulation) upTo(d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.random.Int64N(int64(d) + 1))
}

// count is how many askers have been accepted.
func (s *simulation) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.accepted)
}

// ask wishes for a request, as often as is needed until it is accepted.
func (s *simulation) ask(class Class, namespace, name string) Asker {
	return s.askWith(Ask{Asker: Asker{Namespace: namespace, Name: name}, Class: class})
}

func (s *simulation) askWith(ask Ask) Asker {
	s.mu.Lock()
	defer s.mu.Unlock()
	ask.Organization, ask.Limit = orgA, s.limit
	if ask.Key == (Key{}) {
		ask.Key = Key{Version: "1", Content: "ocx_a", Proven: true}
	}
	s.asked[ask.Asker] = ask
	s.askedAt[ask.Asker] = time.Now()
	process := s.process
	s.requests.Go(func() { s.attempt(process, ask.Asker) })
	return ask.Asker
}

// attempt does for one asker what a controller does for a contact: it works on
// it once at a time, and once more when it was woken meanwhile.
func (s *simulation) attempt(process int, a Asker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if process == s.process && s.busy[a] {
		s.again[a] = true
		return
	}
	for again := true; again && process == s.process; {
		s.busy[a] = true
		budget, ask, wanted := s.budget, s.asked[a], s.asked[a] != Ask{}
		s.mu.Unlock()
		retry := false
		if wanted {
			retry = s.send(process, budget, ask)
		} else {
			budget.Withdraw(a)
		}
		s.mu.Lock()
		if process == s.process {
			again = s.again[a] || retry
			delete(s.busy, a)
			delete(s.again, a)
		}
	}
}

// send sends the request of one asker if it may, and says whether it failed.
func (s *simulation) send(process int, budget *Budget, ask Ask) (failed bool) {
	s.mu.Lock()
	past, tried := s.past[ask.Asker]
	s.mu.Unlock()
	if ask.Past = past; !tried {
		ask.Past = Untried
	}
	slot, _ := budget.Take(ask)
	if slot == nil {
		return false
	}
	if s.isLost() {
		return s.vanish(process, slot, ask)
	}
	time.Sleep(s.upTo(s.delay))
	admitted := s.arrive()
	time.Sleep(s.upTo(s.delay))
	s.mu.Lock()
	defer s.mu.Unlock()
	if process != s.process {
		return false // killed
	}
	s.answered = time.Now()
	obstacle := RateLimited
	if admitted {
		obstacle = s.answer(ask)
	}
	switch obstacle {
	case RateLimited:
		slot.RateLimited(0)
	case Unauthorized:
		slot.Unauthorized()
	case Unavailable:
		slot.Failed(0)
	case None:
		slot.Accepted()
		s.accepted[ask.Asker] = time.Now()
		s.past[ask.Asker] = Accepted
		delete(s.asked, ask.Asker)
		return false
	}
	if obstacle != RateLimited {
		s.past[ask.Asker] = Failed
	}
	return true
}

func (s *simulation) isLost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.Float64() < s.faults
}

// vanish has nobody answer a request, which arrives, if at all, at some time before its
// call would have timed out. The connection breaks before, or that time passes.
func (s *simulation) vanish(process int, slot *Slot, ask Ask) (failed bool) {
	if s.upTo(2) > 0 {
		s.requests.Go(func() {
			time.Sleep(s.upTo(callTimeout))
			s.arrive()
		})
	}
	idle := s.upTo(1) > 0
	if s.upTo(1) > 0 {
		time.Sleep(s.upTo(callTimeout))
	} else {
		time.Sleep(callTimeout)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case process != s.process:
		return false // killed
	case idle && s.past[ask.Asker] != Failed:
		slot.Lost()
	default:
		slot.NoAnswer()
		s.past[ask.Asker] = Failed
	}
	return true
}

// arrive is OpenCX's gateway, for a request of ours.
func (s *simulation) arrive() (admitted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ours = append(s.ours, time.Now())
	if s.admit() {
		return true
	}
	s.refused = append(s.refused, time.Now())
	return false
}

// others is a request of somebody else who uses the same quota.
func (s *simulation) others() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admit()
}

func (s *simulation) admit() bool {
	now := time.Now()
	if n := len(s.arrivals); n >= s.limit.Requests && now.Sub(s.arrivals[n-s.limit.Requests]) < s.limit.Window {
		return false
	}
	s.arrivals = append(s.arrivals, now)
	return true
}

// waits returns, in order of length, how long those of a namespace waited.
func (s *simulation) waits(namespace string) []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waits []time.Duration
	for a, at := range s.accepted {
		if a.Namespace == namespace {
			waits = append(waits, at.Sub(s.askedAt[a]))
		}
	}
	slices.Sort(waits)
	return waits
}

// acceptedAll asserts that n askers were accepted, with one request each.
func (s *simulation) acceptedAll(n int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.accepted) != n || len(s.refused) != 0 || len(s.ours) != n {
		s.t.Errorf("%d of %d accepted with %d requests, %d of them refused", len(s.accepted), n, len(s.ours), len(s.refused))
	}
}

var perMinute = Limit{Requests: 100, Window: time.Minute}

func TestASmallBatchGoesOutAtOnce(t *testing.T) {
	simulate(t, perMinute, 1, func(s *simulation) {
		for i := range 80 {
			s.ask(Sync, "shop", fmt.Sprint(i))
		}
		time.Sleep(3 * time.Second)
		s.acceptedAll(80)
	})
}

func TestADrainIsAsFastAsTheLimitLetsItBe(t *testing.T) {
	simulate(t, perMinute, 1, func(s *simulation) {
		start := time.Now()
		for i := range 1000 {
			s.ask(Sync, "shop", fmt.Sprint(i))
			time.Sleep(10 * time.Millisecond)
		}
		s.requests.Wait()
		for time.Since(start) < 20*time.Minute && s.count() < 1000 {
			time.Sleep(time.Second)
		}
		s.acceptedAll(1000)
		if took, most := time.Since(start), 10*time.Minute+30*time.Second; took > most+time.Second {
			t.Errorf("the drain took %s, want at most half a window more than 1000 ÷ 100 windows", took)
		}
	})
}

func TestEditsOvertakeADrain(t *testing.T) {
	for name, bulk := range map[string]Class{"of first syncs": Sync, "of edits": Edit, "of resyncs": Resync} {
		t.Run(name, func(t *testing.T) {
			simulate(t, perMinute, 1, func(s *simulation) {
				for i := range 1000 {
					s.ask(bulk, "bulk", fmt.Sprint(i))
				}
				for i := range 60 {
					time.Sleep(s.upTo(16 * time.Second))
					s.ask(Edit, "shop", fmt.Sprint(i))
				}
				time.Sleep(20 * time.Minute)
				s.acceptedAll(1060)
				waits := s.waits("shop")
				if p95, worst := waits[len(waits)*95/100], waits[len(waits)-1]; p95 > 2100*time.Millisecond || worst > 10*time.Second {
					t.Errorf("edits waited: p95 %s, worst %s, want at most 2.1s and 10s", p95, worst)
				}
			})
		})
	}
}

func TestNobodyStarves(t *testing.T) {
	simulate(t, perMinute, 1, func(s *simulation) {
		resync := s.ask(Resync, "shop", "resync")
		for i := range 100 {
			s.ask(Sync, "other", fmt.Sprintf("first-%d", i))
		}
		time.Sleep(time.Second)
		late := s.ask(Resync, "shop", "late")
		for i := range 3000 { // more edits than the limit lets through
			s.ask(Edit, fmt.Sprintf("ns-%d", i%30), fmt.Sprint(i))
			time.Sleep(100 * time.Millisecond)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, a := range []Asker{resync, late} {
			if _, ok := s.accepted[a]; !ok {
				t.Errorf("%s was not served in five minutes", a.Name)
			}
		}
	})
}

func TestSomebodyElseTakesHalfOfTheQuota(t *testing.T) {
	for seed := range uint64(5) {
		simulate(t, perMinute, seed, func(s *simulation) {
			const windows, settled = 20, 3
			start := time.Now()
			for i := range 2000 {
				s.ask(Sync, "shop", fmt.Sprint(i))
			}
			for i := 0; time.Since(start) < windows*time.Minute; i++ {
				s.others()
				time.Sleep(1200 * time.Millisecond)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			count := func(times []time.Time) (n int) {
				for _, at := range times {
					if at.Sub(start) > settled*time.Minute {
						n++
					}
				}
				return n
			}
			ours, refused := count(s.ours), count(s.refused)
			left := (windows - settled) * 50
			if refused*50 > ours || (ours-refused)*100 < left*85 {
				t.Errorf("seed %d: %d requests of which %d refused, want under 2 %%; %d were left, want 85 %% of them used", seed, ours, refused, left)
			}
			for a := range s.asked { // let the simulation end
				delete(s.asked, a)
			}
		})
	}
}

func TestAShareThatIsLeftByOthersIsTakenAgain(t *testing.T) {
	simulate(t, perMinute, 1, func(s *simulation) {
		for i := range 5000 {
			s.ask(Sync, "shop", fmt.Sprint(i))
		}
		for range 5 * 50 {
			s.others()
			time.Sleep(1200 * time.Millisecond)
		}
		time.Sleep(20 * time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		before := len(s.ours)
		s.mu.Unlock()
		time.Sleep(5 * time.Minute)
		s.mu.Lock()
		if got := len(s.ours) - before; got < 470 {
			t.Errorf("%d requests in five minutes, want nearly 500", got)
		}
		for a := range s.asked {
			delete(s.asked, a)
		}
	})
}

func TestARevokedKeyCostsAHandfulOfRequests(t *testing.T) {
	for name, obstacle := range map[string]Obstacle{"revoked": Unauthorized, "down": Unavailable} {
		t.Run(name, func(t *testing.T) {
			simulate(t, perMinute, 1, func(s *simulation) {
				s.answer = func(Ask) Obstacle { return obstacle }
				for i := range 1000 {
					s.ask(Sync, "shop", fmt.Sprint(i))
				}
				time.Sleep(10 * time.Minute)
				s.mu.Lock()
				if len(s.ours) > 10 {
					t.Errorf("%d requests in ten windows, want at most 10", len(s.ours))
				}
				s.answer = func(Ask) Obstacle { return None }
				s.mu.Unlock()
				time.Sleep(40 * time.Minute)
				s.mu.Lock()
				if len(s.accepted) != 1000 {
					t.Errorf("%d of 1000 accepted after it passed", len(s.accepted))
				}
				s.mu.Unlock()
			})
		})
	}
}

func TestAKeyThatIsRevokedDuringADrainIsNotedAtOnce(t *testing.T) {
	simulate(t, perMinute, 1, func(s *simulation) {
		for i := range 1000 {
			s.ask(Sync, "shop", fmt.Sprint(i))
		}
		time.Sleep(3 * time.Minute)
		s.mu.Lock()
		s.answer = func(Ask) Obstacle { return Unauthorized }
		before, gone := len(s.ours), 0
		for a := range s.asked {
			if gone++; gone > 100 {
				break
			}
			delete(s.asked, a) // deleted while it waits
		}
		s.mu.Unlock()
		time.Sleep(10 * time.Minute)
		s.mu.Lock()
		if n := len(s.ours) - before; n > 10 {
			t.Errorf("%d requests in ten windows, want at most 10", n)
		}
		s.answer = func(Ask) Obstacle { return None }
		s.mu.Unlock()
		time.Sleep(40 * time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.accepted) != 900 || len(s.budget.records) != 0 {
			t.Errorf("%d of 900 accepted after it passed, %d records remain", len(s.accepted), len(s.budget.records))
		}
	})
}

func TestOneFailingContactDoesNotStopTheOthers(t *testing.T) {
	simulate(t, perMinute, 1, func(s *simulation) {
		failures := 0
		s.answer = func(ask Ask) Obstacle {
			if ask.Asker.Name == "poison" && failures < 20 {
				failures++
				return Unavailable
			}
			return None
		}
		s.past[Asker{Namespace: "shop", Name: "edit"}] = Accepted
		s.ask(Sync, "shop", "poison")
		time.Sleep(30 * time.Second)
		start := time.Now()
		s.ask(Edit, "shop", "edit")
		time.Sleep(time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if took := s.accepted[Asker{Namespace: "shop", Name: "edit"}].Sub(start); took < 0 || took > time.Second {
			t.Errorf("an edit of another contact took %s", took)
		}
	})
}

// Askers of all classes and many namespaces come and go at random, over a slow
// network, to an OpenCX that fails at random; keys are rotated; processes are killed, on
// nodes whose clocks differ, and what they saved is deleted. Whatever happens, the limit
// is kept, nobody is forgotten, and everybody is served in good time.
func TestWhateverHappens(t *testing.T) {
	var requests atomic.Int64
	t.Cleanup(func() { t.Logf("%d requests were simulated in %d runs", requests.Load(), seeds) })
	const at = 100
	for from := uint64(0); from < seeds; from += at {
		t.Run(fmt.Sprintf("seeds from %d", from), func(t *testing.T) {
			t.Parallel()
			for seed := from; seed < from+at; seed++ {
				requests.Add(int64(whatever(t, seed)))
			}
		})
	}
}

// whatever simulates what happens with one seed and returns how many requests
// that took.
func whatever(t *testing.T, seed uint64) (requests int) {
	random := rand.New(rand.NewPCG(seed, 1))
	limit := Limit{Requests: 1 + random.IntN(20), Window: time.Minute}
	if seed%500 == 0 {
		limit.Requests *= 20
	}
	simulate(t, limit, seed, func(s *simulation) {
		s.delay = 4 * time.Second
		failing := 0.01 * float64(random.IntN(3))
		s.faults = 0.01 * float64(random.IntN(3))
		s.answer = func(Ask) Obstacle {
			if s.random.Float64() < failing {
				return []Obstacle{Unauthorized, Unavailable}[s.random.IntN(2)]
			}
			return None
		}
		n, rotates := 5*limit.Requests, random.IntN(2) == 0
		for i := range n {
			key := Key{Version: "1", Content: "ocx_1", Proven: true}
			if rotates { // nine times
				key.Version = fmt.Sprint(10 * i / n)
				key.Content = fmt.Sprint("ocx_", 10*i/n%3)
			}
			a := s.askWith(Ask{Key: key, Class: Class(random.IntN(numClasses)), Asker: Asker{Namespace: fmt.Sprint(random.IntN(20)), Name: fmt.Sprint(i)}})
			switch random.IntN(8 * limit.Requests) {
			case 0: // asks for nothing any more, or again
				s.budget.Withdraw(a)
				s.requests.Go(func() { s.attempt(s.process, a) })
			case 1, 2:
				s.start(time.Duration(random.IntN(6)) * time.Second)
			case 3:
				s.lose()
				s.start(time.Duration(random.IntN(6)) * time.Second)
			}
			// Nearly twice what the limit takes, in bursts, and then half of it.
			pause := time.Minute / time.Duration(limit.Requests)
			if i < n/2 {
				time.Sleep(s.upTo(pause))
			} else {
				time.Sleep(s.upTo(4 * pause))
			}
		}
		time.Sleep(20 * time.Minute)
		s.requests.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.accepted) != n || len(s.refused) != 0 || failing+s.faults == 0 && (len(s.ours) < n || len(s.ours) > n+s.lost) {
			t.Errorf("seed %d, limit %d: %d of %d accepted with %d requests, %d over the limit; %d were under way at a kill",
				seed, limit.Requests, len(s.accepted), n, len(s.ours), len(s.refused), s.lost)
		}
		if len(s.asked) != 0 || len(s.budget.records) != 0 {
			t.Errorf("seed %d: %d forgotten, %d records remain", seed, len(s.asked), len(s.budget.records))
		}
		requests = len(s.ours)
	})
	return requests
}
