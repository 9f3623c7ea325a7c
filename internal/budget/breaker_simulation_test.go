// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// outage makes OpenCX say the same to everybody from one time to another.
func (w *world) outage(from, to time.Duration, says answer) {
	w.says = func() answer {
		if at := time.Since(w.start); at >= from && at < to {
			return says
		}
		return accepts
	}
}

// many makes contacts in so many namespaces, by turns.
func (w *world) many(n, namespaces int, add func(namespace, name string) *contact) (all []*contact) {
	for i := range n {
		all = append(all, add(fmt.Sprint("ns-", i%namespaces), fmt.Sprint("contact-", i)))
	}
	return all
}

// probes is how many probes an open breaker sends in a time: one after a twelfth of a
// window, and then each after twice as long as the one before.
func probes(d, window, longest time.Duration) (n int) {
	for pause := window / twelfth; d > pause; pause = min(2*pause, longest) {
		d -= pause
		n++
	}
	return n
}

// done is how many have what they want, and when the last of them got it.
func (w *world) done(all []*contact) (n int) {
	for _, c := range all {
		if c.wanted == c.applied {
			n++
		}
	}
	return n
}

// untilDone lets time pass until all have what they want, at most so long.
func (w *world) untilDone(all []*contact, most time.Duration) (took time.Duration) {
	from := time.Now()
	for w.done(all) < len(all) && time.Since(from) < most {
		w.run(time.Second)
	}
	return time.Since(from)
}

// firstSuccess is how long after a time a request that was accepted was sent.
func (w *world) firstSuccess(after time.Duration) time.Duration {
	for _, r := range w.sent {
		if at := r.at.Sub(w.start); at >= after && r.said == accepts {
			return at - after
		}
	}
	return -1
}

// OpenCX is down for everybody for half an hour. It costs a handful of requests, and
// the first that succeeds opens everything.
func TestAnOutage(t *testing.T) {
	for _, says := range []answer{fails, hangs} {
		for _, namespaces := range []int{1, 5, 50} {
			for _, began := range []time.Duration{0, 200 * time.Second} {
				t.Run(fmt.Sprintf("first syncs of %d namespaces from %s on get %s", namespaces, began, says), func(t *testing.T) {
					t.Parallel()
					for seed := range uint64(worlds) {
						inWorld(t, perMinute, seed, func(w *world) {
							org := crm(perMinute)
							w.outage(began, began+30*time.Minute, says)
							w.survives(began, namespaces, 0, w.many(1000, namespaces, func(namespace, name string) *contact {
								return w.create(org, namespace, name, accepts)
							}))
						})
					}
				})
			}
			t.Run(fmt.Sprintf("edits of %d namespaces get %s", namespaces, says), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(worlds) {
					inWorld(t, perMinute, seed, func(w *world) { w.editsInAnOutage(namespaces, says) })
				}
			})
		}
	}
}

// editsInAnOutage edits a thousand contacts at once from Git while people edit others,
// ten in a window.
func (w *world) editsInAnOutage(namespaces int, says answer) {
	org := crm(w.limit)
	const began = 10 * time.Minute
	w.outage(began, began+30*time.Minute, says)
	bulk := w.many(1000, namespaces, func(namespace, name string) *contact { return w.know(org, namespace, name, accepts) })
	people := make([]*contact, 50)
	for i := range people {
		people[i] = w.know(org, "people", fmt.Sprint(i), accepts)
	}
	w.after(5*time.Minute, func() {
		w.every(6*time.Second, 450, func(int) {
			w.after(w.upTo(6*time.Second), func() { w.edit(people[w.random.IntN(len(people))], accepts) })
		})
	})
	w.after(began+time.Second, func() {
		for _, c := range bulk {
			w.edit(c, accepts)
		}
	})
	w.run(began)
	w.survives(began, namespaces+1, 30*12, bulk)
}

// survives asserts what an outage of half an hour may cost that begins then.
func (w *world) survives(began time.Duration, namespaces, early int, all []*contact) {
	w.t.Helper()
	const lasts = 30 * time.Minute
	ends := began + lasts
	w.run(ends - time.Since(w.start))
	most := 3 + namespaces + probes(lasts, w.limit.Window, maxUnavailable*w.limit.Window) + early
	if began > 0 {
		most += inFlight + w.limit.Requests/twelfth // an untried one speaks against OpenCX only then
	}
	requests := w.requests(began, ends, anyRequest)
	took := w.untilDone(all, time.Hour)
	back := w.firstSuccess(ends)
	w.t.Logf("%d requests in the outage of %d that are allowed, back after %.1f s, all done after %.0f s", requests, most, back.Seconds(), took.Seconds())
	if requests > most {
		w.t.Errorf("%d requests in the outage, want at most %d", requests, most)
	}
	if back < 0 || back > 4*w.limit.Window {
		w.t.Errorf("the first success came %s after the end, want at most four windows", back)
	}
	if n := w.done(all); n != len(all) {
		w.t.Errorf("%d of %d have what they want an hour after the end", n, len(all))
	}
	if longest := back + 12*w.limit.Window; took > longest {
		w.t.Errorf("all were done after %s, want at most %s", took, longest)
	}
}

// A key that is refused costs ten requests in ten windows, whoever waits.
func TestARevokedKey(t *testing.T) {
	for _, namespaces := range []int{1, 5, 50} {
		for _, proven := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d namespaces, proven %t", namespaces, proven), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(worlds) {
					inWorld(t, perMinute, seed, func(w *world) {
						org := crm(perMinute)
						org.key.Proven = proven
						w.says = func() answer { return refuses }
						w.many(1000, namespaces, func(namespace, name string) *contact {
							c := w.know(org, namespace, name, accepts)
							if c.number/namespaces%2 == 0 {
								w.edit(c, accepts)
							} else {
								c.resync = true
								w.look(c)
							}
							return c
						})
						w.run(10 * time.Minute)
						t.Logf("%d requests", len(w.sent))
						if len(w.sent) > 10 {
							t.Errorf("%d requests in ten windows, want at most 10", len(w.sent))
						}
					})
				}
			})
		}
	}
}

// It costs no more when it is revoked in the midst of work.
func TestAKeyThatIsRevokedInTheMidstOfWork(t *testing.T) {
	for seed := range uint64(worlds) {
		inWorld(t, perMinute, seed, func(w *world) {
			org, edited := crm(perMinute), []*contact(nil)
			for i := range 500 {
				edited = append(edited, w.know(org, fmt.Sprint("ns-", i%50), fmt.Sprint(i), accepts))
			}
			w.every(time.Second, 60, func(i int) { w.edit(edited[i], accepts) })
			w.run(2 * time.Minute)
			w.says = func() answer { return refuses }
			for i, c := range edited {
				w.edit(c, accepts)
				w.create(org, c.asker.Namespace, fmt.Sprint("new-", i), accepts)
			}
			w.run(10 * time.Minute)
			if n := w.requests(2*time.Minute, 12*time.Minute, anyRequest); n > 10 {
				t.Errorf("%d requests in ten windows, want at most 10", n)
			}
		})
	}
}

// Of an import most are broken. The healthy ones get in, and none is forgotten.
func TestAnImportThatIsMostlyBroken(t *testing.T) {
	for _, says := range []answer{forbids, fails, hangs} {
		for _, alike := range []bool{true, false} {
			t.Run(fmt.Sprintf("80 %% get %s, namespaces alike %t", says, alike), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(worlds) {
					inWorld(t, perMinute, seed, func(w *world) { w.imports(says, alike) })
				}
			})
		}
	}
}

func (w *world) imports(says answer, alike bool) {
	org := crm(w.limit)
	var healthy []*contact
	for i := range 1000 {
		broken, namespace := w.random.IntN(5) > 0, fmt.Sprint("ns-", i%5)
		if !alike {
			if broken = i < 800; broken {
				namespace = "bad"
			}
		}
		if broken {
			w.create(org, namespace, fmt.Sprint(i), says)
		} else {
			healthy = append(healthy, w.create(org, namespace, fmt.Sprint(i), accepts))
		}
	}
	took := w.untilDone(healthy, 6*time.Hour)
	w.t.Logf("%d of %d healthy ones in after %.0f s, with %d requests", w.done(healthy), len(healthy), took.Seconds(), len(w.sent))
	most := time.Hour
	if says == hangs {
		most *= 3 // each takes ten seconds
	}
	if took > most {
		w.t.Errorf("%d of %d healthy ones are in after %s, want all within %s", w.done(healthy), len(healthy), took, most)
	}
	w.every(30*time.Second, 0, func(i int) { w.edit(healthy[i%len(healthy)], accepts) }) // shows that OpenCX works
	w.run(time.Hour)
	forgotten := slices.DeleteFunc(org.contacts, func(c *contact) bool { return c.tried > 0 })
	if len(forgotten) > 0 {
		w.t.Errorf("%d were never tried", len(forgotten))
	}
}
