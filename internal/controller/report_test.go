package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// tells shows what a status says, in one line: the conditions, then what else is not
// as in the status of known.
func tells(s v1alpha1.OpenCXContactStatus) string {
	var parts []string
	for _, conditionType := range []string{v1alpha1.ReadyCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition} {
		if c := meta.FindStatusCondition(s.Conditions, conditionType); c != nil {
			parts = append(parts, fmt.Sprintf("%s=%s", c.Type, c.Status))
		}
	}
	if c := meta.FindStatusCondition(s.Conditions, v1alpha1.ReadyCondition); c != nil {
		parts = append(parts, c.Reason)
	}
	add := func(differs bool, format string, value any) {
		if differs {
			parts = append(parts, fmt.Sprintf(format, value))
		}
	}
	add(s.ObservedGeneration != 7, "observed=%d", s.ObservedGeneration)
	add(s.AppliedHash != "A", "applied=%q", s.AppliedHash)
	add(s.AttemptedHash != "A@1", "attempted=%q", s.AttemptedHash)
	add(s.Organization != "crm/acme", "organization=%q", s.Organization)
	add(s.ConsecutiveFailures != 0, "failures=%d", s.ConsecutiveFailures)
	if s.NextAttemptTime != nil {
		wait := s.NextAttemptTime.Sub(testTime).Truncate(time.Minute)
		if wait > 15*time.Minute {
			wait = wait.Truncate(15 * time.Minute) // without the jitter
		}
		parts = append(parts, "next="+wait.String())
	}
	if s.LastError != nil {
		parts = append(parts, fmt.Sprintf("error=%d", s.LastError.StatusCode))
	}
	if s.LastSyncTime.Equal(status.Time(testTime)) {
		parts = append(parts, "synced now")
	}
	add(s.LastHandledReconcileAt != "", "handled=%s", s.LastHandledReconcileAt)
	return strings.Join(parts, " ")
}

func message(s v1alpha1.OpenCXContactStatus) string {
	return meta.FindStatusCondition(s.Conditions, v1alpha1.ReadyCondition).Message
}

func answered(code int) result {
	a := answer{meaning: meaningOf(code), message: "what OpenCX said"}
	if code >= 300 {
		a.error = &v1alpha1.APIError{StatusCode: int32(code)}
	}
	r := result{answer: &a, sent: status.Attempt{Hash: "A", KeyVersion: "1"}}
	if code == 429 || code == 503 {
		r.silentUntil = testTime.Add(5 * time.Minute)
	}
	return r
}

func TestReportOfAnAnswer(t *testing.T) {
	unsent := func(f *facts) { f.status.AppliedHash = "" } // as the doubt leaves it
	for name, tt := range map[string]struct {
		changes []change
		answer  int
		want    string
		message string
	}{
		"an edit is accepted":                       {[]change{unsent}, 200, "Ready=True Synced synced now", acceptedMessage},
		"a new contact is accepted":                 {[]change{neverSent}, 204, "Ready=True Synced synced now", acceptedMessage},
		"a wish is accepted":                        {[]change{wish}, 200, "Ready=True Synced synced now handled=again", acceptedMessage},
		"an edit gets 429":                          {[]change{unsent}, 429, `Ready=Unknown Reconciling=True RateLimited applied="" next=5m0s error=429`, "what OpenCX said"},
		"an edit gets 500":                          {[]change{unsent}, 500, `Ready=False Reconciling=True ServerError applied="" failures=1 next=0s error=500`, "what OpenCX said"},
		"an edit gets 503 with a time to wait":      {[]change{unsent}, 503, `Ready=False Reconciling=True ServerError applied="" failures=1 next=5m0s error=503`, "what OpenCX said"},
		"an edit gets no answer":                    {[]change{unsent}, 0, `Ready=False Reconciling=True Unreachable applied="" failures=1 next=0s`, "what OpenCX said"},
		"an edit gets 422":                          {[]change{unsent}, 422, `Ready=False Stalled=True Rejected applied="" failures=1 next=1h0m0s error=422`, "what OpenCX said"},
		"an edit gets 404":                          {[]change{unsent}, 404, `Ready=False Stalled=True ContactNotFound applied="" failures=1 next=5m0s error=404`, "what OpenCX said"},
		"an edit gets 401":                          {[]change{unsent}, 401, `Ready=False Stalled=True Unauthorized applied="" failures=1 next=1m0s error=401`, "what OpenCX said"},
		"an edit gets 403":                          {[]change{unsent}, 403, `Ready=False Stalled=True Forbidden applied="" failures=1 next=1m0s error=403`, "what OpenCX said"},
		"a resend gets 500: it stays accepted":      {nil, 500, "Ready=True Synced failures=1 next=0s error=500", resendFailed + "what OpenCX said"},
		"a resend gets 429: it stays accepted":      {nil, 429, "Ready=True Synced next=5m0s error=429", resendFailed + "what OpenCX said"},
		"a resend gets 404: it is accepted no more": {[]change{wish}, 404, `Ready=False Stalled=True ContactNotFound applied="" failures=1 next=5m0s error=404 handled=again`, "what OpenCX said"},
		"a failure of another kind counts anew":     {[]change{unsent, failed(500), func(f *facts) { f.status.ConsecutiveFailures = 9 }}, 404, `Ready=False Stalled=True ContactNotFound applied="" failures=1 next=5m0s error=404`, "what OpenCX said"},
		"a failure whose backoff is spent stalls":   {[]change{failed(500), func(f *facts) { f.status.ConsecutiveFailures = 20 }}, 503, `Ready=False Stalled=True ServerError applied="" failures=21 next=15m0s error=503`, "what OpenCX said"},
		"a wish is cut": {[]change{unsent, func(f *facts) {
			f.contact.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: strings.Repeat("é", 300)}
		}}, 200, "Ready=True Synced synced now handled=" + strings.Repeat("é", 256), acceptedMessage},
	} {
		t.Run(name, func(t *testing.T) {
			told, _ := report(known(tt.changes...), decision{step: send, unsent: true}, answered(tt.answer), testTime)
			if got := tells(told); got != tt.want || message(told) != tt.message {
				t.Errorf("status tells\n%s: %s\nwant\n%s: %s", got, message(told), tt.want, tt.message)
			}
		})
	}
}

func TestReportOfAWait(t *testing.T) {
	soon, late := budget.Wait{At: testTime.Add(time.Second)}, budget.Wait{At: testTime.Add(time.Minute)}
	refused := budget.Wait{At: testTime.Add(time.Minute), Obstacle: budget.Unauthorized}
	failing := budget.Wait{At: testTime.Add(time.Minute), Obstacle: budget.Unavailable}
	unproven := budget.Wait{At: testTime.Add(time.Minute), Obstacle: budget.Unproven}
	silent := budget.Wait{At: testTime.Add(time.Minute), Obstacle: budget.RateLimited}
	unsaved := budget.Wait{At: testTime.Add(time.Minute), Obstacle: budget.Unsaved}
	const waiting = "The change waits for its turn in the request budget, at about "
	for name, tt := range map[string]struct {
		changes []change
		unsent  bool
		wait    budget.Wait
		since   time.Duration // unsent since so long
		want    string
		message string
		next    time.Duration // 0 is never
	}{
		"an edit that waits shortly":                  {[]change{wasEdited}, true, soon, time.Second, "Ready=True Synced", acceptedMessage, 4 * time.Second},
		"an edit whose turn is far away":              {[]change{wasEdited}, true, late, 0, "Ready=Unknown Reconciling=True Waiting", waiting + "2026-01-02T03:05:05Z", 2 * time.Minute},
		"an edit that has waited for five seconds":    {[]change{wasEdited}, true, soon, tellWait, "Ready=Unknown Reconciling=True Waiting", waiting + "2026-01-02T03:04:06Z", 61 * time.Second},
		"an edit while OpenCX refuses the key":        {[]change{wasEdited}, true, refused, 0, "Ready=False Stalled=True Unauthorized", "OpenCX refuses the API key of the organization; it is tried again from time to time. Check the key and the OpenCX subscription", 2 * time.Minute},
		"an edit while OpenCX fails":                  {[]change{wasEdited}, true, failing, 0, "Ready=Unknown Reconciling=True Waiting", "OpenCX fails, or does not answer, for the whole organization; the change waits until a probe succeeds, which is tried again, at about 2026-01-02T03:05:05Z", 2 * time.Minute},
		"an edit with a key that was never accepted":  {[]change{wasEdited}, true, unproven, 0, "Ready=Unknown Reconciling=True Waiting", "OpenCX has not accepted the API key of the organization yet, and all such organizations share a tenth of the limit; the change waits for its turn, at about 2026-01-02T03:05:05Z", 2 * time.Minute},
		"an edit while nothing can be saved":          {[]change{wasEdited}, true, unsaved, 0, "Ready=Unknown Reconciling=True Waiting", "The operator cannot note at present how much it sends, without which it sends nothing, for nobody; the change waits until it can, which is tried again: if this lasts, tell who runs the operator, at about 2026-01-02T03:05:05Z", 2 * time.Minute},
		"a resend that waits shortly":                 {nil, false, soon, 0, "Ready=True Synced", acceptedMessage, 0},
		"a resend whose turn is far away":             {nil, false, late, 0, "Ready=True Synced", resendWaits, 0},
		"a resend while OpenCX refuses the key":       {nil, false, refused, 0, "Ready=True Synced", resendWaits, 0},
		"a retry tells the failure":                   {[]change{failed(500), retryDue}, true, late, time.Minute, `Ready=False Reconciling=True ServerError applied="" failures=1 next=0s error=500`, "it failed", 0},
		"an edit after a failure tells that it waits": {[]change{failed(500), wasEdited}, true, late, 0, `Ready=Unknown Reconciling=True Waiting applied="" failures=1 error=500`, waiting + "2026-01-02T03:05:05Z", 2 * time.Minute},
		"a 429 whose silence is over":                 {[]change{failed(429), retryDue}, true, late, 0, `Ready=Unknown Reconciling=True Waiting applied="" failures=1 next=0s error=429`, waiting + "2026-01-02T03:05:05Z", 2 * time.Minute},
		"a 429 whose silence goes on":                 {[]change{failed(429), retryDue}, true, silent, time.Minute, `Ready=Unknown Reconciling=True RateLimited applied="" failures=1 next=0s error=429`, "it failed", 0},
		"a key that is refused no more":               {[]change{failed(401), retryDue}, true, late, 0, `Ready=Unknown Reconciling=True Waiting applied="" failures=1 next=0s error=401`, waiting + "2026-01-02T03:05:05Z", 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			f := known(tt.changes...)
			told, next := report(f, decision{step: send, unsent: tt.unsent}, result{wait: tt.wait, unsentSince: testTime.Add(-tt.since)}, testTime)
			if got := tells(told); got != tt.want || message(told) != tt.message {
				t.Errorf("status tells\n%s: %s\nwant\n%s: %s", got, message(told), tt.want, tt.message)
			}
			if want := testTime.Add(tt.next); tt.next == 0 && !next.IsZero() || tt.next > 0 && !next.Equal(want) {
				t.Errorf("looks again at %s, want after %s", next, tt.next)
			}
		})
	}
}

func TestAWaitThatIsToldIsCorrected(t *testing.T) {
	saysSo := func(message string) change {
		return func(f *facts) {
			status.Mark(&f.status.Conditions, 7, metav1.ConditionUnknown, v1alpha1.WaitingReason, message, v1alpha1.ReconcilingCondition)
		}
	}
	const (
		turn, ended, long = "The change waits for its turn in the request budget", ", at about 2026-01-02T03:03:05Z", ", at about 2026-01-02T05:04:05Z"
		other             = "The change waits until nothing else of this contactID is under way or claims to be accepted"
	)
	inTwoHours, soon := testTime.Add(2*time.Hour), testTime.Add(time.Second)
	for name, tt := range map[string]struct {
		told  string
		wait  result
		since time.Duration
		want  string
		next  time.Duration // 0 is never
	}{
		"it holds":                               {turn + long, result{wait: budget.Wait{At: inTwoHours}}, time.Hour, turn + long, 2*time.Hour + 6*time.Minute},
		"the time has passed a moment ago":       {turn + ", at about 2026-01-02T03:03:06Z", result{wait: budget.Wait{At: inTwoHours}}, time.Minute, turn + ", at about 2026-01-02T03:03:06Z", time.Minute},
		"the time has passed a minute ago":       {turn + ended, result{wait: budget.Wait{At: inTwoHours}}, time.Minute, turn + long, 2*time.Hour + time.Minute},
		"it is another obstacle now":             {turn + long, result{wait: budget.Wait{At: inTwoHours, Obstacle: budget.Unavailable}}, time.Hour, waitsFor[budget.Unavailable] + long, 2*time.Hour + 6*time.Minute},
		"what could not be read has been":        {unreadMessage, result{wait: budget.Wait{At: inTwoHours}}, 4 * time.Second, turn + long, 2*time.Hour + time.Minute},
		"the same, and its turn comes soon":      {unreadMessage, result{wait: budget.Wait{At: soon}}, 4 * time.Second, unreadMessage, time.Second},
		"another request of it is under way":     {turn + long, result{waitsForAnother: true}, time.Hour, turn + long, 2*time.Hour + 6*time.Minute},
		"it waits for another for a minute":      {turn + ended, result{waitsForAnother: true}, time.Hour, other, 0},
		"it waits for another contact, as told":  {other, result{waitsForAnother: true}, time.Hour, other, 6 * time.Minute},
		"it waits for its turn, and not another": {other, result{wait: budget.Wait{At: inTwoHours}}, time.Hour, turn + long, 2*time.Hour + 6*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			tt.wait.unsentSince = testTime.Add(-tt.since)
			told, next := report(known(wasEdited, saysSo(tt.told)), decision{step: send, unsent: true}, tt.wait, testTime)
			if got := message(told); got != tt.want {
				t.Errorf("status tells\n%s\nwant\n%s", got, tt.want)
			}
			if want := testTime.Add(tt.next); tt.next == 0 && !next.IsZero() || tt.next > 0 && !next.Equal(want) {
				t.Errorf("looks again at %s, want after %s", next, tt.next)
			}
		})
	}
}

func TestReportWithoutAnAttempt(t *testing.T) {
	older := func(f *facts) { f.status.ObservedGeneration = 6 }
	acceptedElsewhere := func(f *facts) { f.status.Organization = "crm/other" }
	wasHeld := func(f *facts) {
		status.Mark(&f.status.Conditions, 6, metav1.ConditionUnknown, v1alpha1.SuspendedReason, "held")
	}
	wasMissingFor := func(d time.Duration) change {
		return func(f *facts) {
			status.Mark(&f.status.Conditions, 7, metav1.ConditionFalse, v1alpha1.ValueNotFoundReason, "no value", v1alpha1.ReconcilingCondition)
			for i := range f.status.Conditions {
				f.status.Conditions[i].LastTransitionTime.Time = testTime.Add(-d)
			}
		}
	}
	const duplicate = "Another OpenCXContact owns this contactID in OpenCXOrganization crm/acme: delete one of the two. Nothing is sent for this one. Capitals, and hyphens of a UUID, make no difference"
	for name, tt := range map[string]struct {
		changes []change
		want    string
		message string
	}{
		"an edit that needs no request":                       {[]change{older}, "Ready=True Synced", acceptedMessage},
		"the same, while a resend is retried":                 {[]change{older, resendFailedSoftly, retryLater}, "Ready=True Synced failures=1 next=1h0m0s error=500", resendFailed + "it failed"},
		"an edit that needs no request, after a refusal":      {[]change{failed(422), retryLater, older}, `Ready=False Stalled=True Rejected applied="" failures=1 next=1h0m0s error=422`, "it failed"},
		"resumed, while a retry is held back":                 {[]change{failed(422), retryLater, wasHeld}, `Ready=False Stalled=True Rejected applied="" failures=1 next=1h0m0s error=422`, "OpenCX answered 422 Unprocessable Entity; correct the manifest"},
		"resumed, while a retry after no answer is held back": {[]change{failed(0), retryLater, wasHeld}, `Ready=False Reconciling=True Unreachable applied="" failures=1 next=1h0m0s`, "No answer came from OpenCX to the last attempt"},
		"suspended":              {[]change{isSuspended, older}, "Ready=True Synced", acceptedMessage},
		"suspended with an edit": {[]change{isSuspended, wasEdited}, "Ready=Unknown Suspended", "The contact has a change that is not sent while spec.suspend is true"},
		"suspended with an edit that was taken back":            {[]change{isSuspended, wasHeld}, "Ready=True Synced", acceptedMessage},
		"suspended by the organization":                         {[]change{orgIsSuspended, wasEdited}, "Ready=Unknown Suspended", "The contact has a change that is not sent while OpenCXOrganization crm/acme is suspended"},
		"suspended with a missing value":                        {[]change{isSuspended, wasEdited, valueIsMissing}, "Ready=Unknown Suspended", "The contact has a change that is not sent while spec.suspend is true"},
		"another owner":                                         {[]change{ownedByAnother}, `Ready=False Stalled=True Duplicate applied="" attempted="" organization=""`, duplicate},
		"another owner, after a failure":                        {[]change{ownedByAnother, failed(500), retryLater}, `Ready=False Stalled=True Duplicate applied="" attempted="" organization=""`, duplicate},
		"no organization":                                       {[]change{orgIsMissing}, `Ready=False Reconciling=True OrganizationNotFound applied="" organization=""`, "no organization"},
		"no organization, and it was accepted in another one":   {[]change{orgIsMissing, acceptedElsewhere}, `Ready=False Reconciling=True OrganizationNotFound applied="" organization=""`, "no organization"},
		"suspended, and it was accepted in another one":         {[]change{isSuspended, wasEdited, acceptedElsewhere}, `Ready=Unknown Suspended applied="" organization=""`, "The contact has a change that is not sent while spec.suspend is true"},
		"a value is missing, a moment ago":                      {[]change{wasEdited, valueIsMissing}, "Ready=False Reconciling=True ValueNotFound", "no value"},
		"a value is missing, for 119 seconds":                   {[]change{wasEdited, valueIsMissing, wasMissingFor(119 * time.Second)}, "Ready=False Reconciling=True ValueNotFound", "no value"},
		"a value is missing, for two minutes":                   {[]change{wasEdited, valueIsMissing, wasMissingFor(2 * time.Minute)}, "Ready=False Stalled=True ValueNotFound", "no value"},
		"a value is missing, after a failure with a backoff":    {[]change{failed(500), retryDue, valueIsMissing}, `Ready=False Reconciling=True ValueNotFound applied="" failures=1 next=0s error=500`, "no value"},
		"what was missing is there again, and nothing was sent": {[]change{wasMissingFor(time.Minute)}, "Ready=True Synced", acceptedMessage},
	} {
		t.Run(name, func(t *testing.T) {
			f := known(tt.changes...)
			told, _ := report(f, decide(f, testTime), result{}, testTime)
			if got := tells(told); got != tt.want || message(told) != tt.message {
				t.Errorf("status tells\n%s: %s\nwant\n%s: %s", got, message(told), tt.want, tt.message)
			}
		})
	}
}

func TestTheDoubtIsWrittenBeforeSomethingElseIsSentThanOpenCXHas(t *testing.T) {
	for name, tt := range map[string]struct {
		changes []change
		want    string // "" when nothing is written
	}{
		"an edit":               {[]change{wasEdited}, `Ready=Unknown Reconciling=True Waiting applied=""`},
		"a resend":              {nil, ""},
		"a first sync":          {[]change{neverSent}, ""},
		"a retry of an edit":    {[]change{failed(500)}, ""},
		"an edit after refusal": {[]change{failed(422), wasEdited}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			told, needed := doubt(known(tt.changes...))
			if needed != (tt.want != "") || needed && (tells(told) != tt.want || message(told) != beingSent) {
				t.Errorf("needed %t: %s: %s", needed, tells(told), message(told))
			}
		})
	}
}

// What is unsent is told within ten seconds, whatever was told before.
func TestNoUnsentChangeIsReadyForLong(t *testing.T) {
	for _, changes := range [][]change{{wasEdited}, {wasEdited, resendFailedSoftly}, {wasEdited, resendFailedSoftly, retryLater}, {wasEdited, wish}} {
		for _, wait := range []budget.Wait{{At: testTime}, {At: testTime, Obstacle: budget.Unauthorized}, {At: testTime, Obstacle: budget.Unavailable}} {
			f := known(append(changes, isLoaded)...)
			told, _ := report(f, decide(f, testTime), result{wait: wait, unsentSince: testTime.Add(-tellWait)}, testTime)
			if stateOf(&told).isReady() {
				t.Errorf("Ready is True over an unsent change: %s", tells(told))
			}
		}
	}
}

func TestReportOfWhatCannotBeRead(t *testing.T) {
	for name, tt := range map[string]struct {
		changes []change
		since   time.Duration // unsent since so long
		want    string
		next    time.Duration // 0 is never
	}{
		"an edit, a moment ago":         {[]change{wasEdited}, time.Second, "Ready=True Synced", 2 * time.Second},
		"an edit, while reads may hang": {[]change{wasEdited}, 4 * time.Second, "Ready=Unknown Reconciling=True Waiting", 0},
		"a new contact":                 {[]change{neverSent}, time.Minute, `Ready=Unknown Reconciling=True Waiting observed=-1 applied="" attempted="" organization=""`, 0},
		"a retry tells the failure":     {[]change{failed(500), retryDue}, time.Minute, `Ready=False Reconciling=True ServerError applied="" failures=1 next=0s error=500`, 0},
		"a resend":                      {[]change{wish}, time.Minute, "Ready=True Synced", 0},
		"suspended with an edit":        {[]change{wasEdited, isSuspended, hasSources}, time.Minute, "Ready=Unknown Reconciling=True Waiting", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := known(tt.changes...)
			d := decide(f, testTime)
			told, next := report(f, d, result{unsentSince: testTime.Add(-tt.since)}, testTime)
			if got := tells(told); d.step != load || got != tt.want {
				t.Errorf("%s: status tells\n%s\nwant\n%s", d.step, got, tt.want)
			}
			if want := testTime.Add(tt.next); tt.next == 0 && !next.IsZero() || tt.next > 0 && !next.Equal(want) {
				t.Errorf("looks again at %s, want after %s", next, tt.next)
			}
		})
	}
}

// The write that ends the wait may not be in the cache when its writer wakes the owner.
func TestAnOwnerThatAwaitsAnotherContactLooksAgain(t *testing.T) {
	saysSo := func(f *facts) {
		status.Mark(&f.status.Conditions, 7, metav1.ConditionUnknown, v1alpha1.WaitingReason, "it waits", v1alpha1.ReconcilingCondition)
	}
	for name, f := range map[string]facts{"with an edit": known(wasEdited, isContested, saysSo), "with a resend": known(wish, isContested)} {
		d := decide(f, testTime)
		_, next := report(f, d, result{waitsForAnother: true, unsentSince: testTime.Add(-time.Minute)}, testTime)
		if d.step != await || !next.Equal(testTime.Add(time.Second)) {
			t.Errorf("%s: step %s, looks again at %s", name, d.step, next)
		}
	}
}
