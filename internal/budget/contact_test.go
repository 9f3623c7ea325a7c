// One goroutine does everything, so the race detector has nothing to find here.

//go:build !race

package budget

import "time"

// answer is what OpenCX says to a request.
type answer int

const (
	accepts answer = iota
	fails
	forbids
	knowsNot // 404
	rejects  // 422
	refuses  // 401: the key
	hangs
	wavers // between accepts and fails
)

func (a answer) String() string {
	return [...]string{"200", "500", "403", "404", "422", "401", "no answer", "200 or 500"}[a]
}

// backoff is the first and the longest time between two attempts after an answer.
func (a answer) backoff() (first, longest time.Duration) {
	switch a {
	case forbids, refuses:
		return time.Minute, time.Hour
	case knowsNot:
		return 5 * time.Minute, 6 * time.Hour
	case rejects:
		return time.Hour, 24 * time.Hour
	default:
		return 5 * time.Second, 15 * time.Minute
	}
}

// kind is the same for answers between which a backoff goes on.
func (a answer) kind() answer {
	if a == hangs {
		return fails
	}
	return a
}

// attempts is how many attempts a contact makes in a time that OpenCX answers always
// like this, if nobody edits it and its turn comes at once.
func (a answer) attempts(d time.Duration) (n int) {
	first, longest := a.backoff()
	for pause := first; d >= 0; pause = min(2*pause, longest) {
		n++
		if d -= pause; a == hangs {
			d -= patience
		}
	}
	return n
}

// contact behaves as the controller makes contacts behave.
type contact struct {
	number int
	asker  Asker
	tenant *tenant
	says   answer // what OpenCX says to it

	wanted, tried, applied int // versions
	past                   Past
	last                   answer    // what OpenCX said
	failures               int       // in a row, of that kind
	retryAt                time.Time // no earlier, unless there is a newer version
	pauses                 time.Time // no earlier, whatever the version
	retryAfter             time.Duration
	resync                 bool

	busy, again bool
	told        []time.Duration // when it asked first, when it was told that its turn comes, and when that came
	since       time.Time       // what OpenCX does not have was wanted
	editedAt    time.Time
	waits       waits
}

// create makes contacts, each a first sync.
func (w *world) create(t *tenant, namespace, name string, says answer) *contact {
	c := w.know(t, namespace, name, says)
	c.past, c.tried, c.applied, c.wanted = Untried, 0, 0, 0
	w.edit(c, says)
	return c
}

// know makes a contact that OpenCX accepted before.
func (w *world) know(t *tenant, namespace, name string, says answer) *contact {
	c := &contact{number: len(w.contacts), asker: Asker{Namespace: namespace, Name: name}, tenant: t, says: says, past: Accepted, wanted: 1, tried: 1, applied: 1}
	w.contacts[c.asker] = c
	t.contacts = append(t.contacts, c)
	return c
}

// edit makes a new version, to which OpenCX says that.
func (w *world) edit(c *contact, says answer) {
	if now := time.Now(); c.applied == c.wanted {
		c.since, c.editedAt = now, now
	} else {
		c.editedAt = now
	}
	c.wanted++
	c.says = says
	w.look(c)
}

// rekey gives an organization another key, and has its contacts looked at.
func (w *world) rekey(t *tenant, key Key) {
	t.key = key
	for _, c := range t.contacts {
		c.retryAt = time.Time{}
		w.look(c)
	}
}

func (c *contact) class() Class {
	switch {
	case c.wanted == c.applied:
		return Resync
	case c.tried != c.wanted && c.applied > 0:
		return Edit
	}
	return Sync
}

// look does for a contact what is to be done now.
func (w *world) look(c *contact) {
	now := time.Now()
	switch {
	case c.busy:
		c.again = true
		return
	case c.tenant.suspended, c.wanted == c.applied && !c.resync, c.tried == c.wanted && now.Before(c.retryAt), now.Before(c.pauses):
		w.budget.Withdraw(c.asker)
		return
	}
	class := c.class()
	slot, wait := w.budget.Take(Ask{Organization: c.tenant.name, Limit: c.tenant.limit, Key: c.tenant.key, Asker: c.asker, Class: class, Past: c.past})
	if len(c.told) == 0 && slot == nil {
		c.told = []time.Duration{now.Sub(w.start), wait.At.Sub(w.start)}
	}
	if slot != nil {
		if len(c.told) == 2 {
			c.told = append(c.told, now.Sub(w.start))
		}
		w.send(c, slot, class)
	}
}

// send sends a request, and reports its answer when it comes.
func (w *world) send(c *contact, slot *Slot, class Class) {
	c.busy = true
	version, content, process := c.wanted, c.tenant.key.Content, w.process
	said := c.says
	if w.says != nil {
		if of := w.says(); of != accepts {
			said = of
		}
	}
	if said == wavers {
		said = []answer{accepts, fails}[w.random.IntN(2)]
	}
	w.sent = append(w.sent, request{time.Now(), c, class, said})
	takes := w.upTo(roundTrip/3) + roundTrip*5/6
	if said == hangs {
		takes = patience
	}
	admitted := true
	w.after(w.upTo(takes), func() { admitted = w.admit(content) })
	w.after(takes, func() {
		if !w.alive(process) {
			return
		}
		if c.busy = false; admitted {
			w.answered(c, slot, version, said)
		} else {
			slot.RateLimited(0)
			w.look(c)
		}
	})
}

// answered reports an answer to the budget, and notes it as the controller does.
func (w *world) answered(c *contact, slot *Slot, version int, said answer) {
	now := time.Now()
	c.tried, c.resync = version, false
	if c.last != said.kind() {
		c.failures = 0
	}
	c.last = said.kind()
	switch said {
	case accepts:
		slot.Accepted()
		c.past, c.failures, c.applied = Accepted, 0, version
		if !c.since.IsZero() {
			c.waits = append(c.waits, now.Sub(c.since))
		}
		if c.since = (time.Time{}); c.wanted != version {
			c.since = c.editedAt
		}
		w.look(c)
		return
	case knowsNot, rejects:
		slot.Refused()
	case refuses:
		slot.Unauthorized()
	case hangs:
		slot.NoAnswer()
	default:
		c.pauses = slot.Failed(c.retryAfter)
	}
	c.past = Failed
	c.failures++
	first, longest := said.backoff()
	pause := min(longest, first<<min(c.failures-1, 20))
	pause += w.upTo(pause / 10)
	c.retryAt = latest(now.Add(pause), c.pauses)
	w.after(time.Until(c.retryAt), func() { w.look(c) })
	w.look(c)
}

// waited are how long contacts waited for what was wanted since then, and what still is.
func (w *world) waited(contacts ...*contact) (all waits) {
	for _, c := range contacts {
		all = append(all, c.waits...)
		if c.wanted != c.applied {
			all = append(all, time.Since(c.since))
		}
	}
	return all
}
