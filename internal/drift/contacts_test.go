package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// contact is a manifest, and what its status says.
type contact struct {
	world    *world
	id       string
	random   *rand.Rand
	report   bool // spec.driftPolicy is Report, else Correct
	declared values
	version  int       // of what is declared; 0 before the manifest is there
	since    time.Time // it is not ready

	told told
	// drifts counts the edits in OpenCX of what is declared, patches those requests that
	// arrived, and vain those of them that changed nothing, but for the first.
	drifts, patches, vain int
}

// told is the status of a contact. Times are in whole seconds.
type told struct {
	applied, attempted                 int // versions, 0 for none
	drift                              string
	lastSync, lastVerified, lastRepair time.Time
	repairs                            int32
}

// values are those of a contact, as an update carries them.
type values struct {
	Email      string            `json:"email"`
	Phone      string            `json:"phone"`
	Name       string            `json:"name"`
	CustomData map[string]string `json:"custom_data"`
}

func (v values) contact() opencx.Contact {
	c := opencx.Contact{Email: value(v.Email), Phone: value(v.Phone), Name: value(v.Name), CustomData: map[string]opencx.Secret{}}
	for key, text := range v.CustomData {
		c.CustomData[key] = *value(text)
	}
	return c
}

// declare makes a manifest of a contact that OpenCX has.
func (w *world) declare(id string, seed uint64) *contact {
	c := &contact{world: w, id: id, random: rand.New(rand.NewPCG(seed, uint64(len(w.contacts)+1)))}
	w.contacts = append(w.contacts, c)
	return c
}

// apply changes what a manifest declares.
func (w *world) apply(c *contact) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.version++
	c.declared = values{
		Email: fmt.Sprintf("Jane.Doe+%s.%d@example.com", c.id, c.version), Phone: "+1 (202) 555-0123",
		Name: fmt.Sprintf("Jane %d", c.version), CustomData: map[string]string{"plan": fmt.Sprint("plan ", c.version)},
	}
	if c.introduces() || c.version == 1 {
		c.since = time.Now()
		c.told.drift = ""
	}
	w.process.wakeIn(c, c.delay())
}

// introduces says that the contact is compared before anything of it is ever sent.
func (c *contact) introduces() bool { return c.report && c.told.applied == 0 && c.told.attempted == 0 }

// edit changes a contact in OpenCX, of which no two edits make the same.
func (w *world) edit(id string, random *rand.Rand) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := random.IntN(7)
	number := random.Uint32()
	w.simulator.Edit(id, func(c *opencxtest.Contact) {
		data, _ := c.Fields["custom_data"].(map[string]any)
		if data == nil {
			data = map[string]any{}
			c.Fields["custom_data"] = data
		}
		switch kind {
		case 0:
			c.Fields["email"] = fmt.Sprintf("john.%d@example.com", number)
		case 1:
			c.Fields["phone"] = fmt.Sprintf("+1202555013%d", number%10)
		case 2:
			c.Fields["name"] = fmt.Sprint("John ", number)
		case 3:
			data["plan"] = fmt.Sprint("other plan ", number)
		case 4:
			delete(c.Fields, "name")
		case 5: // which nobody declares
			data["note"] = fmt.Sprint("note ", number)
		case 6: // which is no change
			email, _ := c.Fields["email"].(string)
			c.Fields["email"] = strings.ToUpper(email)
		}
	})
	for _, c := range w.contacts {
		if c.id == id && kind < 5 {
			c.drifts++
		}
	}
}

// differs says in which fields OpenCX has something else than is declared.
func (w *world) differs(c *contact) []string {
	held, _ := w.simulator.Contact(c.id)
	listed := opencx.ListedContact{}
	for name, field := range map[string]**string{"email": &listed.Email, "phone": &listed.Phone, "name": &listed.Name} {
		if text, is := held.Fields[name].(string); is {
			*field = &text
		}
	}
	texts := map[string]string{}
	data, _ := held.Fields["custom_data"].(map[string]any)
	for key, text := range data {
		texts[key] = text.(string)
	}
	listed.CustomData = opencx.NewCustomData(texts)
	return Differences(c.declared.contact(), listed)
}

// Plan implements Contacts.
func (p *process) Plan(_ context.Context, _ types.NamespacedName, began, full time.Time) (plan Plan, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	unlisted := func(since time.Time) {
		plan.Unlisted = true
		if since.After(full) && since.After(plan.Newest) {
			plan.Newest = since
		}
	}
	for _, c := range p.contacts {
		s := &c.told
		switch {
		case c.version == 0:
		case c.introduces():
			if plan.Contacts = true; s.drift != v1alpha1.FieldsDifferReason && s.drift != v1alpha1.VerifiedReason {
				unlisted(c.since)
			}
		case !s.lastSync.IsZero():
			plan.Contacts = true
			if plan.Oldest.IsZero() || s.lastSync.Before(plan.Oldest) {
				plan.Oldest = s.lastSync
			}
			if s.drift == v1alpha1.NotVerifiedReason && s.applied != 0 && s.lastSync.Before(began.Add(-DefaultTiming.Settling)) {
				unlisted(s.lastSync)
			}
		case !s.lastVerified.IsZero():
			plan.Contacts = true
		}
	}
	return plan, nil
}

// Compare implements Contacts.
func (p *process) Compare(_ context.Context, _ types.NamespacedName, listed opencx.ListedContact, listing func() Listing) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unrest && p.random.IntN(50) == 0 {
		return fmt.Errorf("the cache is not ready")
	}
	for _, c := range p.contacts {
		if c.id != listed.ID || c.version == 0 {
			continue
		}
		made := listing()
		known := p.known[c]
		if known.listing != nil {
			known.listing.Done()
		}
		known.listing = &made
		p.wakeIn(c, c.delay())
	}
	return nil
}

// delay is how long it takes until a contact is looked at.
func (c *contact) delay() time.Duration {
	longest := 2 * time.Second
	switch n := c.random.IntN(100); {
	case !c.world.unrest:
	case n == 0:
		longest = 15 * time.Minute
	case n < 40:
		longest = time.Minute
	}
	return time.Duration(c.random.Int64N(int64(longest)))
}

func (p *process) wakeIn(c *contact, after time.Duration) {
	time.AfterFunc(after, func() { p.look(c) })
}

// look does with a contact what its controller does: it compares, and then sends what is
// to be sent.
func (p *process) look(c *contact) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.known[c]
	if p.process != p || c.version == 0 {
		return
	}
	if known.busy {
		known.again = true
		return
	}
	known.busy = true
	defer func() {
		if known.busy = false; known.again {
			known.again = false
			p.wakeIn(c, time.Millisecond)
		}
	}()
	if listing := known.listing; listing != nil {
		if c.fails() {
			p.wakeIn(c, time.Second)
			return
		}
		if c.isComparable(known) {
			c.found(Differences(c.declared.contact(), listing.ListedContact), listing.RequestedAt)
		}
		known.listing = nil
		listing.Done()
	}
	switch due := c.dueAt(); {
	case due.IsZero():
	case due.After(time.Now()):
		p.wakeIn(c, time.Until(due))
	default:
		p.send(c, known)
	}
}

// fails says that a write of status fails.
func (c *contact) fails() bool { return c.world.unrest && c.random.IntN(20) == 0 }

func (c *contact) isComparable(known *known) bool {
	return c.introduces() || c.told.applied == c.version && !known.attemptEnded.After(known.listing.RequestedAt.Add(-DefaultTiming.Settling))
}

// found notes in which fields OpenCX differs.
func (c *contact) found(fields []string, requestedAt time.Time) {
	s := &c.told
	if len(fields) > 0 {
		if time.Since(s.lastRepair) > Forgiven {
			s.repairs = 0
		}
		s.drift = v1alpha1.FieldsDifferReason
		return
	}
	if c.introduces() {
		s.applied, s.attempted = c.version, c.version
	}
	s.drift, s.lastVerified = v1alpha1.VerifiedReason, requestedAt.Truncate(time.Second)
}

// dueAt is when the contact is sent, zero for never.
func (c *contact) dueAt() time.Time {
	switch s := c.told; {
	case c.introduces():
		return time.Time{}
	case s.applied != c.version, s.drift == v1alpha1.FieldsDifferReason && !c.report && s.lastRepair.IsZero():
		return time.Now()
	case s.drift == v1alpha1.FieldsDifferReason && !c.report:
		return s.lastRepair.Add(Pause(DefaultTiming.Interval, s.repairs))
	}
	return time.Time{}
}

// send sends a contact, when the budget lets it, and stores what came of it.
func (p *process) send(c *contact, known *known) {
	key, _ := p.organizations.Key(p.t.Context(), acme)
	slot, _ := p.budget.Take(budget.Ask{
		Organization: acme.String(), Limit: budget.DefaultLimit, Key: key.Key,
		Asker: budget.Asker{Namespace: "shop", Name: c.id}, Class: budget.Sync,
	})
	if slot == nil {
		return
	}
	if !slot.Sent() {
		slot.Unused()
		p.wakeIn(c, time.Millisecond)
		return
	}
	version := c.version
	body, _ := json.Marshal(map[string]any{"contact": c.declared})
	if c.told.applied != version {
		c.told.applied = 0 // from now on nobody knows what OpenCX has
	}
	if !p.pause(c) {
		return
	}
	before, _ := p.simulator.Contact(c.id)
	if answer, _ := p.serve(p.t.Context(), 0, http.MethodPatch, "/contacts/"+c.id, body); answer.Code != http.StatusOK {
		p.t.Errorf("an update is answered %d", answer.Code)
	}
	c.patches++
	after, _ := p.simulator.Contact(c.id)
	if c.told.attempted != 0 && fmt.Sprint(before.Fields) == fmt.Sprint(after.Fields) {
		c.vain++
	}
	if !p.pause(c) {
		return
	}
	slot.Accepted()
	known.attemptEnded = time.Now()
	if !p.pause(c) {
		return
	}
	c.accepted(version)
}

// pause lets others do something, and says whether the process still is.
func (p *process) pause(c *contact) bool {
	pause := time.Duration(c.random.Int64N(int64(300 * time.Millisecond)))
	p.mu.Unlock()
	time.Sleep(pause)
	p.mu.Lock()
	return p.process == p
}

func (c *contact) accepted(version int) {
	s, now := &c.told, time.Now().Truncate(time.Second)
	switch {
	case s.applied != version:
		s.drift = v1alpha1.NotVerifiedReason
	case s.drift == v1alpha1.FieldsDifferReason:
		s.repairs++
		s.lastRepair, s.drift = now, v1alpha1.RepairedReason
	}
	s.applied, s.attempted, s.lastSync = version, version, now
}
