package budget

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

var limit60 = Limit{Requests: 60, Window: time.Minute}

// sweep is an organization's own request.
func sweep(organization string) Ask {
	a := ask(organization, "")
	a.Asker, a.Class, a.Past = Asker{Namespace: "crm", Name: organization[len("crm/"):], Sweep: true}, Resync, Bystander
	return a
}

// resync sends again what a contact of another namespace has in OpenCX.
func resync(namespace string) Ask {
	a := ask(orgA, "resync")
	a.Asker.Namespace, a.Class = namespace, Resync
	return a
}

// retry is of a contact that failed before, of the namespace of those of trip.
func retry() Ask {
	a := ask(orgA, "retry")
	a.Class, a.Past = Sync, Failed
	return a
}

// trip has as many witnesses fail as open the breaker.
func trip(t *testing.T, b *Budget, end func(*Slot)) {
	t.Helper()
	for i := range suspicious {
		end(take(t, b, ask(orgA, fmt.Sprint("witness-", i))))
	}
	if !b.Look(orgA).BreakerOpen {
		t.Fatal("the breaker is closed")
	}
}

// failures are what can go wrong with a request.
var failures = map[string]func(*Slot){
	"a failure":                   func(s *Slot) { s.Failed(0) },
	"a failure that asks to wait": func(s *Slot) { s.Failed(time.Minute) },
	"no answer":                   (*Slot).NoAnswer,
	"a refused key":               (*Slot).Unauthorized,
}

func woke(t *testing.T, w *woken, want string) {
	t.Helper()
	synctest.Wait()
	if got := w.names(); got != want {
		t.Errorf("woken: %q, want %q", got, want)
	}
}

func TestABystanderWaitsWhileTheBreakerIsOpen(t *testing.T) {
	for failure, wakes := range map[string]string{"a failure": "a", "a refused key": "a a"} { // told that it is not refused, and called
		run(t, "after "+failure, limit60, func(t *testing.T, b *Budget, w *woken) {
			trip(t, b, failures[failure])
			mustWait(t, b, sweep(orgA))
			time.Sleep(time.Minute)
			woke(t, w, "") // alone it is no probe
			if got := mustWait(t, b, sweep(orgA)); got != time.Minute {
				t.Errorf("it expects its turn in %s, want a window", got)
			}
			probe := take(t, b, retry()) // nobody is kept from it
			mustWait(t, b, sweep(orgA))
			woke(t, w, "")
			probe.Accepted()
			woke(t, w, wakes)
			take(t, b, sweep(orgA)).Accepted()
		})
	}
	for _, name := range []string{"a failure", "no answer", "a refused key"} {
		run(t, "until it is forgotten, after "+name, limit60, func(t *testing.T, b *Budget, w *woken) {
			trip(t, b, failures[name])
			mustWait(t, b, sweep(orgA))
			time.Sleep(time.Hour)
			if got := b.Look(orgA).Obstacle; got != None {
				t.Errorf("after an hour in which nobody else asked, %q", got)
			}
			take(t, b, sweep(orgA)).Failed(0)
		})
	}
	run(t, "a probe is woken in time beside it", limit60, func(t *testing.T, b *Budget, w *woken) {
		trip(t, b, failures["a failure"])
		mustWait(t, b, sweep(orgA))
		mustWait(t, b, retry())
		time.Sleep(limit60.Window / twelfth)
		woke(t, w, "retry")
		take(t, b, retry()).Failed(0)
		time.Sleep(time.Second)
		woke(t, w, "")
	})
	run(t, "one that was called waits again", limit60, func(t *testing.T, b *Budget, w *woken) {
		slot := take(t, b, sweep(orgA))
		time.Sleep(time.Second)
		trip(t, b, failures["a failure"])
		if slot.Sent() {
			t.Error("it may be sent although the breaker is open")
		}
		slot.Unused()
		mustWait(t, b, sweep(orgA))
	})
}

func TestABystanderAfterASilence(t *testing.T) {
	run(t, "it lets others find out whether requests are taken again", limit60, func(t *testing.T, b *Budget, w *woken) {
		take(t, b, ask(orgA, "limited")).RateLimited(time.Second)
		if got := mustWait(t, b, sweep(orgA)); got != time.Second {
			t.Errorf("it expects its turn in %s, want 1s", got)
		}
		mustWait(t, b, resync("shop"))
		time.Sleep(time.Second)
		woke(t, w, "resync")
		slot := take(t, b, resync("shop"))
		mustWait(t, b, sweep(orgA))
		slot.Accepted()
		woke(t, w, "a")
	})
	run(t, "it finds out itself when nobody else waits", limit60, func(t *testing.T, b *Budget, w *woken) {
		take(t, b, ask(orgA, "limited")).RateLimited(time.Second)
		mustWait(t, b, sweep(orgA))
		time.Sleep(time.Second)
		woke(t, w, "a")
		slot := take(t, b, sweep(orgA))
		mustWait(t, b, ask(orgA, "b")) // one at a time
		slot.Accepted()
		woke(t, w, "b")
	})
	run(t, "but not while the breaker is open", limit60, func(t *testing.T, b *Budget, w *woken) {
		limited := take(t, b, ask(orgA, "limited"))
		trip(t, b, failures["a failure"])
		limited.RateLimited(time.Second)
		mustWait(t, b, sweep(orgA))
		time.Sleep(time.Minute) // not forgotten yet
		woke(t, w, "")
		take(t, b, retry()).Accepted()
		woke(t, w, "a")
	})
	run(t, "a 429 that it gets silences all", limit60, func(t *testing.T, b *Budget, w *woken) {
		take(t, b, sweep(orgA)).RateLimited(time.Second)
		if got := b.Look(orgA).Obstacle; got != RateLimited {
			t.Errorf("obstacle %q, want that it is silent", got)
		}
		mustWait(t, b, ask(orgA, "b"))
		time.Sleep(time.Second)
		woke(t, w, "b")
	})
}

func TestWhatABystanderMeetsSaysNothing(t *testing.T) {
	for name, end := range failures {
		run(t, name+" opens nothing", limit60, func(t *testing.T, b *Budget, _ *woken) {
			for range 2 * suspicious {
				end(take(t, b, sweep(orgA)))
			}
			if got := b.Look(orgA).Obstacle; got != None {
				t.Errorf("obstacle %q", got)
			}
			if k := b.accounts[orgA].breaker; len(k.witnesses)+len(k.suspects)+k.row > 0 {
				t.Errorf("%d witnesses, %d suspects, %d in a row; want none", len(k.witnesses), len(k.suspects), k.row)
			}
		})
	}
	run(t, "a refusal that was under way when the breaker opened doubles nothing", limit60, func(t *testing.T, b *Budget, _ *woken) {
		slot := take(t, b, sweep(orgA))
		trip(t, b, (*Slot).Unauthorized)
		until := b.accounts[orgA].breaker.until
		slot.Unauthorized()
		if got := b.accounts[orgA].breaker.until; !got.Equal(until) {
			t.Errorf("the breaker is open for %s longer", got.Sub(until))
		}
	})
	run(t, "a success clears no witness", limit60, func(t *testing.T, b *Budget, _ *woken) {
		for i := range suspicious - 1 {
			take(t, b, ask(orgA, fmt.Sprint(i))).Failed(0)
			take(t, b, sweep(orgA)).Accepted()
		}
		take(t, b, ask(orgA, "last")).Failed(0)
		if !b.Look(orgA).BreakerOpen {
			t.Error("the breaker is closed")
		}
	})
	run(t, "a success hides no witness that was never tried", limit60, func(t *testing.T, b *Budget, _ *woken) {
		for i := range suspicious {
			take(t, b, sweep(orgA)).Accepted()
			take(t, b, firstSync(Asker{Namespace: "shop", Name: fmt.Sprint(i)})).Failed(0)
		}
		if !b.Look(orgA).BreakerOpen {
			t.Error("the breaker is closed")
		}
	})
	run(t, "a success closes no breaker", limit60, func(t *testing.T, b *Budget, _ *woken) {
		slot := take(t, b, sweep(orgA))
		trip(t, b, failures["a failure"])
		time.Sleep(time.Second)
		slot.Accepted()
		if !b.Look(orgA).BreakerOpen {
			t.Error("the breaker is closed")
		}
	})
}

func TestABystanderProvesTheKey(t *testing.T) {
	run(t, "and until then counts in the shared tenth", limit60, func(t *testing.T, b *Budget, _ *woken) {
		a := sweep(orgA)
		a.Key.Proven = false
		slot := take(t, b, a)
		if got := b.unproven.slots; got != 1 {
			t.Errorf("%d slots of the shared tenth are in use, want 1", got)
		}
		slot.Accepted()
		if got := b.unproven.slots; got != 0 || !b.accounts[orgA].current.proven {
			t.Errorf("%d slots of the shared tenth are in use, and the key is proven: %t", got, b.accounts[orgA].current.proven)
		}
	})
}

func TestABystanderIsNotOfThoseThatMayBeWitnesses(t *testing.T) {
	newcomer := func(i int) Ask { return firstSync(Asker{Namespace: "shop", Name: fmt.Sprint(i)}) }
	run(t, "it goes beside as many as may be under way", limit60, func(t *testing.T, b *Budget, _ *woken) {
		for i := range suspicious {
			take(t, b, newcomer(i))
		}
		mustWait(t, b, newcomer(-1))
		take(t, b, sweep(orgA)).Accepted()
		mustWait(t, b, newcomer(-1))
	})
	run(t, "it holds none of them back", limit60, func(t *testing.T, b *Budget, _ *woken) {
		take(t, b, sweep(orgA))
		for i := range suspicious {
			take(t, b, newcomer(i))
		}
	})
	run(t, "it goes at its pace beside them", limit60, func(t *testing.T, b *Budget, w *woken) {
		for i := range suspicious {
			take(t, b, newcomer(i))
		}
		b.accounts[orgA].pacing = pacing{paced: true, next: time.Now().Add(3 * time.Second)}
		mustWait(t, b, sweep(orgA))
		time.Sleep(3*time.Second - 1)
		woke(t, w, "")
		time.Sleep(time.Nanosecond)
		woke(t, w, "a")
	})
}

func TestABystanderCountsInTheLimit(t *testing.T) {
	run(t, "as every request", limit3, func(t *testing.T, b *Budget, _ *woken) {
		take(t, b, sweep(orgA)).Accepted()
		spend(t, b, orgA, 2)
		if got := mustWait(t, b, ask(orgA, "b")); got != time.Minute {
			t.Errorf("the next slot is free in %s, want a window", got)
		}
	})
}

func TestABystanderTakesACommonPlaceOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		past Past
		want map[int]int // by how many places there are
	}{
		"one that was accepted":              {Accepted, map[int]int{10: 10, 4: 4, 2: 2, 1: 1}},
		"one never tried of a new namespace": {Untried, map[int]int{10: 9, 4: 3, 2: 1, 1: 1}},
		"a bystander":                        {Bystander, map[int]int{10: 8, 4: 3, 2: 1, 1: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			for limit, want := range tt.want {
				p := newPlaces(limit)
				for i := 0; p.may(fmt.Sprint(i), tt.past); i++ {
					p.take(fmt.Sprint(i))
				}
				if p.taken != want {
					t.Errorf("it can be one of %d of %d, want %d", p.taken, limit, want)
				}
			}
		})
	}
}

func TestABystanderIsServedLast(t *testing.T) {
	run(t, "in the class resync", limit3, func(t *testing.T, b *Budget, w *woken) {
		spend(t, b, orgA, 3)
		mustWait(t, b, sweep(orgA))
		if got := b.Look(orgA).Waiting; got != [numClasses]int{Resync: 1} {
			t.Errorf("waiting: %v, want one resync", got)
		}
		mustWait(t, b, firstSync(Asker{Namespace: "shop", Name: "sync"}))
		mustWait(t, b, ask(orgA, "edit"))
		time.Sleep(time.Minute)
		woke(t, w, "edit sync a")
	})
}

func TestAnOrganizationAndAContactOfOneNameAreTwoAskers(t *testing.T) {
	run(t, "and a sweep is one", limit60, func(t *testing.T, b *Budget, w *woken) {
		contact := sweep(orgA)
		contact.Asker.Sweep, contact.Class, contact.Past = false, Edit, Accepted
		slot := take(t, b, sweep(orgA))
		take(t, b, contact).Accepted()
		mustWait(t, b, sweep(orgA)) // it has its slot
		slot.Accepted()
		take(t, b, sweep(orgA)).Accepted()
	})
}
