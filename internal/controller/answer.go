package controller

import (
	"errors"
	"math"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// effect is what an answer tells about the contact in OpenCX.
type effect int

const (
	// accepted: OpenCX has what was sent.
	accepted effect = iota
	// limited: OpenCX looked at nothing; the contact has done nothing wrong.
	limited
	// soft: the failure is expected to pass by itself.
	soft
	// hard: somebody has to act.
	hard
)

// meaning is one row of the table of answers.
type meaning struct {
	// from and to are the status codes of the row.
	from, to int
	reason   string
	effect   effect
	// retry is how the next attempts are spaced; unused when accepted or limited.
	retry backoff
	// hint follows what OpenCX said.
	hint string
	// end tells the budget how the request ended, and after which time OpenCX wants the
	// next one, 0 for when it does not say. It returns before when it must not come.
	end func(s *budget.Slot, retryAfter time.Duration) (until time.Time)
}

// The ends of a slot that take no time.
func endAccepted(s *budget.Slot, _ time.Duration) time.Time     { s.Accepted(); return time.Time{} }
func endRefused(s *budget.Slot, _ time.Duration) time.Time      { s.Refused(); return time.Time{} }
func endUnauthorized(s *budget.Slot, _ time.Duration) time.Time { s.Unauthorized(); return time.Time{} }
func endSilent(s *budget.Slot, _ time.Duration) time.Time       { s.NoAnswer(); return time.Time{} }

var (
	quickRetry     = backoff{5 * time.Second, 15 * time.Minute}
	rejectedCheck  = backoff{time.Hour, 24 * time.Hour}
	notFoundCheck  = backoff{5 * time.Minute, 6 * time.Hour}
	forbiddenCheck = backoff{time.Minute, time.Hour}
)

const (
	keyHint      = "; check the API key of the organization and the OpenCX subscription"
	redirectHint = "; redirects are not followed, because they would carry the API key elsewhere: check --opencx-api-url"
)

// meanings say what every answer means: the first row that fits. No answer is code 0.
var meanings = []meaning{
	{200, 299, v1alpha1.SyncedReason, accepted, backoff{}, "", endAccepted},
	{429, 429, v1alpha1.RateLimitedReason, limited, backoff{}, "", (*budget.Slot).RateLimited},
	{408, 408, v1alpha1.ServerErrorReason, soft, quickRetry, "", (*budget.Slot).Failed},
	{425, 425, v1alpha1.ServerErrorReason, soft, quickRetry, "", (*budget.Slot).Failed},
	{500, 999, v1alpha1.ServerErrorReason, soft, quickRetry, "", (*budget.Slot).Failed},
	{0, 199, v1alpha1.UnreachableReason, soft, quickRetry, "", endSilent},
	{300, 399, v1alpha1.UnreachableReason, soft, quickRetry, redirectHint, (*budget.Slot).Failed},
	{401, 402, v1alpha1.UnauthorizedReason, hard, forbiddenCheck, keyHint, endUnauthorized},
	{403, 403, v1alpha1.ForbiddenReason, hard, forbiddenCheck, "; check that the API key of the organization has the scope contacts:write and may change this contact", (*budget.Slot).Failed},
	{404, 404, v1alpha1.ContactNotFoundReason, hard, notFoundCheck, "; check that spec.contactID exists in the organization", endRefused},
	{400, 499, v1alpha1.RejectedReason, hard, rejectedCheck, "; correct the manifest", endRefused},
}

// meaningOf returns the row of a status code.
func meaningOf(code int) meaning {
	for _, m := range meanings {
		if m.from <= code && code <= m.to {
			return m
		}
	}
	return meaningOf(0)
}

// answer is what came back for one PATCH.
type answer struct {
	meaning
	message string
	// error is OpenCX's, nil when it accepted or gave no answer that is one.
	error *v1alpha1.APIError
	// retryAfter is what OpenCX asks for; 0 when it does not.
	retryAfter time.Duration
}

// answerOf reads the error of a PATCH. ok is false for one that says that nothing
// was sent.
func answerOf(err error) (a answer, ok bool) {
	if err == nil {
		return answer{meaning: meaningOf(http.StatusOK)}, true
	}
	if noAnswer, is := errors.AsType[*opencx.NoAnswerError](err); is {
		return answer{meaning: meaningOf(0), message: "No answer from OpenCX: " + noAnswer.Cause()}, true
	}
	told, is := errors.AsType[*opencx.APIError](err)
	if !is {
		return answer{}, false
	}
	m := meaningOf(told.StatusCode)
	a = answer{meaning: m, message: told.Error() + m.hint}
	if told.StatusCode == http.StatusTooManyRequests || told.StatusCode == http.StatusServiceUnavailable {
		a.retryAfter = told.RetryAfter // of these two, OpenCX as a whole may be meant
	}
	if told.StatusCode >= 100 { // what is less is no HTTP, and no status can hold it
		a.error = &v1alpha1.APIError{StatusCode: int32(told.StatusCode), Message: told.Message, Error: told.Name}
	}
	return a, true
}

// toldBy is the answer that status remembers, with as much of it as is there.
func toldBy(e *v1alpha1.APIError) answer {
	if e == nil {
		return answer{meaning: meaningOf(0), message: "No answer came from OpenCX to the last attempt"}
	}
	a, _ := answerOf(&opencx.APIError{StatusCode: int(e.StatusCode), Message: e.Message, Name: e.Error})
	return a
}

// repeats says that the failure is of the same kind as the one that the contact
// tells of, so that the time between attempts goes on growing. A contact that is
// not found after a long outage is looked for again soon. What fails softly may
// change its form.
func (a answer) repeats(before state) bool {
	switch before.reason {
	case v1alpha1.ServerErrorReason, v1alpha1.UnreachableReason:
		return a.effect == soft
	case v1alpha1.RejectedReason, v1alpha1.ContactNotFoundReason, v1alpha1.UnauthorizedReason, v1alpha1.ForbiddenReason:
		return a.reason == before.reason
	}
	return true
}

// backoff spaces attempts: first, then twice the time before, up to limit.
type backoff struct{ first, limit time.Duration }

// retryJitter is the part that is added to the time between attempts, at the most, so
// that contacts do not return together.
const retryJitter = 0.1

// after is the time between the failures-th failure in a row and the next attempt.
func (b backoff) after(failures int32) (pause time.Duration) {
	steps := wait.Backoff{Duration: b.first, Factor: 2, Jitter: retryJitter, Cap: b.limit, Steps: math.MaxInt}
	for range min(failures, mostSteps) {
		pause = steps.Step()
	}
	return pause
}

// spent says that the time between attempts grows no more.
func (b backoff) spent(failures int32) bool {
	return failures > 0 && b.limit>>(failures-1) <= b.first
}

// mostSteps are more than any backoff has.
const mostSteps = 30
