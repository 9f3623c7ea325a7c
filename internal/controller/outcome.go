package controller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// outcome is what the answer to one request means.
type outcome struct {
	reason string
	effect effect
	// message is for a person who can act on it.
	message string
	// retry is how the next attempts are spaced; unused when accepted or limited.
	retry backoff
	// answer is OpenCX's error, nil when it accepted or did not answer.
	answer *v1alpha1.APIError
}

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

// backoff spaces attempts: first, then twice the time before, up to limit.
type backoff struct{ first, limit time.Duration }

var (
	quickRetry     = backoff{5 * time.Second, 15 * time.Minute}
	rejectedCheck  = backoff{time.Hour, 24 * time.Hour}
	notFoundCheck  = backoff{5 * time.Minute, 6 * time.Hour}
	forbiddenCheck = backoff{time.Minute, time.Hour}
)

// after is the time between the failures-th failure in a row and the next
// attempt, with up to 10 % added so that contacts do not return together.
func (b backoff) after(failures int32) time.Duration {
	wait := b.limit
	if !b.spent(failures) {
		wait = b.first << (failures - 1)
	}
	return wait + rand.N(wait/10)
}

// spent says that the time between attempts grows no more.
func (b backoff) spent(failures int32) bool {
	return failures > 30 || b.first<<(failures-1) >= b.limit
}

// repeats says that the failure goes on as status tells it, so that the time
// between attempts goes on growing. A contact that is not found after a long
// outage is looked for again soon. What fails softly may change its form.
func (o outcome) repeats(status *v1alpha1.OpenCXContactStatus) bool {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition)
	if ready == nil {
		return true
	}
	switch ready.Reason {
	case v1alpha1.ServerErrorReason, v1alpha1.UnreachableReason:
		return o.effect == soft
	case v1alpha1.RejectedReason, v1alpha1.ContactNotFoundReason, v1alpha1.UnauthorizedReason:
		return o.reason == ready.Reason
	}
	return true
}

// judge says what the error of an attempt means. This is the only place that
// knows. ok is false for an error that does not come from an attempt.
func judge(err error, contactID string) (o outcome, ok bool) {
	if err == nil {
		return outcome{reason: v1alpha1.SyncedReason, effect: accepted}, true
	}
	if noAnswer, is := errors.AsType[*opencx.NoAnswerError](err); is {
		return outcome{reason: v1alpha1.UnreachableReason, effect: soft, retry: quickRetry, message: upperFirst(noAnswer.Error())}, true
	}
	answer, is := errors.AsType[*opencx.APIError](err)
	if !is {
		return outcome{}, false
	}
	o = outcome{
		message: answer.Error(),
		answer:  &v1alpha1.APIError{StatusCode: int32(answer.StatusCode), Message: answer.Message, Error: answer.Name},
	}
	switch code := answer.StatusCode; {
	case code == http.StatusTooManyRequests:
		o.reason, o.effect = v1alpha1.RateLimitedReason, limited
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		o.reason, o.effect, o.retry = v1alpha1.ServerErrorReason, soft, quickRetry
	case code < 400:
		o.reason, o.effect, o.retry = v1alpha1.UnreachableReason, soft, quickRetry
		o.message += "; redirects are not followed, because they would carry the API key elsewhere: check --opencx-api-url"
	case code == http.StatusNotFound:
		o.reason, o.effect, o.retry = v1alpha1.ContactNotFoundReason, hard, notFoundCheck
		o.message += fmt.Sprintf("; check that contactID %s exists in the organization of the API key", contactID)
	case code == http.StatusUnauthorized, code == http.StatusPaymentRequired, code == http.StatusForbidden:
		o.reason, o.effect, o.retry = v1alpha1.UnauthorizedReason, hard, forbiddenCheck
		o.message += "; check the API key, its contacts:write scope and the OpenCX subscription"
	default:
		o.reason, o.effect, o.retry = v1alpha1.RejectedReason, hard, rejectedCheck
		o.message += "; correct the manifest"
	}
	return o, true
}
