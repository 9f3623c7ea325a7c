package controller

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// The model of one contact walks, from a contact that is in sync, every order of a
// bounded number of events: edits, changes of its Secret, suspending, wishes, keys,
// failures of every kind, lost and late answers, edits in OpenCX with sweeps that find
// them, and kills at every step. What the
// process does at each step is what decide, doubt and report say. In no state in
// which nothing happens any more may status be untrue, and none may be stuck.

// world is everything that there is outside the process. It is a key of a map.
type modelWorld struct {
	spec       byte // 'A' or 'B'
	generation int64
	secret     byte // its value; 0 when there is none
	version    int  // of the Secret
	optional   bool
	suspended  bool
	wish       int
	key        int  // version of the API key
	resyncDue  bool // the resync interval has passed
	policy     v1alpha1.DriftPolicy
	sweeps     bool // there are sweeps of drift

	status modelStatus
	openCX modelPayload // what OpenCX has
	// listed says that the next sweep lists the contact: it has changed since the
	// watermark. changed says that it has since the page was requested that is compared.
	listed, changed bool
}

// modelStatus is what is stored of the status.
type modelStatus struct {
	applied, attempted string
	observed           int64
	ready, reason      string
	sending            bool // the message of the doubt
	next               int  // 0: no retry; 1: held back; 2: due
	failures           int32
	handled            string
	code               int32 // of the last error
	synced             bool
	drift              string
	driftOf            int64 // the generation
	verified           bool
	repair             int // 0: none; 1: not long ago; 2: long ago
}

type modelPayload struct {
	spec, secret byte
}

// modelProcess is what is lost with a kill.
type modelProcess struct {
	running  bool
	last     string       // hash
	lastSent modelPayload // zero when nothing was sent
	flight   modelFlight
	listing  modelListing
}

// modelListing is what OpenCX lists of the contact.
type modelListing struct {
	phase   int // 0: none; 1: not compared yet; 2: compared, and the watermark not moved
	payload modelPayload
	old     bool // a request has ended since
}

// modelFlight is a request that is under way, or whose answer is not written yet.
type modelFlight struct {
	phase      int // 0: none; 1: sent; 2: answered
	payload    modelPayload
	hash       string
	key        int
	wish       int
	generation int64
	code       int
}

// events are how many of each kind may still happen.
type modelEvents struct {
	edits, noops, suspends, secrets, wishes, keys, failures, kills, resyncs, others, policies int
}

type modelState struct {
	modelWorld
	modelProcess
	left modelEvents
}

func (s modelState) wanted() (string, modelPayload) {
	return fmt.Sprintf("%c%d", s.spec, s.version*int(min(s.secret, 1))), modelPayload{s.spec, s.secret}
}

// facts are what look would find.
func (s modelState) facts() facts {
	hash, _ := s.wanted()
	f := facts{
		contact: &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Generation: s.generation, UID: "u"}},
		title:   ownership.Title{Owns: true},
		hash:    hash,
		sourced: true,
		last:    sent{s.last, modelDigest(s.lastSent)},
	}
	f.contact.Spec.Suspend, f.contact.Spec.DriftPolicy = s.suspended, s.policy
	if s.listing.phase == 1 {
		f.listing = &drift.Listing{RequestedAt: testTime, ListedContact: opencx.ListedContact{UpdatedAt: testTime}}
		if s.listing.old {
			f.attemptEnded = testTime
		}
	}
	if s.wish > 0 {
		f.contact.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: fmt.Sprint(s.wish)}
	}
	f.organization.KeyVersion = fmt.Sprint(s.key)
	f.organization.ResyncInterval = time.Hour
	if s.sweeps {
		f.organization.DriftCheckInterval = 10 * time.Minute
	}
	m := s.status
	f.status = v1alpha1.OpenCXContactStatus{
		AppliedHash: m.applied, AttemptedHash: m.attempted, ObservedGeneration: m.observed,
		ConsecutiveFailures: m.failures, LastHandledReconcileAt: m.handled,
	}
	if m.synced {
		f.status.LastSyncTime = status.Time(testTime)
		if s.resyncDue {
			f.status.LastSyncTime = status.Time(testTime.Add(-24 * time.Hour))
		}
	}
	if m.verified {
		f.status.LastVerifiedTime = f.status.LastSyncTime
		if !m.synced {
			f.status.LastVerifiedTime = status.Time(testTime)
		}
	}
	if m.repair > 0 {
		f.status.LastRepairTime, f.status.ConsecutiveRepairs = status.Time(testTime.Add(time.Duration(1-m.repair)*time.Hour)), 1
	}
	if m.drift == v1alpha1.FieldsDifferReason {
		f.status.DriftedFields = []string{"email"}
	}
	if m.drift != "" {
		b := book{told: f.status}
		b.told.ObservedGeneration = m.driftOf
		b.drift(metav1.ConditionUnknown, m.drift, "told")
		f.status.Conditions = b.told.Conditions
	}
	if m.next > 0 {
		f.status.NextAttemptTime = status.Time(testTime.Add(time.Duration(3-2*m.next) * time.Minute))
	}
	if m.code > 0 {
		f.status.LastError = &v1alpha1.APIError{StatusCode: m.code}
	}
	if m.ready != "" {
		text := "told"
		if m.sending {
			text = beingSent
		}
		status.Mark(&f.status.Conditions, 1, metav1.ConditionStatus(m.ready), m.reason, text)
	}
	f.state = stateOf(&f.status)
	f.contact.Status = f.status
	return f
}

func modelDigest(p modelPayload) opencx.Fingerprint {
	if p == (modelPayload{}) {
		return opencx.Fingerprint{}
	}
	return sha256.Sum256([]byte{p.spec, p.secret})
}

// load is what ContactReconciler.load does.
func (s modelState) load(f facts) (facts, modelState) {
	_, payload := s.wanted()
	f.loaded = &loaded{digest: modelDigest(payload), key: keyOf(fmt.Sprint(s.key))}
	if s.secret == 0 && !s.optional {
		f.loaded = &loaded{problem: &status.Problem{Reason: v1alpha1.ValueNotFoundReason, Message: "missing"}}
		return f, s
	}
	if f.settle(f.loaded.digest) {
		s.last = f.last.hash
	}
	return f, s
}

// store is what a status write leaves.
func (s modelState) store(told v1alpha1.OpenCXContactStatus) modelState {
	is := stateOf(&told)
	m := modelStatus{
		applied: told.AppliedHash, attempted: told.AttemptedHash, observed: told.ObservedGeneration,
		ready: string(is.ready), reason: is.reason, sending: is.message == beingSent,
		failures: min(told.ConsecutiveFailures, 1), handled: told.LastHandledReconcileAt, synced: told.LastSyncTime != nil,
		verified: told.LastVerifiedTime != nil,
	}
	if drifted := meta.FindStatusCondition(told.Conditions, v1alpha1.DriftedCondition); drifted != nil {
		m.drift, m.driftOf = drifted.Reason, drifted.ObservedGeneration
	}
	if told.LastRepairTime != nil {
		m.repair = 1
		if told.LastRepairTime.Time.Before(testTime) {
			m.repair = 2
		}
	}
	if told.NextAttemptTime != nil {
		m.next = 1
		if !told.NextAttemptTime.After(testTime) {
			m.next = 2
		}
	}
	if told.LastError != nil {
		m.code = told.LastError.StatusCode
	}
	s.status = m
	return s
}

// look is what one Reconcile comes to when it gets no slot: the state afterwards, that
// before it asked for one, and what was decided. The contact has waited long enough to say so.
func (s modelState) look() (looked, asks modelState, f facts, d decision) {
	f = s.facts()
	d = decide(f, testTime)
	if d.step == load {
		f, s = s.load(f)
		d = decide(f, testTime)
	}
	if s.listing.phase == 1 && d.step != load {
		b := book{facts: f, told: *f.status.DeepCopy(), now: testTime}
		switch _, payload := s.wanted(); {
		case f.isRecent(time.Second):
		case !f.isComparable():
			b.passedOver()
		case payload != s.listing.payload:
			b.found([]string{"email"})
		default:
			b.found(nil)
		}
		s = s.store(b.told)
		s.listing.phase = 2
		f.status, f.state, f.contact.Status = b.told, stateOf(&b.told), b.told
		if d = decide(f, testTime); d.step == load {
			f, s = s.load(f)
			d = decide(f, testTime)
		}
	}
	r := result{unsentSince: testTime.Add(-longWait)}
	r.wait.At = testTime
	told, _ := report(f, d, r, testTime)
	return s.store(told), s, f, d
}

// act is the other way in which a look can end: it gets a slot. The doubt is a step of
// its own, because the process may be killed behind it.
func (s modelState) act(f facts) (string, modelState) {
	if told, needed := doubt(f); needed {
		return "doubts", s.store(told)
	}
	_, payload := s.wanted()
	s.flight = modelFlight{phase: 1, payload: payload, hash: f.hash, key: s.key, wish: s.wish, generation: s.generation}
	return fmt.Sprintf("sends %c%c", payload.spec, payload.secret), s
}

// answered writes what came back, for the manifest as it was looked at.
func (s modelState) answered() modelState {
	looked := s
	looked.generation, looked.wish = s.flight.generation, s.flight.wish
	f := looked.facts()
	f.hash = s.flight.hash
	a, _ := answerOf(nil)
	if s.flight.code != 200 {
		a = answer{meaning: meaningOf(s.flight.code), message: "told"}
		if s.flight.code > 0 {
			a.error = &v1alpha1.APIError{StatusCode: int32(s.flight.code)}
		}
	}
	if s.flight.code == 404 {
		s.openCX = modelPayload{} // somebody has deleted it, which only this answer tells
	}
	told, _ := report(f, decision{step: send}, result{answer: &a, sent: status.Attempt{Hash: s.flight.hash, KeyVersion: fmt.Sprint(s.flight.key)}, silentUntil: testTime.Add(time.Minute)}, testTime)
	s.last, s.lastSent = s.flight.hash, s.flight.payload
	s.resyncDue = s.resyncDue && s.flight.code != 200
	s.flight = modelFlight{}
	s.listing.old = s.listing.old || s.listing.phase == 1
	return s.store(told)
}

// next calls visit with every state that can follow.
func (s modelState) next(visit func(string, modelState)) {
	s.happens(visit)
	switch {
	case !s.running:
		started := s
		started.running = true
		visit("starts", started)
	case s.flight.phase == 1:
		s.arrives(visit)
	case s.flight.phase == 2:
		visit("writes the answer", s.answered())
	default:
		looked, asks, f, d := s.look()
		if looked != s {
			visit(fmt.Sprintf("looks: step %d", d.step), looked)
		}
		if d.step == send {
			f.contact.Generation = s.generation
			visit(asks.act(f))
		}
	}
	if s.running && s.sweeps {
		s.sweep(visit)
	}
	if s.running && s.left.kills > 0 {
		s.killed(visit)
	}
}

// sweep is what a sweep of drift does: it requests a page, also while a request of the
// contact is under way, and moves the watermark when that was compared.
func (s modelState) sweep(visit func(string, modelState)) {
	n := s
	switch s.listing.phase {
	case 0:
		if s.listed || s.isUnlisted() {
			n.listing, n.changed = modelListing{phase: 1, payload: s.openCX}, false
			visit("is listed", n)
		}
	case 2:
		// What was requested while a request was under way is so late that it is listed again.
		n.listed, n.listing = s.changed || s.listed && s.listing.old, modelListing{}
		visit("the watermark moves", n)
	}
}

// isUnlisted says that a sweep of all contacts looks for this one.
func (s modelState) isUnlisted() bool {
	f := s.facts()
	return s.status.drift == v1alpha1.NotVerifiedReason && s.policy != v1alpha1.DriftIgnore && s.status.applied != "" ||
		f.introduces() && s.status.drift != v1alpha1.VerifiedReason && s.status.drift != v1alpha1.FieldsDifferReason
}

// holds is what OpenCX has after a change.
func (s modelState) holds(p modelPayload) modelState {
	if s.openCX != p && s.sweeps { // otherwise updated_at may not move
		s.listed, s.changed = true, true
	}
	s.openCX = p
	return s
}

func (s modelState) killed(visit func(string, modelState)) {
	dead := s
	dead.left.kills--
	dead.modelProcess = modelProcess{}
	visit("is killed", dead)
	if s.flight.phase == 1 {
		dead = dead.holds(s.flight.payload)
		visit("is killed, the request arrives", dead)
	}
}

func (s modelState) arrives(visit func(string, modelState)) {
	answer := func(name string, code int, applied bool) {
		n := s
		n.flight.phase, n.flight.code = 2, code
		if applied {
			n = n.holds(s.flight.payload)
		}
		if code != 200 {
			n.left.failures--
		}
		visit(name, n)
	}
	answer("is accepted", 200, true)
	if s.left.failures > 0 {
		answer("gets 404", 404, false)
		answer("gets 422", 422, false)
		answer("gets 401", 401, false)
		answer("gets 429", 429, false)
		answer("gets 500", 500, false)
		answer("gets 500, but is applied", 500, true)
		answer("gets no answer, but is applied", 0, true)
	}
}

// happens are the events that the process has no part in.
func (s modelState) happens(visit func(string, modelState)) {
	event := func(name string, left func(*modelEvents) *int, change func(*modelState)) {
		n := s
		if *left(&n.left) == 0 {
			return
		}
		*left(&n.left)--
		change(&n)
		visit(name, n)
	}
	event("edit", func(e *modelEvents) *int { return &e.edits }, func(n *modelState) { n.spec, n.generation = 'A'+'B'-n.spec, n.generation+1 })
	event("edit of something else", func(e *modelEvents) *int { return &e.noops }, func(n *modelState) { n.generation++ })
	event("suspend", func(e *modelEvents) *int { return &e.suspends }, func(n *modelState) { n.suspended, n.generation = !n.suspended, n.generation+1 })
	event("wish", func(e *modelEvents) *int { return &e.wishes }, func(n *modelState) { n.wish++ })
	event("another key", func(e *modelEvents) *int { return &e.keys }, func(n *modelState) { n.key++ })
	secrets := func(e *modelEvents) *int { return &e.secrets }
	for _, value := range []byte{'a', 'b'} { // a Secret of the same value is labelled, or created again
		event(fmt.Sprintf("Secret %c", value), secrets, func(n *modelState) { n.secret, n.version = value, n.version+1 })
	}
	event("Secret deleted", secrets, func(n *modelState) { n.secret, n.version = 0, n.version+1 })
	if s.status.synced && !s.resyncDue {
		event("the resync interval passes", func(e *modelEvents) *int { return &e.resyncs }, func(n *modelState) { n.resyncDue = true })
	}
	event("edit in OpenCX", func(e *modelEvents) *int { return &e.others }, func(n *modelState) {
		if n.openCX != (modelPayload{}) {
			*n = n.holds(modelPayload{'X', n.openCX.secret})
		}
	})
	for _, policy := range []v1alpha1.DriftPolicy{"", v1alpha1.DriftReport, v1alpha1.DriftIgnore} {
		event("policy "+string(policy), func(e *modelEvents) *int { return &e.policies }, func(n *modelState) { n.policy, n.generation = policy, n.generation+1 })
	}
	if s.status.next == 1 {
		n := s
		n.status.next = 2
		visit("the backoff passes", n)
	}
	if s.status.repair == 1 {
		n := s
		n.status.repair = 2
		visit("the pause passes", n)
	}
}

// fault says what is wrong with a state in which nothing happens by itself any more;
// "" for nothing, and for a state that goes on.
func (s modelState) fault() string {
	if !s.running || s.flight.phase != 0 {
		return ""
	}
	looked, _, f, d := s.look()
	if looked != s || s.listing.phase != 0 || s.listed || s.sweeps && s.isUnlisted() {
		return ""
	}
	_, payload := s.wanted()
	m := s.status
	isReady := m.ready == string(metav1.ConditionTrue)
	missing := s.secret == 0 && !s.optional
	switch {
	case isReady && d.step == send && d.unsent:
		return "untrue: Ready, and a change is unsent"
	case isReady && d.step != send && missing, isReady && d.step != send && s.openCX != payload && m.drift != v1alpha1.IgnoredReason && m.drift != v1alpha1.FieldsDifferReason:
		return "untrue: Ready, and OpenCX has something else"
	case m.drift == v1alpha1.FieldsDifferReason && s.openCX == payload && d.step == rest && m.next == 0:
		return "untrue: Drifted, and OpenCX has what is declared"
	case m.drift == v1alpha1.VerifiedReason && s.openCX != payload && !d.unsent:
		return "untrue: not Drifted, and OpenCX has something else"
	case d.step == rest && d.at.IsZero() && !isReady, d.step == rest && d.cause == resync && !isReady:
		return "stuck: not Ready, and nothing is due"
	case d.step == hold && !isReady && m.reason != v1alpha1.SuspendedReason:
		return "stuck: suspended, and not said"
	case d.step == block && !missing:
		return "stuck: blocked by nothing"
	case m.observed != s.generation && d.step != send:
		return "untrue: the generation was not seen"
	case d.step == send && m.next == 1 && s.lastSent == payload && f.last.hash == f.hash &&
		f.wish() == m.handled && status.ParseAttempt(m.attempted).KeyVersion == f.organization.KeyVersion:
		return "hot: the backoff runs, and the same values are due again"
	case d.step == send && m.next == 1 && m.attempted == status.Attempt{Hash: f.hash, KeyVersion: f.organization.KeyVersion}.String() && f.wish() == m.handled:
		return "hot: the backoff runs, and what was attempted is due again"
	}
	return ""
}

func TestNoOrderOfEventsMakesStatusUntrueOrStuck(t *testing.T) {
	inSync := modelState{modelWorld: modelWorld{spec: 'A', generation: 1, secret: 'a', version: 1, openCX: modelPayload{'A', 'a'},
		status: modelStatus{applied: "A1", attempted: "A1@0", observed: 1, ready: "True", reason: v1alpha1.SyncedReason, synced: true}},
		modelProcess: modelProcess{running: true, last: "A1", lastSent: modelPayload{'A', 'a'}}}
	isNew := modelState{modelWorld: modelWorld{spec: 'A', generation: 1, secret: 'a', version: 1, status: modelStatus{observed: -1}}, modelProcess: modelProcess{running: true}}
	swept := inSync
	swept.sweeps = true
	introduced := isNew
	introduced.sweeps = true
	introduced.policy, introduced.openCX = v1alpha1.DriftReport, modelPayload{'X', 'a'}
	present := introduced
	present.openCX = modelPayload{'A', 'a'}
	optional := inSync
	optional.optional = true
	for name, tt := range map[string]struct {
		from modelState
		left modelEvents
	}{
		"edits, timeouts and refusals":  {inSync, modelEvents{edits: 5, failures: 3, noops: 1}},
		"kills, edits and suspending":   {inSync, modelEvents{edits: 3, kills: 2, suspends: 2, failures: 2}},
		"a Secret that comes and goes":  {inSync, modelEvents{secrets: 3, edits: 1, failures: 1, kills: 1}},
		"an optional Secret":            {optional, modelEvents{secrets: 3, failures: 1, kills: 1}},
		"wishes and resyncs":            {inSync, modelEvents{wishes: 2, resyncs: 2, failures: 2, kills: 1, edits: 1}},
		"wishes beside a Secret":        {inSync, modelEvents{wishes: 1, secrets: 2, failures: 1, noops: 1}},
		"keys":                          {inSync, modelEvents{keys: 2, failures: 2, edits: 2, kills: 1}},
		"a new contact":                 {isNew, modelEvents{edits: 2, failures: 2, kills: 1, suspends: 1, secrets: 1}},
		"suspending beside a Secret":    {inSync, modelEvents{suspends: 2, secrets: 2, kills: 1, failures: 1}},
		"edits in OpenCX and kills":     {swept, modelEvents{others: 3, kills: 2, edits: 1}},
		"edits in OpenCX and failures":  {swept, modelEvents{others: 2, failures: 2, resyncs: 1}},
		"edits in OpenCX, and a Secret": {swept, modelEvents{others: 2, secrets: 2, kills: 1}},
		"edits in OpenCX, and holds":    {swept, modelEvents{others: 2, suspends: 1, wishes: 1, edits: 1}},
		"policies":                      {swept, modelEvents{policies: 2, others: 2, edits: 1}},
		"a contact that is introduced":  {introduced, modelEvents{policies: 1, others: 1, edits: 1, wishes: 1}},
		"one that is what is declared":  {present, modelEvents{policies: 1, others: 1, edits: 1, kills: 1}},
		"one of each":                   {inSync, modelEvents{edits: 1, suspends: 1, secrets: 1, failures: 1, wishes: 1, resyncs: 1, kills: 1, noops: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := tt.from
			start.left = tt.left
			walk(t, start)
		})
	}
}

// walk visits every state that can follow start and fails at the first fault, with
// the shortest way to it.
func walk(t *testing.T, start modelState) {
	t.Helper()
	type step struct {
		from  modelState
		event string
	}
	came := map[modelState]step{start: {}}
	for queue := []modelState{start}; len(queue) > 0; queue = queue[1:] {
		s := queue[0]
		if fault := s.fault(); fault != "" {
			var way []string
			for at := s; at != start; at = came[at].from {
				way = append([]string{came[at].event}, way...)
			}
			t.Fatalf("%s\nafter %s\nin %+v", fault, strings.Join(way, " | "), s)
		}
		s.next(func(event string, n modelState) {
			if _, known := came[n]; !known {
				came[n] = step{s, event}
				queue = append(queue, n)
			}
		})
	}
	t.Logf("%d states", len(came))
}
