package budget

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const callTimeout = 15 * time.Second

var (
	limit3 = Limit{Requests: 3, Window: time.Minute}
	orgA   = "crm/a"
	orgB   = "crm/b"

	// askLimit is the limit of the organizations in the test that runs.
	askLimit = limit3
)

// woken collects who was woken, in order.
type woken struct {
	mu     sync.Mutex
	askers []Asker
}

func (w *woken) wake(a Asker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.askers = append(w.askers, a)
}

func (w *woken) names() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for _, a := range w.askers {
		names = append(names, a.Name)
	}
	w.askers = nil
	return strings.Join(names, " ")
}

func ask(organization string, name string) Ask {
	return Ask{Organization: organization, Limit: askLimit, Key: Key{Version: "1", Content: organization, Proven: true}, Asker: Asker{Namespace: "shop", Name: name}, Class: Edit}
}

// firstSync is a first sync.
func firstSync(asker Asker) Ask {
	a := ask(orgA, "")
	a.Asker, a.Class, a.Past = asker, Sync, Untried
	return a
}

// spend takes n slots at once and reports an answer for each.
func spend(t *testing.T, b *Budget, organization string, n int) {
	t.Helper()
	for i := range n {
		take(t, b, ask(organization, fmt.Sprintf("spender-%d", i))).Accepted()
	}
}

func take(t *testing.T, b *Budget, a Ask) *Slot {
	t.Helper()
	slot, turn := b.Take(a)
	if slot == nil {
		t.Fatalf("%s has to wait until %s", a.Asker.Name, turn.At)
	}
	return slot
}

func mustWait(t *testing.T, b *Budget, a Ask) (turn time.Duration) {
	t.Helper()
	slot, at := b.Take(a)
	if slot != nil {
		t.Fatalf("%s got a slot", a.Asker.Name)
	}
	return time.Until(at.At)
}

func run(t *testing.T, name string, limit Limit, test func(t *testing.T, b *Budget, w *woken)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		askLimit = limit
		t.Cleanup(func() { askLimit = limit3 })
		synctest.Test(t, func(t *testing.T) {
			w := &woken{}
			test(t, New(Options{Limit: limit, CallTimeout: callTimeout, Wake: w.wake}), w)
		})
	})
}

func TestSlots(t *testing.T) {
	run(t, "a slot is free again one window after its answer", limit3, func(t *testing.T, b *Budget, w *woken) {
		slot := take(t, b, ask(orgA, "slow"))
		spend(t, b, orgA, 2)
		time.Sleep(10 * time.Second)
		slot.Accepted()
		time.Sleep(50 * time.Second)
		spend(t, b, orgA, 2) // the two quick ones
		mustWait(t, b, ask(orgA, "next"))
		time.Sleep(10*time.Second - time.Nanosecond)
		synctest.Wait()
		if got := w.names(); got != "" {
			t.Errorf("woken too early: %s", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := w.names(); got != "next" {
			t.Errorf("woken: %q, want next", got)
		}
	})
	run(t, "a request without an answer counts from its call's timeout", limit3, func(t *testing.T, b *Budget, _ *woken) {
		slot := take(t, b, ask(orgA, "lost"))
		spend(t, b, orgA, 2)
		slot.NoAnswer()
		if got, want := mustWait(t, b, ask(orgA, "a")), time.Minute; got != want {
			t.Errorf("turn in %s, want %s", got, want)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		take(t, b, ask(orgA, "a")).Accepted()
		take(t, b, ask(orgA, "b")).Accepted()
		if got, want := mustWait(t, b, ask(orgA, "c")), callTimeout; got != want {
			t.Errorf("turn in %s, want %s", got, want)
		}
	})
	run(t, "an unused slot is free at once", limit3, func(t *testing.T, b *Budget, w *woken) {
		slot := take(t, b, ask(orgA, "changed its mind"))
		spend(t, b, orgA, 2)
		mustWait(t, b, ask(orgA, "next"))
		slot.Unused()
		if got := w.names(); got != "next" {
			t.Errorf("woken: %q, want next", got)
		}
		take(t, b, ask(orgA, "next")).Accepted()
	})
	run(t, "organizations have budgets of their own", limit3, func(t *testing.T, b *Budget, _ *woken) {
		spend(t, b, orgA, 3)
		mustWait(t, b, ask(orgA, "a"))
		spend(t, b, orgB, 3)
	})
}

func TestWaiting(t *testing.T) {
	run(t, "turns come in the order of asking, and asking again keeps the place", limit3, func(t *testing.T, b *Budget, w *woken) {
		spend(t, b, orgA, 3)
		for _, name := range []string{"a", "b", "c", "a", "b"} {
			mustWait(t, b, ask(orgA, name))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.names(); got != "a b c" {
			t.Errorf("woken: %q, want a b c", got)
		}
		mustWait(t, b, ask(orgA, "late")) // the free slots are promised
		for _, name := range []string{"c", "b", "a"} {
			take(t, b, ask(orgA, name)).Accepted()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.names(); got != "late" {
			t.Errorf("woken: %q, want late", got)
		}
	})
	run(t, "a withdrawn turn goes to the next", limit3, func(t *testing.T, b *Budget, w *woken) {
		spend(t, b, orgA, 3)
		for _, name := range []string{"a", "b", "c", "d"} {
			mustWait(t, b, ask(orgA, name))
		}
		b.Withdraw(ask(orgA, "b").Asker) // from the queue
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.names(); got != "a c d" {
			t.Errorf("woken: %q, want a c d", got)
		}
		mustWait(t, b, ask(orgA, "e"))
		b.Withdraw(ask(orgA, "a").Asker) // a turn
		if got := w.names(); got != "e" {
			t.Errorf("woken: %q, want e", got)
		}
	})
	run(t, "who passes gives back a turn, and keeps a place", limit3, func(t *testing.T, b *Budget, w *woken) {
		spend(t, b, orgA, 3)
		for _, name := range []string{"a", "b", "c"} {
			mustWait(t, b, ask(orgA, name))
		}
		b.Pass(ask(orgA, "b").Asker) // in the queue
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.names(); got != "a b c" {
			t.Errorf("woken: %q, want a b c", got)
		}
		mustWait(t, b, ask(orgA, "d"))
		b.Pass(ask(orgA, "a").Asker) // a turn
		if got := w.names(); got != "d" {
			t.Errorf("woken: %q, want d", got)
		}
	})
	run(t, "a backlog goes out in a burst, and then at a pace that leaves slots for edits", Limit{Requests: 100, Window: time.Minute}, func(t *testing.T, b *Budget, w *woken) {
		var woken atomic.Int32
		b.options.Wake = func(asker Asker) {
			woken.Add(1)
			go func() { take(t, b, firstSync(asker)).Accepted() }()
		}
		sent := 0
		for i := range 300 {
			if slot, _ := b.Take(firstSync(Asker{Namespace: "shop", Name: fmt.Sprint(i)})); slot != nil {
				slot.Accepted()
				sent++
			}
		}
		if sent != 80 {
			t.Errorf("%d at once, want 80", sent)
		}
		for _, want := range []int{96, 192} { // by the end of each window, but for the last slots
			time.Sleep(time.Minute - time.Second)
			synctest.Wait()
			if got := sent + int(woken.Load()); got < want-4 || got > want {
				t.Errorf("%d by now, want %d to %d", got, want-4, want)
			}
			time.Sleep(time.Second)
		}
	})
	run(t, "an asker of a new organization leaves the queue of the old one", limit3, func(t *testing.T, b *Budget, w *woken) {
		spend(t, b, orgA, 3)
		mustWait(t, b, ask(orgA, "moved"))
		take(t, b, ask(orgB, "moved")).Accepted()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.names(); got != "" {
			t.Errorf("woken: %q", got)
		}
	})
	run(t, "only so many requests are under way, whoever they are for", limit3, func(t *testing.T, b *Budget, w *woken) {
		b.places.limit = 3 // of which one is kept
		first, second := take(t, b, ask(orgA, "a")), take(t, b, ask(orgB, "b"))
		mustWait(t, b, ask(orgA, "c"))
		mustWait(t, b, ask(orgB, "d"))
		first.Accepted()
		second.Accepted()
		if got := w.names(); got != "c d" && got != "d c" {
			t.Errorf("woken: %q, want c and d", got)
		}
		take(t, b, ask(orgA, "c")).Unused()
		b.Withdraw(ask(orgB, "d").Asker)
		if b.places.taken != 0 {
			t.Errorf("%d are still under way", b.places.taken)
		}
	})
	run(t, "a limit that changes counts what was used before", limit3, func(t *testing.T, b *Budget, w *woken) {
		spend(t, b, orgA, 3)
		time.Sleep(30 * time.Second)
		askLimit = Limit{Requests: 2, Window: 2 * time.Minute}
		if got := mustWait(t, b, ask(orgA, "a")); got != 90*time.Second {
			t.Errorf("turn in %s, want 90 s: two minutes after the first ones", got)
		}
	})
	run(t, "another key is innocent until it is refused", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, w *woken) {
		var changed []string
		b.options.Changed = func(organization string) { changed = append(changed, organization) }
		for _, name := range []string{"a", "b", "c"} {
			take(t, b, ask(orgA, name)).Unauthorized()
		}
		for _, name := range []string{"d", "e"} {
			mustWait(t, b, ask(orgA, name))
		}
		rotated := ask(orgA, "d")
		rotated.Key = Key{Version: "2", Content: "rotated"}
		take(t, b, rotated).Accepted()
		if got := w.names(); !strings.Contains(got, "e") {
			t.Errorf("woken: %q, want e among them", got)
		}
		if len(changed) != 2 || b.Look(orgA).Obstacle != None {
			t.Errorf("told %v, obstacle %v; want to be told of the refusal and of its end", changed, b.Look(orgA).Obstacle)
		}
	})
	run(t, "a label on the Secret makes no other key", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		labels := 0
		labelled := func(name string) Ask {
			labels++
			a := ask(orgA, name)
			a.Key.Version = fmt.Sprint("labelled-", labels)
			return a
		}
		var refused []*Slot
		for _, name := range []string{"a", "b", "c"} {
			refused = append(refused, take(t, b, labelled(name)))
		}
		for _, slot := range refused {
			slot.Unauthorized()
		}
		if got := b.Look(orgA).Obstacle; got != Unauthorized {
			t.Fatalf("obstacle %v after three refusals", got)
		}
		for range 3 { // after 5, 10 and 20 seconds
			time.Sleep(mustWait(t, b, ask(orgA, "probe")))
			take(t, b, ask(orgA, "probe")).Unauthorized()
		}
		if got := mustWait(t, b, labelled("d")); got != 5*time.Second {
			t.Errorf("probed in %s, want a twelfth of the window after the last one", got)
		}
		time.Sleep(6 * time.Second)
		probe := take(t, b, labelled("d")) // at once: perhaps it has got more rights
		mustWait(t, b, labelled("e"))
		probe.Unauthorized()
		for range 10 {
			if got := mustWait(t, b, labelled("e")); got != 5*time.Second {
				t.Errorf("probed in %s, want a twelfth of the window after the last one", got)
			}
		}
	})
	run(t, "a label on the Secret does not make OpenCX work", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		for _, name := range []string{"a", "b", "c"} {
			take(t, b, ask(orgA, name)).Failed(0)
		}
		labelled := firstSync(Asker{Namespace: "shop", Name: "d"})
		labelled.Key.Version = "labelled"
		if got := mustWait(t, b, labelled); got != 5*time.Second || b.Look(orgA).Obstacle != Unavailable {
			t.Errorf("turn in %s, obstacle %v", got, b.Look(orgA).Obstacle)
		}
	})
	run(t, "the estimate counts those ahead", limit3, func(t *testing.T, b *Budget, _ *woken) {
		for i := range 3 {
			take(t, b, firstSync(Asker{Namespace: "shop", Name: fmt.Sprint(i)})).Accepted()
		}
		for i := range 7 { // when the first slot is free again, and then three in a minute
			want := time.Minute + time.Duration(i)*20*time.Second
			if got := mustWait(t, b, firstSync(Asker{Namespace: "shop", Name: "next" + fmt.Sprint(i)})); got != want {
				t.Errorf("turn of number %d in %s, want %s", i, got, want)
			}
		}
	})
}

func TestAPlaceThatIsFreeGoesToWhomHadNoneBefore(t *testing.T) {
	for places := 1; places <= 10; places++ {
		run(t, fmt.Sprint("one of ", places), Limit{Requests: 100, Window: time.Minute}, func(t *testing.T, b *Budget, w *woken) {
			b.places = newPlaces(places)
			newcomer := func(organization, name string) Ask {
				a := ask(organization, name)
				a.Class, a.Past = Sync, Untried
				a.Asker.Namespace = organization
				return a
			}
			var slots []*Slot
			for i := range 30 {
				if slot, _ := b.Take(newcomer(orgA, fmt.Sprint("import-", i))); slot != nil {
					slots = append(slots, slot)
				}
			}
			for i := 0; b.places.taken < max(b.places.common(), places-1); i++ { // those for whoever has none
				slots = append(slots, take(t, b, newcomer(fmt.Sprint("crm/other-", i), "first")))
			}
			mustWait(t, b, newcomer(orgB, "waits"))
			w.names()
			slots[0].Accepted()
			got := w.names()
			if got != "waits" { // the import had none before, either
				take(t, b, newcomer(orgA, got)).Accepted()
				got = w.names()
			}
			if got != "waits" {
				t.Errorf("woken: %q, want who had no place", got)
			}
		})
	}
}

func TestRateLimited(t *testing.T) {
	run(t, "Retry-After silences the organization, then one probe goes before the rest", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, w *woken) {
		until := take(t, b, ask(orgA, "refused")).RateLimited(5 * time.Minute)
		if got := time.Until(until); got != 5*time.Minute {
			t.Errorf("silent for %s, want 5m", got)
		}
		for _, name := range []string{"a", "b", "c"} {
			mustWait(t, b, ask(orgA, name))
		}
		spend(t, b, orgB, 3) // another organization is not concerned
		time.Sleep(5*time.Minute - time.Nanosecond)
		synctest.Wait()
		if got := w.names(); got != "" {
			t.Errorf("woken during the silence: %q", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := w.names(); got != "a" {
			t.Errorf("woken: %q, want a alone", got)
		}
		probe := take(t, b, ask(orgA, "a"))
		mustWait(t, b, ask(orgA, "d"))
		probe.Accepted()
		if got := w.names(); got != "b c d" {
			t.Errorf("woken after the probe: %q, want b c d", got)
		}
	})
	run(t, "those who were woken and have not come yet have to wait again", limit3, func(t *testing.T, b *Budget, w *woken) {
		spend(t, b, orgA, 2)
		last := take(t, b, ask(orgA, "refused"))
		for _, name := range []string{"a", "b"} {
			mustWait(t, b, ask(orgA, name))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.names(); got != "a b" {
			t.Fatalf("woken: %q, want a b", got)
		}
		last.RateLimited(time.Minute)
		mustWait(t, b, ask(orgA, "a"))
		mustWait(t, b, ask(orgA, "b"))
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := w.names(); got != "a" {
			t.Errorf("woken: %q, want a, the probe", got)
		}
	})
	run(t, "without Retry-After the silence doubles and has jitter", Limit{Requests: 200, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		for _, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 960, 960} {
			want *= time.Second
			until := take(t, b, ask(orgA, "refused")).RateLimited(0)
			if got := time.Until(until); got < want || got > want+want/4 {
				t.Errorf("silent for %s, want %s to %s", got, want, want+want/4)
			}
			time.Sleep(time.Until(until))
		}
		take(t, b, ask(orgA, "accepted")).Accepted()
		until := take(t, b, ask(orgA, "another")).RateLimited(0)
		if got := time.Until(until); got > 10*time.Second {
			t.Errorf("silent for %s after a success, want about 5s", got)
		}
	})
	run(t, "requests that were under way together are one strike", limit3, func(t *testing.T, b *Budget, _ *woken) {
		slots := []*Slot{take(t, b, ask(orgA, "a")), take(t, b, ask(orgA, "b")), take(t, b, ask(orgA, "c"))}
		time.Sleep(time.Second)
		var until time.Time
		for _, slot := range slots {
			until = slot.RateLimited(0)
		}
		if got := time.Until(until); got > 7*time.Second {
			t.Errorf("silent for %s, want about 5s", got)
		}
	})
	run(t, "refused together after more was tried, they lengthen the time until the next try once", Limit{Requests: 100, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		take(t, b, ask(orgA, "a")).RateLimited(time.Second)
		time.Sleep(time.Minute)
		take(t, b, ask(orgA, "b")).Accepted() // and more is tried
		var together []*Slot
		for i := range 3 {
			another := ask(orgA, "c")
			another.Asker.Namespace = fmt.Sprint("ns-", i)
			together = append(together, take(t, b, another))
		}
		for _, slot := range together {
			slot.RateLimited(time.Second)
		}
		if hold := b.accounts[orgA].share.hold; hold != 2 {
			t.Errorf("more is tried after %d windows, want 2", hold)
		}
	})
	run(t, "a silence does not hide that the breaker is open", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		last := take(t, b, ask(orgA, "last"))
		for _, name := range []string{"a", "b", "c"} {
			take(t, b, ask(orgA, name)).Failed(0)
		}
		last.RateLimited(time.Minute)
		if state := b.Look(orgA); !state.BreakerOpen || state.Obstacle != RateLimited {
			t.Errorf("open %t, obstacle %v; want both", state.BreakerOpen, state.Obstacle)
		}
	})
	run(t, "who has a slot and has not sent when a silence begins may not", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, w *woken) {
		first, second := take(t, b, ask(orgA, "first")), take(t, b, ask(orgA, "second"))
		time.Sleep(time.Second)
		if !first.Sent() {
			t.Error("the first may not send")
		}
		first.RateLimited(time.Hour)
		if second.Sent() {
			t.Error("the second may send into the silence")
		}
		second.Unused()
		mustWait(t, b, ask(orgA, "second"))
		if got := b.Look(orgA).Obstacle; got != RateLimited {
			t.Errorf("obstacle %q, want that it is silent", got)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := w.names(); got != "second" {
			t.Errorf("woken: %q, want the second", got)
		}
	})
	run(t, "one that fails for ever does not go on silencing the others", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		broken := firstSync(Asker{Namespace: "bad", Name: "broken"})
		take(t, b, broken).Failed(time.Minute)
		time.Sleep(time.Minute)
		broken.Past = Failed
		for range 3 {
			take(t, b, broken).Failed(time.Minute)
		}
		take(t, b, ask(orgA, "healthy")).Accepted()
	})
	run(t, "one that gets it for ever does not go on silencing the others", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		broken := firstSync(Asker{Namespace: "bad", Name: "broken"})
		take(t, b, broken).RateLimited(20 * time.Second)
		for range 3 {
			time.Sleep(20 * time.Second)
			take(t, b, ask(orgA, "healthy")).Accepted()
			limit := b.Look(orgA).Limit
			time.Sleep(time.Second)
			if until := take(t, b, broken).RateLimited(0); time.Until(until) != time.Minute {
				t.Errorf("it may try again in %s, want 1m", time.Until(until))
			}
			if got := b.Look(orgA); got.Obstacle != None || got.Limit < limit {
				t.Errorf("obstacle %q, limit %d after %d; want nothing that others notice", got.Obstacle, got.Limit, limit)
			}
		}
	})
	run(t, "an absurd Retry-After is cut", limit3, func(t *testing.T, b *Budget, _ *woken) {
		until := take(t, b, ask(orgA, "refused")).RateLimited(365 * 24 * time.Hour)
		if got := time.Until(until); got != maxSilence {
			t.Errorf("silent for %s, want %s", got, maxSilence)
		}
	})
}

func TestAnObstacleThatIsForgottenIsTold(t *testing.T) {
	run(t, "a refused key that nobody uses any more", limit3, func(t *testing.T, b *Budget, _ *woken) {
		var told []Obstacle
		b.options.Changed = func(string) {
			obstacle := None
			if acct := b.accounts[orgA]; acct != nil {
				obstacle = acct.obstacle()
			}
			told = append(told, obstacle)
		}
		for _, name := range []string{"a", "b", "c"} {
			take(t, b, ask(orgA, name)).Unauthorized()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(told) != 2 || told[0] != Unauthorized || told[1] != None {
			t.Errorf("told %v, want that the key is refused, and that this is forgotten", told)
		}
	})
}

func TestAccountsThatRememberNothingAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{Limit: limit3, CallTimeout: callTimeout, Wake: func(Asker) {}})
		spend(t, b, orgA, 3)
		take(t, b, ask(orgB, "refused")).RateLimited(2 * time.Minute)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		b.mu.Lock()
		_, hasA := b.accounts[orgA]
		_, hasB := b.accounts[orgB]
		b.mu.Unlock()
		if hasA || !hasB {
			t.Errorf("after two minutes: account A %t, account B %t, want only B, whose silence has just ended", hasA, hasB)
		}
		time.Sleep(5 * time.Minute) // until nothing is left of what was learnt from the 429
		synctest.Wait()
		if len(b.accounts) != 0 || len(b.records) != 0 {
			t.Errorf("%d accounts and %d records remain", len(b.accounts), len(b.records))
		}
	})
}

// As when each release brings an organization of its own name, with the same key: what is
// sent for the last one must not keep those before it.
func TestAccountsOfOrganizationsThatAreGoneAreForgottenWhileTheirKeyIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{Limit: limit3, CallTimeout: callTimeout, Wake: func(Asker) {}})
		for i := range 100 {
			renamed := ask(fmt.Sprint("crm/release-", i), "lasts")
			renamed.Key.Content = "the same"
			for range 3 {
				take(t, b, renamed).Accepted()
				time.Sleep(20 * time.Second)
			}
			renamed.Organization = "crm/another-name" // gets no empty window
			take(t, b, renamed).Accepted()
			mustWait(t, b, renamed)
			b.Withdraw(renamed.Asker)
			time.Sleep(20 * time.Second)
		}
		if n := len(b.States()); n > 4 {
			t.Errorf("%d accounts are remembered", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(b.accounts)+len(b.ledgers) != 0 {
			t.Errorf("%d accounts and %d ledgers remain", len(b.accounts), len(b.ledgers))
		}
	})
}

// As when an organization is renamed, and gets another key before anything is sent for it.
func TestWhoHasNotSentYetGetsNoEmptyWindowByTwoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{Limit: limit3, CallTimeout: callTimeout, Wake: func(Asker) {}})
		renamed, before := ask(orgB, "b"), ask(orgA, "a")
		renamed.Key.Content = before.Key.Content
		for range 3 {
			take(t, b, before).Accepted()
		}
		for _, key := range []string{before.Key.Content, "another", "a third"} {
			renamed.Key.Content = key
			mustWait(t, b, renamed)
			b.Withdraw(renamed.Asker)
		}
		time.Sleep(time.Minute)
		take(t, b, renamed).Accepted()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(b.accounts)+len(b.ledgers) != 0 {
			t.Errorf("%d accounts and %d ledgers remain", len(b.accounts), len(b.ledgers))
		}
	})
}

// As when what an account wanted is saved only after it was forgotten.
func TestAnAccountThatIsForgottenTakesNoKeyFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, goesOn := false, make(chan struct{})
		b := New(Options{Limit: limit3, CallTimeout: callTimeout, Wake: func(Asker) {}, Save: func(context.Context, map[string]Reservation) (map[string]Reservation, error) {
			if hangs {
				<-goesOn
			}
			return nil, nil
		}})
		saved := func(a Ask) *Slot {
			t.Helper()
			mustWait(t, b, a)
			synctest.Wait()
			return take(t, b, a)
		}
		rotated, follower := ask(orgA, "a"), ask(orgB, "b")
		follower.Key.Content = rotated.Key.Content
		saved(rotated).Accepted()
		saved(follower).Accepted()
		rotated.Key.Content = "another"
		saved(rotated).Accepted()
		time.Sleep(limit3.Window - time.Second)
		lasts := saved(follower)
		time.Sleep(callTimeout)
		hangs = true
		mustWait(t, b, rotated)
		b.Withdraw(rotated.Asker)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if b.accounts[orgA] != nil {
			t.Fatal("the account is remembered")
		}
		lasts.Accepted()
		close(goesOn)
		synctest.Wait()
		if b.ledgers[follower.Key.Content] != b.accounts[orgB].current {
			t.Error("whoever comes to the key of the other one does not find what that sent")
		}
	})
}

func TestWhatIsSentWithAFormerKeyCountsForAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{Limit: limit3, CallTimeout: callTimeout, Wake: func(Asker) {}})
		rotated, follower := ask(orgA, "a"), ask(orgB, "b")
		rotated.Key.Content, follower.Key.Content = "first", "first"
		late := take(t, b, rotated)
		rotated.Key, rotated.Asker.Name = Key{Version: "2", Content: "second", Proven: true}, "c"
		for range 2 {
			take(t, b, rotated).Accepted()
		}
		mustWait(t, b, rotated) // another key is no empty window
		b.Withdraw(rotated.Asker)
		time.Sleep(10 * time.Second)
		late.Accepted()
		time.Sleep(51 * time.Second)
		take(t, b, rotated).Accepted()
		take(t, b, follower).Accepted()
		for range 10 { // each uses all of its limit
			time.Sleep(20 * time.Second)
			take(t, b, rotated).Accepted()
			take(t, b, follower).Accepted()
		}
	})
}

// Contacts and namespaces come and go, of an organization for which there is always
// something to send, and among those that OpenCX has never accepted.
func TestAnAccountThatNeverRestsForgetsThoseWhoAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{Limit: Limit{Requests: 100, Window: time.Minute}, CallTimeout: callTimeout, Wake: func(Asker) {}})
		askLimit = b.options.Limit
		t.Cleanup(func() { askLimit = limit3 })
		const hours = 2*memorable + 400
		for i := range hours {
			namespace := fmt.Sprint("preview-", i)
			limited, failing, bogus := firstSync(Asker{Namespace: namespace, Name: "limited"}), firstSync(Asker{Namespace: namespace, Name: "failing"}), ask(namespace+"/bogus", "a")
			bogus.Key.Proven = false
			take(t, b, failing).Failed(0)
			take(t, b, limited).RateLimited(time.Second)
			take(t, b, bogus).Unauthorized()
			for range 80 {
				time.Sleep(45 * time.Second)
				take(t, b, ask(orgA, "lasts")).Accepted()
			}
		}
		acct := b.accounts[orgA]
		for what, n := range map[string]int{
			"contacts that met a 429":             len(acct.limited),
			"namespaces under suspicion":          len(acct.breaker.suspects),
			"turns of first syncs":                len(acct.queue.classes[Sync].served),
			"turns of those with an unproven key": len(b.unproven.givenTo),
		} {
			if n >= 2*memorable {
				t.Errorf("%d %s are remembered of %d", n, what, hours)
			}
		}
	})
}

func TestThePartsOfALimit(t *testing.T) {
	for name, tt := range map[string]struct {
		whole Limit
		share float64
		want  Limit
	}{
		"all":                            {Limit{100, time.Minute}, 1, Limit{100, time.Minute}},
		"half":                           {Limit{100, time.Minute}, 0.5, Limit{50, time.Minute}},
		"rounded down":                   {Limit{100, time.Minute}, 0.339, Limit{33, time.Minute}},
		"a product just under a request": {Limit{100, time.Minute}, 0.29, Limit{29, time.Minute}},
		"one request":                    {Limit{100, time.Minute}, 0.01, Limit{1, time.Minute}},
		"half a request":                 {Limit{1, time.Minute}, 0.5, Limit{1, 2 * time.Minute}},
		"four tenths of a request":       {Limit{2, time.Minute}, 0.2, Limit{1, 150 * time.Second}},
		"three tenths of a request":      {Limit{1, time.Minute}, 0.3, Limit{1, 200 * time.Second}},
		"next to nothing":                {Limit{1, time.Minute}, 0.001, Limit{1, 1000 * time.Minute}},
	} {
		if got := tt.whole.Part(tt.share); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for in, want := range map[string]Limit{
		"100/1m":     {100, time.Minute},
		"1/100ms":    {1, 100 * time.Millisecond},
		"60/30s":     {60, 30 * time.Second},
		"1000000/1h": {1_000_000, time.Hour},
	} {
		if got, err := ParseLimit(in); err != nil || got != want {
			t.Errorf("ParseLimit(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"":              "write requests/window",
		"100":           "write requests/window",
		"0/1m":          "before the slash",
		"-5/1m":         "before the slash",
		"abc/1m":        "before the slash",
		"1.5/1m":        "before the slash",
		"2000000/1m":    "before the slash",
		"100/":          "after the slash",
		"100/0s":        "after the slash",
		"100/-1m":       "after the slash",
		"100/minute":    "after the slash",
		"100/8760h":     "after the slash",
		"100/1m/1m":     "after the slash",
		"100/1ms":       "after the slash",
		"100 / 1 m":     "before the slash",
		"100/１m":        "after the slash",
		"99999999999/1": "before the slash",
	} {
		if _, err := ParseLimit(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseLimit(%q) error = %v, want one about %q", in, err, want)
		}
	}
}

// A step of the clock, by NTP or a suspended machine, moves no time that has a
// monotonic reading.
func TestEverythingIsReckonedInMonotonicTime(t *testing.T) {
	b := New(Options{Limit: limit3, CallTimeout: callTimeout, Wake: func(Asker) {}})
	b.Restore(map[string]Reservation{orgA: {Window: time.Minute, Used: []Used{{time.Now().Unix(), 1}}}})
	take(t, b, ask(orgA, "answered")).Accepted()
	take(t, b, ask(orgA, "lost")).NoAnswer()
	mustWait(t, b, ask(orgA, "waits"))
	until := take(t, b, ask(orgB, "refused")).RateLimited(0)
	times := []time.Time{until, b.accounts[orgB].share.raiseAt}
	for _, run := range b.accounts[orgA].current.entries {
		times = append(times, run.at)
	}
	for _, at := range times {
		if !strings.Contains(at.String(), " m=") {
			t.Errorf("%s has no monotonic reading", at)
		}
	}
	b.Withdraw(Asker{Namespace: "shop", Name: "waits"})
}

func TestWhatASlotSaysOfTheKeyAndTheTime(t *testing.T) {
	run(t, "late refusals of a former key say nothing of the new one", Limit{Requests: 60, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		var late []*Slot
		for _, name := range []string{"a", "b", "c"} {
			late = append(late, take(t, b, ask(orgA, name)))
		}
		rotated := ask(orgA, "d")
		rotated.Key = Key{Version: "2", Content: "rotated"}
		late[0].Accepted()
		take(t, b, rotated).Accepted()
		late[1].Unauthorized()
		late[2].Unauthorized()
		for range 3 {
			take(t, b, rotated).Accepted()
		}
	})
	run(t, "a request that was sent late may arrive late", limit3, func(t *testing.T, b *Budget, _ *woken) {
		slot := take(t, b, ask(orgA, "lost"))
		time.Sleep(9 * time.Second)
		slot.Sent()
		slot.NoAnswer()
		spend(t, b, orgA, 2)
		time.Sleep(time.Minute)
		take(t, b, ask(orgA, "a")).Accepted()
		take(t, b, ask(orgA, "b")).Accepted()
		if got := mustWait(t, b, ask(orgA, "c")); got != callTimeout {
			t.Errorf("turn in %s, want %s", got, callTimeout)
		}
	})
	run(t, "a changed limit leaves no backlog waiting for ever", Limit{Requests: 100, Window: time.Minute}, func(t *testing.T, b *Budget, w *woken) {
		for i := range 99 {
			a := ask(orgA, fmt.Sprint(i))
			a.Asker.Namespace = fmt.Sprint("ns-", i%10)
			take(t, b, a).Accepted()
		}
		time.Sleep(31 * time.Second)
		askLimit = Limit{Requests: 50, Window: 30 * time.Second}
		b.Take(firstSync(Asker{Namespace: "shop", Name: "next"}))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if got := w.names(); got != "next" {
			t.Errorf("woken: %q, want next", got)
		}
	})
	run(t, "a shorter window does not free what was used in the longer one", Limit{Requests: 100, Window: time.Minute}, func(t *testing.T, b *Budget, _ *woken) {
		spend(t, b, orgA, 80)
		askLimit = Limit{Requests: 10, Window: 6 * time.Second}
		mustWait(t, b, ask(orgA, "a"))
		got := 0
		for range 9 {
			time.Sleep(6 * time.Second)
			for i := range 10 {
				if slot, _ := b.Take(ask(orgA, fmt.Sprint(i))); slot != nil {
					slot.Accepted()
					got++
				}
			}
		}
		if got > 20 || got < 15 {
			t.Errorf("%d more within the minute, want 15 to 20", got)
		}
	})
}
