package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// a change of facts, for tables.
type change func(*facts)

// known returns the facts of a contact that OpenCX accepted an hour ago, and which
// is sent again every day; changed.
func known(changes ...change) facts {
	f := facts{
		contact:      &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: "u", Generation: 7}},
		organization: organization.Organization{Name: types.NamespacedName{Namespace: "crm", Name: "acme"}, KeyVersion: "1", ResyncInterval: 24 * time.Hour},
		title:        ownership.Title{Owns: true},
		hash:         "A",
		status: v1alpha1.OpenCXContactStatus{
			ObservedGeneration: 7,
			AppliedHash:        "A",
			AttemptedHash:      "A@1",
			Organization:       "crm/acme",
			LastSyncTime:       status.Time(testTime.Add(-time.Hour)),
			LastAttemptTime:    status.Time(testTime.Add(-time.Hour)),
		},
	}
	status.Mark(&f.status.Conditions, 7, metav1.ConditionTrue, v1alpha1.SyncedReason, acceptedMessage)
	for _, change := range changes {
		change(&f)
	}
	f.state = stateOf(&f.status)
	f.contact.Status = f.status
	return f
}

// The changes, by what happened.
var (
	neverSent = func(f *facts) { f.status = v1alpha1.OpenCXContactStatus{ObservedGeneration: -1} }
	wasEdited = func(f *facts) { f.hash = "B" }
	wish      = func(f *facts) {
		f.contact.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: "again"}
	}
	isSuspended    = func(f *facts) { f.contact.Spec.Suspend = true }
	orgIsSuspended = func(f *facts) { f.organization.Suspended = true }
	orgIsMissing   = func(f *facts) {
		f.organization.Problem = &status.Problem{Reason: v1alpha1.OrganizationNotFoundReason, Message: "no organization", Missing: true}
	}
	ownedByAnother = func(f *facts) { f.title = ownership.Title{} }
	isLoaded       = func(f *facts) { f.loaded = &loaded{key: keyOf(f.organization.KeyVersion)} }
	isContested    = func(f *facts) {
		if f.loaded == nil || f.loaded.problem == nil {
			f.loaded = &loaded{key: keyOf(f.organization.KeyVersion), contested: true}
		}
	}
	valueIsMissing = func(f *facts) {
		f.sourced, f.loaded = true, &loaded{problem: &status.Problem{Reason: v1alpha1.ValueNotFoundReason, Message: "no value", Missing: true}}
	}
	hasSources = func(f *facts) { f.sourced = true }
	// everySecond was stored before the CRD refused it.
	everySecond = func(f *facts) { f.contact.Spec.ResyncInterval = &metav1.Duration{Duration: time.Second} }
	syncedNow   = func(f *facts) { f.status.LastSyncTime = status.Time(testTime) }
	aDayPassed  = func(f *facts) { f.status.LastSyncTime = status.Time(testTime.Add(-27 * time.Hour)) }
	keyRotated  = func(f *facts) { f.organization.KeyVersion = "2" }
	restarted   = func(f *facts) { f.last = sent{} }
	// retryDue and retryLater are after failed: the backoff has passed, or not.
	retryDue   = func(f *facts) { f.status.NextAttemptTime = status.Time(testTime.Add(-time.Second)) }
	retryLater = func(f *facts) { f.status.NextAttemptTime = status.Time(testTime.Add(time.Hour)) }
	// clockWas is what a clock leaves that was so much ahead.
	clockWas = func(ahead time.Duration) change {
		return func(f *facts) {
			for _, at := range []*metav1.Time{f.status.LastSyncTime, f.status.LastAttemptTime, f.status.NextAttemptTime} {
				if at != nil {
					at.Time = at.Add(ahead)
				}
			}
		}
	}
)

// failed is a PATCH of what is declared that OpenCX answered with code; 0 is no
// answer.
func failed(code int) change {
	return func(f *facts) {
		m := meaningOf(code)
		f.status.AppliedHash, f.status.AttemptedHash = "", f.hash+"@1"
		f.status.ConsecutiveFailures = 1
		if code > 0 {
			f.status.LastError = &v1alpha1.APIError{StatusCode: int32(code)}
		}
		b := book{told: f.status}
		b.tellFailure(answer{meaning: m, message: "it failed"})
		f.status = b.told
	}
}

// resendFailedSoftly is a PATCH of what OpenCX has that came to nothing.
func resendFailedSoftly(f *facts) {
	f.status.ConsecutiveFailures = 1
	f.status.LastError = &v1alpha1.APIError{StatusCode: 500}
	status.Mark(&f.status.Conditions, 7, metav1.ConditionTrue, v1alpha1.SyncedReason, resendFailed+"it failed")
}

// limitedResend is a PATCH of what OpenCX has that met a 429.
func limitedResend(f *facts) {
	f.status.LastError = &v1alpha1.APIError{StatusCode: 429}
	f.status.LastHandledReconcileAt = f.wish()
}

// hasDrifted and wasIgnored are what Drifted says.
func hasDrifted(f *facts) {
	b := book{facts: *f, told: f.status}
	b.found([]string{"email"})
	f.status = b.told
}

func wasIgnored(f *facts) {
	b := book{facts: *f, told: f.status}
	b.drift(metav1.ConditionUnknown, v1alpha1.IgnoredReason, "ignored")
	f.status = b.told
}

func repairedAnHourAgo(times int32) change {
	return func(f *facts) {
		f.status.LastRepairTime, f.status.ConsecutiveRepairs = status.Time(testTime.Add(-time.Hour)), times
	}
}

func policy(policy v1alpha1.DriftPolicy) change {
	return func(f *facts) { f.contact.Spec.DriftPolicy = policy }
}

func neverSynced(f *facts) { f.status.LastSyncTime = nil }

func TestDecide(t *testing.T) {
	now, later, never := testTime, testTime.Add(time.Hour), time.Time{}
	tomorrow := resyncAt("u", testTime.Add(-time.Hour), 24*time.Hour)
	for name, tt := range map[string]struct {
		changes []change
		want    decision
	}{
		"accepted: rests until the resync":                          {[]change{}, decision{rest, resync, tomorrow, false}},
		"accepted, and never sent again":                            {[]change{func(f *facts) { f.organization.ResyncInterval = 0 }}, decision{rest, resync, never, false}},
		"its own interval counts before the organization's":         {[]change{func(f *facts) { f.contact.Spec.ResyncInterval = &metav1.Duration{} }}, decision{rest, resync, never, false}},
		"a shorter interval than is allowed counts as the shortest": {[]change{everySecond, syncedNow}, decision{rest, resync, resyncAt("u", testTime, 5*time.Minute), false}},
		"the resync interval has passed":                            {[]change{aDayPassed, isLoaded}, decision{send, resync, resyncAt("u", testTime.Add(-27*time.Hour), 24*time.Hour), false}},
		"new":                                                       {[]change{neverSent, isLoaded}, decision{send, first, now, true}},
		"edited":                                                    {[]change{wasEdited, isLoaded}, decision{send, edited, now, true}},
		"edited, and not read yet":                                  {[]change{wasEdited}, decision{load, edited, now, true}},
		"a wish":                                                    {[]change{wish, isLoaded}, decision{send, requested, now, false}},
		"a wish that was handled":                                   {[]change{wish, func(f *facts) { f.status.LastHandledReconcileAt = "again" }}, decision{rest, resync, tomorrow, false}},
		"failed, and the backoff runs":                              {[]change{failed(500), retryLater}, decision{rest, retry, later, true}},
		"failed, and the backoff has passed":                        {[]change{failed(500), retryDue, isLoaded}, decision{send, retry, testTime.Add(-time.Second), true}},
		"failed without a time for the next attempt":                {[]change{failed(500), isLoaded}, decision{send, retry, now, true}},
		"refused, restarted and edited":                             {[]change{failed(422), retryLater, wasEdited, restarted, isLoaded}, decision{send, edited, now, true}},
		"refused with a wish: attempted at once":                    {[]change{failed(404), retryLater, wish, isLoaded}, decision{send, requested, now, true}},
		"refused key, and another one":                              {[]change{failed(401), retryLater, keyRotated, isLoaded}, decision{send, keyChanged, now, true}},
		"forbidden, and another key":                                {[]change{failed(403), retryLater, keyRotated, isLoaded}, decision{send, keyChanged, now, true}},
		"refused key, read live as the one that was tried":          {[]change{failed(401), retryLater, keyRotated, func(f *facts) { f.loaded = &loaded{key: keyOf("1")} }}, decision{rest, retry, later, true}},
		"rejected, and another key: that changes nothing":           {[]change{failed(422), retryLater, keyRotated}, decision{rest, retry, later, true}},
		"accepted, and another key":                                 {[]change{keyRotated}, decision{rest, resync, tomorrow, false}},
		"a failed resend obeys its backoff, though a resync is due": {[]change{aDayPassed, resendFailedSoftly, retryLater}, decision{rest, retry, later, false}},
		"a failed resend is repeated":                               {[]change{resendFailedSoftly, retryDue, isLoaded}, decision{send, retry, testTime.Add(-time.Second), false}},
		"a failed resend without a time for the next attempt":       {[]change{resendFailedSoftly, isLoaded}, decision{send, retry, now, false}},
		"after a new owner came up":                                 {[]change{func(f *facts) { f.status.AppliedHash, f.status.AttemptedHash = "", "" }, isLoaded}, decision{send, edited, now, true}},
		"an edit that met a 429":                                    {[]change{failed(429), retryDue, isLoaded}, decision{send, turnedAway, testTime.Add(-time.Second), true}},
		"an edit that met a 429, in the silence":                    {[]change{failed(429), retryLater, restarted}, decision{rest, turnedAway, later, true}},
		"a wish that met a 429":                                     {[]change{wish, limitedResend, retryDue, isLoaded}, decision{send, turnedAway, testTime.Add(-time.Second), false}},
		"a resend that met a 429":                                   {[]change{limitedResend, retryDue, isLoaded}, decision{send, retry, testTime.Add(-time.Second), false}},
		"a first sync that met a 429":                               {[]change{failed(429), retryDue, neverSynced, isLoaded}, decision{send, retry, testTime.Add(-time.Second), true}},
		"failed while the clock was a year ahead":                   {[]change{failed(500), retryLater, clockWas(365 * 24 * time.Hour), isLoaded}, decision{send, retry, now, true}},
		"refused, and the backoff is the longest":                   {[]change{failed(422), func(f *facts) { f.status.NextAttemptTime = status.Time(testTime.Add(26 * time.Hour)) }}, decision{rest, retry, testTime.Add(26 * time.Hour), true}},
		"accepted while the clock was a year ahead":                 {[]change{clockWas(365 * 24 * time.Hour), isLoaded}, decision{send, resync, now, false}},
		"the same, and never sent again":                            {[]change{clockWas(365 * 24 * time.Hour), func(f *facts) { f.contact.Spec.ResyncInterval = &metav1.Duration{} }}, decision{rest, resync, never, false}},
		"accepted while the clock was five seconds ahead":           {[]change{syncedNow, clockWas(5 * time.Second)}, decision{rest, resync, resyncAt("u", testTime.Add(5*time.Second), 24*time.Hour), false}},
		"drifted":                                                         {[]change{hasDrifted, isLoaded}, decision{send, drifted, now, false}},
		"drifted, and not read yet":                                       {[]change{hasDrifted}, decision{load, drifted, now, false}},
		"drifted, once repaired an hour ago":                              {[]change{hasDrifted, repairedAnHourAgo(1), isLoaded}, decision{send, drifted, testTime.Add(-time.Hour + 10*time.Minute), false}},
		"drifted, and repaired often":                                     {[]change{hasDrifted, repairedAnHourAgo(4)}, decision{rest, drifted, testTime.Add(7 * time.Hour), false}},
		"drifted, repaired often, and the resync comes before":            {[]change{hasDrifted, repairedAnHourAgo(4), everySecond, isLoaded}, decision{send, resync, resyncAt("u", testTime.Add(-time.Hour), 5*time.Minute), false}},
		"drifted, repaired while the clock was ahead":                     {[]change{hasDrifted, repairedAnHourAgo(4), func(f *facts) { f.status.LastRepairTime = status.Time(testTime.Add(time.Hour)) }, isLoaded}, decision{send, drifted, now, false}},
		"drifted, and the repair failed":                                  {[]change{hasDrifted, resendFailedSoftly, retryLater}, decision{rest, retry, later, false}},
		"drifted, and suspended":                                          {[]change{hasDrifted, isSuspended}, decision{hold, drifted, now, false}},
		"drifted, which is reported":                                      {[]change{hasDrifted, policy(v1alpha1.DriftReport), aDayPassed}, decision{rest, resync, never, false}},
		"drifted, edited, which is reported":                              {[]change{hasDrifted, policy(v1alpha1.DriftReport), wasEdited, isLoaded}, decision{send, edited, now, true}},
		"ignored, as it was before":                                       {[]change{wasIgnored, policy(v1alpha1.DriftIgnore)}, decision{rest, resync, tomorrow, false}},
		"no longer ignored":                                               {[]change{wasIgnored, isLoaded}, decision{send, drifted, now, false}},
		"no longer ignored, but reported":                                 {[]change{wasIgnored, policy(v1alpha1.DriftReport)}, decision{rest, resync, never, false}},
		"verified and never sent: the resync counts from then":            {[]change{neverSynced, func(f *facts) { f.status.LastVerifiedTime = status.Time(testTime.Add(-time.Hour)) }}, decision{rest, resync, tomorrow, false}},
		"introduced":                                                      {[]change{neverSent, policy(v1alpha1.DriftReport)}, decision{compare, first, now, true}},
		"introduced, with a wish":                                         {[]change{neverSent, policy(v1alpha1.DriftReport), wish, isLoaded}, decision{send, first, now, true}},
		"introduced, and suspended":                                       {[]change{neverSent, policy(v1alpha1.DriftReport), isSuspended}, decision{hold, first, now, true}},
		"suspended":                                                       {[]change{isSuspended}, decision{hold, resync, tomorrow, false}},
		"suspended with an edit":                                          {[]change{isSuspended, wasEdited}, decision{hold, edited, now, true}},
		"suspended with a Secret that moved: the value is looked at":      {[]change{isSuspended, wasEdited, hasSources}, decision{load, edited, now, true}},
		"its organization is suspended":                                   {[]change{orgIsSuspended, wasEdited}, decision{hold, edited, now, true}},
		"accepted, and the organization is gone":                          {[]change{orgIsMissing}, decision{block, resync, tomorrow, false}},
		"a value is missing":                                              {[]change{wasEdited, valueIsMissing}, decision{block, edited, now, true}},
		"another contact owns the contactID":                              {[]change{ownedByAnother}, decision{yield, resync, tomorrow, false}},
		"it owns the contactID, and another one says that it is accepted": {[]change{wasEdited, isLoaded, isContested}, decision{await, edited, now, true}},
		"nothing is due, whatever another one says":                       {[]change{isContested}, decision{rest, resync, tomorrow, false}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(known(tt.changes...), now); got != tt.want {
				t.Errorf("decide() = %+v, want %+v", got, tt.want)
			}
		})
	}
}

// Each state goes before those below it, whichever two meet. All of them meet an
// edit that waits, so that there is something to decide.
func TestEveryPairOfStatesThatCanMeet(t *testing.T) {
	states := []struct {
		name   string
		change change
		want   step
	}{
		{"organization missing", orgIsMissing, block},
		{"another owner", ownedByAnother, yield},
		{"suspended", isSuspended, hold},
		{"organization suspended", orgIsSuspended, hold},
		{"backoff running", func(f *facts) { f.hash = "A"; failed(500)(f); retryLater(f) }, rest},
		{"value missing", valueIsMissing, block},
		{"contested", isContested, await},
		{"backoff passed", func(f *facts) { f.hash = "A"; failed(500)(f); retryDue(f) }, send},
		{"another key", func(f *facts) {
			keyRotated(f)
			if f.loaded.key.Version != "" {
				f.loaded.key.Version = "2"
			}
			f.status.LastError = &v1alpha1.APIError{StatusCode: 401}
		}, send},
		{"a wish", wish, send},
		{"resync due", aDayPassed, send},
		{"drifted", hasDrifted, send},
	}
	for i, upper := range states {
		for _, lower := range states[i+1:] {
			t.Run(upper.name+" × "+lower.name, func(t *testing.T) {
				want := upper.want
				if upper.name == "backoff running" && (lower.name == "a wish" || lower.name == "another key") {
					want = send // these do not wait for a backoff
				}
				if upper.name == "backoff running" && lower.name == "backoff passed" {
					want = lower.want // it is one backoff
				}
				f := known(wasEdited, isLoaded, upper.change, lower.change)
				if got := decide(f, testTime).step; got != want {
					t.Errorf("step = %d, want %d", got, want)
				}
			})
		}
	}
}

func TestResyncsOfContactsThatWereCreatedTogetherAreSpread(t *testing.T) {
	seen := map[time.Time]bool{}
	for _, uid := range []types.UID{"a", "b", "c", "d"} {
		at := resyncAt(uid, testTime, 24*time.Hour)
		if wait := at.Sub(testTime); wait < 21*time.Hour || wait > 27*time.Hour || at != resyncAt(uid, testTime, 24*time.Hour) {
			t.Errorf("%s is sent again after %s", uid, wait)
		}
		seen[at] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d different times for 4 contacts", len(seen))
	}
}

// keyOf is an API key of that version.
func keyOf(version string) organization.Key {
	return organization.Key{Key: budget.Key{Version: version}}
}
