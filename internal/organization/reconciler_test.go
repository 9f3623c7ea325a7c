package organization

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// known are facts of an organization of generation 3 that nothing is wrong with.
func known(changes ...func(*facts)) facts {
	f := facts{
		organization: &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Generation: 3}},
		limit:        budget.Limit{Requests: 100, Window: time.Minute},
		most:         budget.Limit{Requests: 100, Window: time.Minute},
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func show(conditions []metav1.Condition) (text string) {
	for _, conditionType := range []string{v1alpha1.ReadyCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if c := meta.FindStatusCondition(conditions, conditionType); c != nil {
			text += fmt.Sprintf("%s=%s:%s ", c.Type, c.Status, c.Reason)
		}
	}
	return text
}

func TestEveryStateOfAnOrganizationIsTold(t *testing.T) {
	missing := func(f *facts) {
		f.key.problem = &status.Problem{Reason: "APIKeyNotFound", Message: "create it", Missing: true}
	}
	told := func(reason, conditionType string, ago time.Duration) func(*facts) {
		return func(f *facts) {
			f.organization.Status.Conditions = []metav1.Condition{
				{Type: conditionType, Status: "True", Reason: reason, LastTransitionTime: metav1.NewTime(now.Add(-ago))},
			}
		}
	}
	obstacle := func(o budget.Obstacle) func(*facts) {
		return func(f *facts) { f.account.Obstacle, f.account.Until = o, now.Add(90*time.Second) }
	}
	suspend := func(f *facts) { f.organization.Spec.Suspend = true }
	raises := func(window time.Duration) func(*facts) {
		return func(f *facts) { f.raises, f.organization.Spec.RateLimit = true, rate(1000, window) }
	}
	problem := func(reason, message string) func(*facts) {
		return func(f *facts) { f.key.problem = &status.Problem{Reason: reason, Message: message} }
	}
	const (
		refused   = "OpenCX refuses the API key; it is tried again from time to time, and at once when its Secret changes: check the key and the OpenCX subscription"
		unasked   = "OpenCX has accepted none of the contacts that there are with this version of the API key yet"
		suspended = "No request is made while spec.suspend is true"
	)
	for name, tt := range map[string]struct {
		facts         facts
		want, message string
	}{
		"never asked": {known(), "Ready=True:Usable ", unasked},
		"accepted":    {known(func(f *facts) { f.proven = true }), "Ready=True:Usable ", "OpenCX has accepted contacts with this version of the API key"},
		"accepted once, with another key or by a contact that is gone": {known(func(f *facts) { f.organization.Status.LastSyncTime = &metav1.Time{Time: now} }),
			"Ready=True:Usable ", unasked},
		"it raises the limit": {known(raises(45 * time.Second)), "Ready=True:Usable ",
			unasked + "; spec.rateLimit would allow more than the operator's --opencx-rate-limit of 100/1m0s, which applies: at most 50 in 45s are within it"},
		"it raises the limit, of which this instance has a share": {known(raises(time.Hour), func(f *facts) { f.shares, f.limit.Requests = true, 50 }), "Ready=True:Usable ",
			unasked + "; spec.rateLimit would allow more than the operator's --opencx-rate-limit of 100/1m0s, which applies: at most 100 in 1h0m0s are within it"},
		"it raises the limit whatever it declares for its window": {known(raises(500 * time.Millisecond)), "Ready=True:Usable ",
			unasked + "; spec.rateLimit would allow more than the operator's --opencx-rate-limit of 100/1m0s, which applies: not even one in 500ms is within it"},
		"it selects labels that cannot be read": {known(func(f *facts) { f.blind = true }), "Ready=True:Usable ",
			unasked + "; spec.allowedNamespaces.selector has no effect, because this operator is forbidden to list namespaces: contacts of other namespaces are not allowed"},
		"its key cannot be read": {known(func(f *facts) { f.unread = true }), "Ready=Unknown:Waiting Reconciling=True:Waiting ",
			"The API key cannot be read from the API server at present, which is tried again; no request is made until it can"},
		"its key is missing":                        {known(missing), "Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound ", "create it"},
		"its key is missing for almost two minutes": {known(missing, told("APIKeyNotFound", "Reconciling", 119*time.Second)), "Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound ", "create it"},
		"its key is missing for two minutes":        {known(missing, told("APIKeyNotFound", "Reconciling", 2*time.Minute)), "Ready=False:APIKeyNotFound Stalled=True:APIKeyNotFound ", "create it"},
		"its key is missing for longer":             {known(missing, told("APIKeyNotFound", "Stalled", time.Second)), "Ready=False:APIKeyNotFound Stalled=True:APIKeyNotFound ", "create it"},
		"its key is unusable":                       {known(problem("APIKeyInvalid", "correct it")), "Ready=False:APIKeyInvalid Stalled=True:APIKeyInvalid ", "correct it"},
		"its key is another's":                      {known(problem("DuplicateKey", "use that one")), "Ready=False:DuplicateKey Stalled=True:DuplicateKey ", "use that one"},
		"its key is refused":                        {known(obstacle(budget.Unauthorized)), "Ready=False:Unauthorized Stalled=True:Unauthorized ", refused},
		"OpenCX is down": {known(obstacle(budget.Unavailable)), "Ready=False:Unavailable Reconciling=True:Unavailable ",
			"OpenCX fails whatever is asked, or does not answer; it is probed from time to time"},
		"OpenCX answered 429": {known(obstacle(budget.RateLimited)), "Ready=Unknown:RateLimited Reconciling=True:RateLimited ",
			"OpenCX asked for a pause, by a 429 or a Retry-After; no request is made before 2026-01-02T03:05:35Z"},
		"suspended":                                {known(suspend), "Ready=Unknown:Suspended ", suspended},
		"suspended, with a missing key":            {known(suspend, missing), "Ready=Unknown:Suspended ", suspended},
		"a missing key, and an obstacle of before": {known(missing, obstacle(budget.Unauthorized)), "Ready=False:APIKeyNotFound Reconciling=True:APIKeyNotFound ", "create it"},
	} {
		t.Run(name, func(t *testing.T) {
			got := report(tt.facts, now)
			if conditions := show(got.Conditions); conditions != tt.want {
				t.Errorf("conditions = %s, want %s", conditions, tt.want)
			}
			for _, c := range got.Conditions {
				if c.Type != v1alpha1.OvercommittedCondition && c.Message != tt.message {
					t.Errorf("%s says %q, want %q", c.Type, c.Message, tt.message)
				}
				if c.ObservedGeneration != 3 {
					t.Errorf("%s is of generation %d, want 3", c.Type, c.ObservedGeneration)
				}
			}
			if got.ObservedGeneration != 3 {
				t.Errorf("observedGeneration = %d, want 3", got.ObservedGeneration)
			}
		})
	}
}

func TestWhatIsToldOfLooksForDrift(t *testing.T) {
	looks := func(f *facts) { f.looks = true }
	obstacle := func(o budget.Obstacle) func(*facts) { return func(f *facts) { f.account.Obstacle = o } }
	before := func(f *facts) {
		f.organization.Status.Sweep = &v1alpha1.SweepStatus{ContactsSeen: ptr.To[int32](7)}
		f.organization.Status.Conditions = []metav1.Condition{{Type: v1alpha1.DriftCheckedCondition, Status: "True", Reason: v1alpha1.SweptReason}}
	}
	failed := Sweeps{&v1alpha1.SweepStatus{ContactsSeen: ptr.To[int32](8)}, &metav1.Condition{Type: v1alpha1.DriftCheckedCondition, Status: "False", Reason: v1alpha1.SweepFailedReason}}
	for name, tt := range map[string]struct {
		facts facts
		want  string
		seen  int32
	}{
		"nothing new":          {known(before, looks), "True:Swept", 7},
		"something new":        {known(before, func(f *facts) { f.looks, f.sweeps = true, failed }), "False:SweepFailed", 8},
		"nobody looks more":    {known(before, func(f *facts) { f.sweeps = failed }), "", 8},
		"there is no key":      {known(before, looks, func(f *facts) { f.key.problem = &status.Problem{Reason: "APIKeyNotFound"} }), "", 7},
		"it is refused":        {known(before, looks, obstacle(budget.Unauthorized)), "", 7},
		"OpenCX is down":       {known(before, looks, obstacle(budget.Unavailable)), "", 7},
		"OpenCX is waited for": {known(before, looks, obstacle(budget.RateLimited)), "True:Swept", 7},
	} {
		told, got := report(tt.facts, now), ""
		if c := meta.FindStatusCondition(told.Conditions, v1alpha1.DriftCheckedCondition); c != nil {
			got = string(c.Status) + ":" + c.Reason
		}
		if got != tt.want || *told.Sweep.ContactsSeen != tt.seen {
			t.Errorf("%s: DriftChecked is %q with %d contacts seen, want %q with %d", name, got, *told.Sweep.ContactsSeen, tt.want, tt.seen)
		}
	}
}

func TestTheNumbersOfAnOrganization(t *testing.T) {
	at := func(offset time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(offset)} }
	for name, tt := range map[string]struct {
		before, lastSync *metav1.Time
		drains           time.Duration // from now; 0 for no backlog
		want, wantDrains *metav1.Time
	}{
		"nothing has happened":                   {nil, nil, 0, nil, nil},
		"the first contact was accepted":         {nil, at(-time.Second), 0, at(-time.Second), nil},
		"a later one was accepted":               {at(-time.Minute), at(-time.Second), 0, at(-time.Second), nil},
		"the last one that was accepted is gone": {at(-time.Second), at(-time.Minute), 0, at(-time.Second), nil},
		"all of them are gone":                   {at(-time.Second), nil, 0, at(-time.Second), nil},
		"a backlog that is gone in a moment":     {nil, nil, 10 * time.Second, nil, nil},
		// Up to a whole ten seconds, so that it is not written all the time.
		"a backlog":               {nil, nil, 61 * time.Second, nil, at(65 * time.Second)},
		"it, half a second later": {nil, nil, 61500 * time.Millisecond, nil, at(65 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			f := known(func(f *facts) { f.lastSync = tt.lastSync; f.organization.Status.LastSyncTime = tt.before })
			f.organization.Status.DrainsAt = at(time.Hour) // of before
			if tt.drains > 0 {
				f.account.DrainsAt = now.Add(tt.drains)
			}
			total := int32(7)
			f.contacts.Total = &total
			got := report(f, now)
			if !got.LastSyncTime.Equal(tt.want) {
				t.Errorf("lastSyncTime = %v, want %v", got.LastSyncTime, tt.want)
			}
			if !got.DrainsAt.Equal(tt.wantDrains) {
				t.Errorf("drainsAt = %v, want %v", got.DrainsAt, tt.wantDrains)
			}
			if *got.Contacts.Total != 7 {
				t.Errorf("contacts = %v, want 7", *got.Contacts.Total)
			}
		})
	}
}

func TestNobodyKnowsWhenABacklogDrainsWhileRequestsAreStopped(t *testing.T) {
	for obstacle, want := range map[budget.Obstacle]bool{budget.None: true, budget.RateLimited: true, budget.Unavailable: false, budget.Unauthorized: false} {
		told := report(known(func(f *facts) { f.account = budget.State{Obstacle: obstacle, DrainsAt: now.Add(time.Hour)} }), now)
		if (told.DrainsAt != nil) != want {
			t.Errorf("%s: drainsAt is %v", obstacle, told.DrainsAt)
		}
	}
}

func TestAnOrganizationIsOvercommittedWhenResyncsNeedMoreThanHalfOfItsLimit(t *testing.T) {
	const fits = "False ResyncsFit: To send every contact again when its resync interval has passed needs at most half of the limit"
	for name, tt := range map[string]struct {
		resyncs float64
		shares  bool
		want    string
	}{
		"none":                {0, false, fits},
		"half of the limit":   {50, false, fits},
		"half of the share":   {50, true, "False ResyncsFit: To send every contact of this operator again when its resync interval has passed needs at most half of its share of the limit"},
		"more than that":      {51, true, "True TooManyResyncs: To send every contact of this operator again when its resync interval has passed needs 51 requests in 1m0s, of 100 that are its share: use longer intervals, or 0s"},
		"a part of one more":  {50.01, false, "True TooManyResyncs: To send every contact again when its resync interval has passed needs 50.01 requests in 1m0s, of 100 that there are: use longer intervals, or 0s"},
		"more than half":      {51, false, "True TooManyResyncs: To send every contact again when its resync interval has passed needs 51 requests in 1m0s, of 100 that there are: use longer intervals, or 0s"},
		"more than there are": {1000, false, "True TooManyResyncs: To send every contact again when its resync interval has passed needs 1000 requests in 1m0s, of 100 that there are: use longer intervals, or 0s"},
	} {
		told := report(known(func(f *facts) { f.resyncs, f.shares = tt.resyncs, tt.shares }), now)
		for _, c := range told.Conditions {
			if got := fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message); c.Type == v1alpha1.OvercommittedCondition && got != tt.want {
				t.Errorf("%s: %s, want %s", name, got, tt.want)
			}
		}
	}
}
