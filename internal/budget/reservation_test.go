package budget

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAProcessThatIsKilledLeavesTheLimitIntact(t *testing.T) {
	for seed := range uint64(20) {
		simulate(t, perMinute, seed, func(s *simulation) {
			const n = 600
			for i := range n {
				s.ask(Sync, "shop", fmt.Sprint(i))
			}
			for range 8 {
				time.Sleep(s.upTo(time.Minute))
				s.start(0)
			}
			time.Sleep(20 * time.Minute)
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.accepted) != n || len(s.refused) != 0 || len(s.ours) != n+s.lost {
				t.Errorf("seed %d: %d of %d accepted with %d requests, %d of them refused; %d were under way at a kill",
					seed, len(s.accepted), n, len(s.ours), len(s.refused), s.lost)
			}
		})
	}
}

func TestACrashLoopStaysInsideTheLimit(t *testing.T) {
	simulate(t, perMinute, 1, func(s *simulation) {
		for i := range 500 {
			s.ask(Sync, "shop", fmt.Sprint(i))
		}
		for range 300 {
			time.Sleep(s.upTo(2 * time.Second))
			s.start(0)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.refused) != 0 || len(s.accepted) == 0 {
			t.Errorf("%d accepted with %d requests, %d of them refused", len(s.accepted), len(s.ours), len(s.refused))
		}
		clear(s.asked) // let the simulation end
	})
}

// store is a place for reservations; err is what saving fails with.
type store struct {
	mu     sync.Mutex
	saves  []map[string]Reservation
	others map[string]Reservation
	err    error
}

func (l *store) save(_ context.Context, r map[string]Reservation) (map[string]Reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	if others := l.others; others != nil {
		l.others = nil
		return others, nil
	}
	l.saves = append(l.saves, maps.Clone(r))
	return nil, nil
}

func (l *store) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// takeSaved is take, for a slot that may have to be reserved first.
func takeSaved(t *testing.T, b *Budget, a Ask) *Slot {
	t.Helper()
	if slot, _ := b.Take(a); slot != nil {
		return slot
	}
	synctest.Wait()
	return take(t, b, a)
}

func runSaved(t *testing.T, name string, limit Limit, test func(t *testing.T, b *Budget, w *woken, l *store)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		askLimit = limit
		t.Cleanup(func() { askLimit = limit3 })
		synctest.Test(t, func(t *testing.T) {
			w, l := &woken{}, &store{}
			test(t, New(Options{Limit: limit, CallTimeout: callTimeout, Wake: w.wake, Save: l.save}), w, l)
		})
	})
}

// What went out before the key was accepted was of the tenth that all such organizations
// share, and nothing is saved when that has an answer.
func TestWhatAKeySentBeforeItWasProvenCountsAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &store{}
		b := New(Options{Limit: limit3, CallTimeout: callTimeout, Wake: func(Asker) {}, Save: l.save})
		first, second, third := ask(orgA, "a"), ask(orgA, "b"), ask(orgA, "c")
		first.Key.Proven, second.Key.Proven = false, false
		proves, late := takeSaved(t, b, first), takeSaved(t, b, second)
		proves.Accepted()
		takeSaved(t, b, third).Accepted()
		late.Accepted()

		left := l.saves[len(l.saves)-1]
		again := New(Options{Limit: limit3, CallTimeout: callTimeout, Wake: func(Asker) {}, Save: l.save})
		again.Restore(left)
		mustWait(t, again, third)
		synctest.Wait()
		// What the shared tenth tells of is not told twice.
		used := 0
		for _, u := range l.saves[len(l.saves)-1][orgA].Used {
			used += u.Slots
		}
		if want := left[orgA].Open + left[orgA].Used[0].Slots; used != want {
			t.Errorf("%d slots count as used, want %d", used, want)
		}
	})
}

// As when the process before this one saves once more, after this one has loaded.
func TestWhatIsRestoredLaterCountsForAWindowToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit4 := Limit{Requests: 4, Window: time.Minute}
		b := New(Options{Limit: limit4, CallTimeout: callTimeout, Wake: func(Asker) {}, Active: func(string) bool { return false }})
		a := ask(orgA, "a") // perhaps with the key of the other one
		a.Limit = limit4
		b.Restore(map[string]Reservation{orgB: {Window: time.Minute, Open: 1}})
		take(t, b, a).Accepted()
		time.Sleep(30 * time.Second)
		b.Restore(map[string]Reservation{orgB: {Window: time.Minute, Open: 2}})
		time.Sleep(30 * time.Second)
		take(t, b, a).Accepted()
		time.Sleep(limit4.Window + callTimeout - 31*time.Second)
		take(t, b, a).Accepted()
		mustWait(t, b, a)
	})
}

func TestReservations(t *testing.T) {
	limit20 := Limit{Requests: 20, Window: time.Minute}
	runSaved(t, "one save per block, none when idle", limit20, func(t *testing.T, b *Budget, w *woken, l *store) {
		for i := range 16 {
			takeSaved(t, b, ask(orgA, fmt.Sprint(i))).Accepted()
		}
		if len(l.saves) != 8 {
			t.Errorf("%d saves for 16 requests in blocks of 2, want 8", len(l.saves))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(l.saves) != 8 {
			t.Errorf("%d saves in an idle hour", len(l.saves)-8)
		}
	})
	runSaved(t, "nothing is sent while nothing can be saved", limit20, func(t *testing.T, b *Budget, w *woken, l *store) {
		l.fail(errors.New("no API server"))
		mustWait(t, b, ask(orgA, "a"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		mustWait(t, b, ask(orgA, "a"))
		if got := w.names(); got != "" {
			t.Errorf("woken: %q", got)
		}
		l.fail(nil)
		time.Sleep(saveBackoff.Cap)
		synctest.Wait()
		if got := w.names(); got != "a" {
			t.Errorf("woken: %q, want a", got)
		}
	})
	runSaved(t, "what another process saves meanwhile counts", limit20, func(t *testing.T, b *Budget, w *woken, l *store) {
		l.others = map[string]Reservation{orgA: {Window: time.Minute, Open: 20}, orgB: {Window: time.Minute, Open: 19}}
		mustWait(t, b, ask(orgA, "a"))
		time.Sleep(callTimeout + time.Minute - time.Nanosecond)
		synctest.Wait()
		if got := w.names(); got != "" {
			t.Errorf("woken too early: %q", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := w.names(); got != "a" {
			t.Errorf("woken: %q, want a", got)
		}
	})
	runSaved(t, "a clock that was wrong neither opens nor shuts for long", limit20, func(t *testing.T, b *Budget, w *woken, _ *store) {
		year := 365 * 24 * time.Hour
		b.Restore(map[string]Reservation{
			orgA: {Window: time.Minute, Used: []Used{{At: time.Now().Add(year).Unix(), Slots: 1 << 30}}},
			orgB: {Window: time.Minute, Open: 20, Used: []Used{{At: time.Now().Add(-year).Unix(), Slots: 20}}},
		})
		for _, organization := range []string{orgA, orgB} {
			if got, most := mustWait(t, b, ask(organization, organization)), callTimeout+time.Minute; got > most {
				t.Errorf("turn in %s, want at most %s", got, most)
			}
		}
		time.Sleep(callTimeout + time.Minute)
		synctest.Wait()
		if got := w.names(); got != "crm/a crm/b" && got != "crm/b crm/a" {
			t.Errorf("woken: %q, want both", got)
		}
	})
	runSaved(t, "numbers that make no sense open nothing", limit20, func(t *testing.T, b *Budget, _ *woken, l *store) {
		b.Restore(map[string]Reservation{orgA: {Window: time.Minute, Open: -100, Used: []Used{{time.Now().Add(time.Minute).Unix(), -100}, {time.Now().Add(time.Minute).Unix(), 20}}}})
		mustWait(t, b, ask(orgA, "a"))
		synctest.Wait()
		mustWait(t, b, ask(orgA, "a"))
	})
	runSaved(t, "what nobody asks for is forgotten", limit20, func(t *testing.T, b *Budget, _ *woken, l *store) {
		b.Restore(map[string]Reservation{"crm/gone": {Window: time.Minute, Open: 5}})
		for _, want := range []int{2, 1} { // with what was restored, and a window later without
			takeSaved(t, b, ask(orgA, "a")).Accepted()
			if got := l.saves[len(l.saves)-1]; len(got) != want {
				t.Errorf("saved: %v, want %d organizations", got, want)
			}
			time.Sleep(2 * time.Minute)
			synctest.Wait()
		}
	})
	runSaved(t, "what was reserved with another window counts as just used", limit20, func(t *testing.T, b *Budget, w *woken, _ *store) {
		b.Restore(map[string]Reservation{orgA: {Window: time.Second, Used: []Used{{At: time.Now().Add(time.Second).Unix(), Slots: 20}}}})
		mustWait(t, b, ask(orgA, "a"))
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		if got := w.names(); got != "" {
			t.Errorf("woken too early: %q", got)
		}
	})
	runSaved(t, "what was used counts from when it was, for as long as the window is now", limit20, func(t *testing.T, b *Budget, _ *woken, _ *store) {
		used := []Used{{At: time.Now().Add(-2 * time.Minute).Unix(), Slots: 20}}
		b.Restore(map[string]Reservation{orgA: {Window: time.Hour, Used: used}, orgB: {Window: time.Hour, Used: used}})
		takeSaved(t, b, ask(orgA, "a")).Accepted()
		inAnHour := ask(orgB, "b")
		inAnHour.Limit.Window = time.Hour
		b.Take(inAnHour)
		synctest.Wait()
		if got := mustWait(t, b, inAnHour); got != 58*time.Minute+clockSkew {
			t.Errorf("turn in %s, want an hour after it was used", got)
		}
	})
	runSaved(t, "the long window of one organization holds up no other one after a restart", limit20, func(t *testing.T, b *Budget, w *woken, l *store) {
		slow := ask(orgB, "slow")
		slow.Limit = Limit{Requests: 1, Window: time.Hour}
		takeSaved(t, b, slow).Accepted()
		for i := range 60 {
			takeSaved(t, b, ask(orgA, fmt.Sprint(i))).Accepted()
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Minute)
		b = New(Options{Limit: limit20, CallTimeout: callTimeout, Wake: w.wake, Save: l.save})
		b.Restore(l.saves[len(l.saves)-1])
		takeSaved(t, b, ask(orgA, "after")).Accepted()
		mustWait(t, b, slow)
	})
	runSaved(t, "what an organization with a long window used is kept until it asks again", limit20, func(t *testing.T, b *Budget, w *woken, l *store) {
		l.saves = []map[string]Reservation{{orgB: {Window: time.Hour, Used: []Used{{At: time.Now().Unix(), Slots: 20}}}}}
		slow := ask(orgB, "slow")
		slow.Limit.Window = time.Hour
		for range 3 {
			b = New(Options{Limit: limit20, CallTimeout: callTimeout, Wake: w.wake, Save: l.save})
			b.Restore(l.saves[len(l.saves)-1])
			for i := range 30 { // somebody else has what is reserved saved
				takeSaved(t, b, ask(orgA, fmt.Sprint(i))).Accepted()
				time.Sleep(20 * time.Second)
			}
		}
		b.Take(slow)
		synctest.Wait()
		mustWait(t, b, slow)
	})
	runSaved(t, "thousands of organizations whose keys were never accepted take little room", Limit{Requests: 100, Window: time.Minute}, func(t *testing.T, b *Budget, w *woken, l *store) {
		bogus := func(i int) Ask {
			a := ask(fmt.Sprintf("bad-%d/%s-%d", i%3, strings.Repeat("x", 250), i), fmt.Sprint(i))
			a.Key.Proven = false
			return a
		}
		for i := range 3000 {
			b.Take(bogus(i))
		}
		for range 180 {
			time.Sleep(time.Second)
			synctest.Wait()
			for _, name := range strings.Fields(w.names()) {
				i, _ := strconv.Atoi(name)
				if slot, _ := b.Take(bogus(i)); slot != nil {
					slot.Unauthorized()
				}
			}
		}
		takeSaved(t, b, ask(orgA, "healthy")).Accepted()
		saved, err := json.Marshal(l.saves[len(l.saves)-1])
		if err != nil || len(saved) > 32<<10 {
			t.Errorf("%d bytes are saved, want 32 KiB at most; error %v", len(saved), err)
		}

		b = New(Options{Limit: askLimit, CallTimeout: callTimeout, Wake: w.wake, Save: l.save})
		b.Restore(l.saves[len(l.saves)-1])
		if b.unproven.slots == 0 {
			t.Error("after a restart nothing of the shared tenth is in use")
		}
	})
	runSaved(t, "what may have been sent with a key counts for whoever comes to it next, too", Limit{Requests: 100, Window: time.Minute}, func(t *testing.T, b *Budget, w *woken, l *store) {
		b.Restore(map[string]Reservation{"": {Window: time.Minute, Open: 95}})
		for _, name := range []string{orgA, orgB} {
			a := ask(name, name)
			a.Key = Key{Version: "1", Content: "never accepted"}
			b.Take(a)
			if got := b.Look(name).Available; got > 5 {
				t.Errorf("%d slots are left for %s, want 5 at most", got, name)
			}
		}
	})
	runSaved(t, "what is saved stays small", Limit{Requests: 1_000_000, Window: time.Hour}, func(t *testing.T, b *Budget, _ *woken, l *store) {
		for i := range 50_000 {
			takeSaved(t, b, ask(orgA, fmt.Sprint(i))).Accepted()
			time.Sleep(time.Hour / 50_000)
		}
		mustHave := l.saves[len(l.saves)-1][orgA]
		if len(mustHave.Used) > buckets+1 {
			t.Errorf("%d times saved, want at most %d", len(mustHave.Used), buckets+1)
		}
	})
}
