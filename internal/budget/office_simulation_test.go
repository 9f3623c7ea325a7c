// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import (
	"fmt"
	"testing"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/operatortest/history"
)

// office is where organizations change. Their contacts always want more than the limit
// allows.
type office struct {
	*world
	tenants []*tenant
	gone    map[string]bool
	changes int
}

func (w *world) office(tenants int) *office {
	o := &office{world: w, gone: map[string]bool{}}
	for i := range tenants {
		org := &tenant{name: fmt.Sprintf("crm/org-%d", i), limit: w.limit, key: Key{Version: "1", Content: fmt.Sprint("key-", i), Proven: true}}
		o.tenants = append(o.tenants, org)
		w.many(300, 3, func(namespace, name string) *contact {
			return w.create(org, namespace, fmt.Sprintf("org-%d-%s", i, name), accepts)
		})
	}
	w.every(300*time.Millisecond, 0, func(int) {
		for _, org := range o.tenants {
			w.edit(org.contacts[w.random.IntN(len(org.contacts))], accepts)
		}
	})
	return o
}

func (o *office) any() *tenant { return o.tenants[o.random.IntN(len(o.tenants))] }

// give gives an organization the key of that content.
func (o *office) give(org *tenant, content string) {
	o.changes++
	o.rekey(org, Key{Version: fmt.Sprint("change-", o.changes), Content: content, Proven: true})
}

// rename makes an organization of another name with the same key, to which the contacts
// go, one by one.
func (o *office) rename(org *tenant) {
	o.changes++
	o.gone[org.name] = true
	org.name = fmt.Sprint("crm/renamed-", o.changes)
	for _, c := range org.contacts {
		o.after(o.upTo(time.Second), func() { o.look(c) })
	}
}

// relimit changes what an organization may use.
func (o *office) relimit(org *tenant) {
	limits := []Limit{{20, 12 * time.Second}, {10, 6 * time.Second}, {30, time.Minute}, {100, 5 * time.Minute}, {100, time.Minute}, {100, time.Minute}}
	org.limit = limits[o.random.IntN(len(limits))]
}

func (o *office) kill() { o.restart(func(organization string) bool { return !o.gone[organization] }) }

// change is something that is done to organizations again and again.
type change struct {
	what    string
	tenants int
	saves   bool
	make    func(o *office)
}

func (o *office) renameAny()  { o.rename(o.any()) }
func (o *office) relimitAny() { o.relimit(o.any()) }
func (o *office) giveAny()    { o.give(o.any(), fmt.Sprint("key-", o.random.IntN(5))) }

func (o *office) giveAnother() {
	i := o.random.IntN(len(o.tenants))
	content := fmt.Sprintf("key-%d-%d", i, o.changes)
	o.owner[content] = fmt.Sprint("key-", i)
	o.give(o.tenants[i], content)
}

func (o *office) swap() {
	a, b := o.tenants[0].key.Content, o.tenants[1].key.Content
	o.give(o.tenants[0], b)
	o.give(o.tenants[1], a)
}

func (o *office) renameAndKill() {
	if o.random.IntN(2) == 0 {
		o.renameAny()
	}
	o.kill()
}

// oneOf does one of several things.
func oneOf(all ...func(o *office)) func(o *office) {
	return func(o *office) { all[o.random.IntN(len(all))](o) }
}

// Whatever is done to organizations, OpenCX never sees more than the limit in a window,
// neither with one key nor, as far as it can be known, from one of its own organizations.
func TestTheLimitHoldsWhateverIsDoneToOrganizations(t *testing.T) {
	for _, c := range []change{
		{"renamed", 2, false, (*office).renameAny},
		{"deleted, and made again under another name with its key", 1, false, (*office).renameAny},
		{"given another key of the same organization at OpenCX", 2, false, (*office).giveAnother},
		{"given keys that others had, or have", 3, false, (*office).giveAny},
		{"swapped", 2, false, (*office).swap},
		{"given other limits", 2, false, (*office).relimitAny},
		{"all of these", 3, false, oneOf((*office).renameAny, (*office).giveAny, (*office).relimitAny)},
		{"kept while the process restarts", 2, true, (*office).kill},
		{"renamed while the process restarts", 2, true, (*office).renameAndKill},
		{"renamed and given other limits, and the process restarts", 2, true, oneOf((*office).renameAny, (*office).relimitAny, (*office).kill)},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(worlds) {
				inWorld(t, perMinute, seed, func(w *world) { w.changing(c) })
			}
		})
	}
}

func (w *world) changing(c change) {
	w.saves = c.saves
	w.restart(nil)
	o := w.office(c.tenants)
	var again func()
	again = func() {
		c.make(o)
		w.after(w.upTo(40*time.Second), again)
	}
	w.after(30*time.Second, again)
	w.run(15 * time.Minute)
	w.counted()
}

// counted tells how many requests came.
func (w *world) counted() {
	w.t.Helper()
	most := 0
	for _, times := range w.arrived {
		most = max(most, history.MostIn(times, w.limit.Window))
	}
	w.t.Logf("%d requests, at most %d of one key or organization in a window, %d refused", len(w.sent), most, w.refused)
	if len(w.sent) < 5*w.limit.Requests {
		w.t.Errorf("%d requests in so many windows are hardly a test", len(w.sent))
	}
}

// Organizations of one key that are active by turns share one quota.
func TestOrganizationsThatAreActiveByTurns(t *testing.T) {
	for seed := range uint64(worlds) {
		inWorld(t, perMinute, seed, func(w *world) {
			o := w.office(2)
			for i, org := range o.tenants {
				org.key.Content = "key-0"
				org.suspended = i > 0
			}
			w.every(20*time.Second, 0, func(int) {
				for _, org := range o.tenants {
					org.suspended = !org.suspended
					for _, c := range org.contacts {
						w.look(c)
					}
				}
			})
			w.run(20 * time.Minute)
			w.counted()
		})
	}
}

// Whatever is done, soon after something else has been: the limit holds, and nobody
// whom OpenCX takes waits for ever.
func TestNobodyIsForgottenWhateverIsDone(t *testing.T) {
	for seed := range uint64(50 * worlds) {
		inWorld(t, perMinute, seed, func(w *world) { w.doAnything(40) })
	}
}

func (w *world) doAnything(times int) {
	w.saves = true
	w.restart(nil)
	o := &office{world: w, gone: map[string]bool{}}
	for i := range 3 {
		key := Key{Version: "1", Content: fmt.Sprint("key-", i), Proven: w.random.IntN(2) == 0}
		o.tenants = append(o.tenants, &tenant{name: fmt.Sprint("crm/org-", i), limit: w.limit, key: key})
	}
	anything := []func(*office){
		(*office).kill, (*office).relimitAny, (*office).renameAny, (*office).rekeyAny, (*office).breakSome, (*office).editSome,
		(*office).createSome, (*office).createSome,
	}
	for range times {
		oneOf(anything...)(o)
		w.run(w.upTo([]time.Duration{time.Second, 40 * time.Second, 3 * time.Minute}[w.random.IntN(3)]))
	}
	for _, org := range o.tenants {
		for _, c := range org.contacts {
			w.look(c)
		}
	}
	w.run(3 * time.Hour)
	for _, org := range o.tenants {
		for _, c := range org.contacts {
			if c.says == accepts && c.wanted != c.applied {
				w.t.Fatalf("%v waits since %s", c.asker, c.since.Sub(w.start))
			}
		}
	}
}

// rekeyAny gives an organization a key that was never accepted.
func (o *office) rekeyAny() {
	o.changes++
	o.rekey(o.any(), Key{Version: fmt.Sprint("change-", o.changes), Content: fmt.Sprint("new-", o.changes)})
}

func (o *office) breakSome() {
	says := answer(o.random.IntN(int(wavers) + 1))
	for range o.random.IntN(5) {
		o.createOne(says)
	}
}

func (o *office) createSome() {
	for range o.random.IntN(130) {
		o.createOne(accepts)
	}
}

func (o *office) createOne(says answer) {
	o.create(o.any(), fmt.Sprint("ns-", o.random.IntN(4)), fmt.Sprint(len(o.contacts)), says)
}

func (o *office) editSome() {
	for _, c := range o.any().contacts {
		if o.random.IntN(2) == 0 {
			o.edit(c, c.says)
		}
	}
}
