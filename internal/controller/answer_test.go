package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

func TestEveryAnswerHasOneMeaning(t *testing.T) {
	for code, want := range map[int]struct {
		reason string
		effect effect
		retry  backoff
	}{
		-1:  {"Unreachable", soft, quickRetry},
		42:  {"Unreachable", soft, quickRetry},
		101: {"Unreachable", soft, quickRetry},
		200: {"Synced", accepted, backoff{}},
		204: {"Synced", accepted, backoff{}},
		301: {"Unreachable", soft, quickRetry},
		308: {"Unreachable", soft, quickRetry},
		400: {"Rejected", hard, rejectedCheck},
		401: {"Unauthorized", hard, forbiddenCheck},
		402: {"Unauthorized", hard, forbiddenCheck},
		403: {"Forbidden", hard, forbiddenCheck},
		404: {"ContactNotFound", hard, notFoundCheck},
		405: {"Rejected", hard, rejectedCheck},
		408: {"ServerError", soft, quickRetry},
		409: {"Rejected", hard, rejectedCheck},
		413: {"Rejected", hard, rejectedCheck},
		422: {"Rejected", hard, rejectedCheck},
		425: {"ServerError", soft, quickRetry},
		429: {"RateLimited", limited, backoff{}},
		499: {"Rejected", hard, rejectedCheck},
		500: {"ServerError", soft, quickRetry},
		503: {"ServerError", soft, quickRetry},
		599: {"ServerError", soft, quickRetry},
		999: {"ServerError", soft, quickRetry},
	} {
		got := meaningOf(code)
		if got.reason != want.reason || got.effect != want.effect || got.retry != want.retry {
			t.Errorf("%d: %s, effect %d, retry %v; want %+v", code, got.reason, got.effect, got.retry, want)
		}
		if got.end == nil {
			t.Errorf("%d does not end its slot", code)
		}
	}
}

func TestAnAnswerKeepsWhatOpenCXSaid(t *testing.T) {
	dto := func(code int) *opencx.APIError {
		return &opencx.APIError{StatusCode: code, Message: "no", Name: "Because", RetryAfter: 3 * time.Second}
	}
	for name, tt := range map[string]struct {
		err     error
		reason  string
		message string
		error   *v1alpha1.APIError
	}{
		"nothing was wrong": {nil, "Synced", "", nil},
		"a refusal": {dto(422), "Rejected", "OpenCX answered 422 Because: no; correct the manifest",
			&v1alpha1.APIError{StatusCode: 422, Message: "no", Error: "Because"}},
		"a refused key": {dto(401), "Unauthorized", "OpenCX answered 401 Because: no; check the API key of the organization and the OpenCX subscription",
			&v1alpha1.APIError{StatusCode: 401, Message: "no", Error: "Because"}},
		"a 429":            {dto(429), "RateLimited", "OpenCX answered 429 Because: no", &v1alpha1.APIError{StatusCode: 429, Message: "no", Error: "Because"}},
		"no answer at all": {&opencx.NoAnswerError{}, "Unreachable", "No answer from OpenCX: ", nil},
		"what is no HTTP":  {dto(99), "Unreachable", "OpenCX answered 99", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := answerOf(tt.err)
			if !ok || got.reason != tt.reason {
				t.Fatalf("answer = %+v, %t; want reason %s", got, ok, tt.reason)
			}
			if !strings.HasPrefix(got.message, tt.message) {
				t.Errorf("message = %q, want %q", got.message, tt.message)
			}
			if (got.error == nil) != (tt.error == nil) || got.error != nil && *got.error != *tt.error {
				t.Errorf("error = %+v, want %+v", got.error, tt.error)
			}
			if got.effect == limited && got.retryAfter != 3*time.Second {
				t.Errorf("retryAfter = %s, want 3s", got.retryAfter)
			}
		})
	}
	if _, ok := answerOf(errors.New("encoding")); ok {
		t.Error("an error that says that nothing was sent has a meaning")
	}
}

func TestStatusTellsAnAnswerOnceMore(t *testing.T) {
	told := toldBy(&v1alpha1.APIError{StatusCode: 404, Message: "gone", Error: "Not Found"})
	if want := "OpenCX answered 404 Not Found: gone; check that spec.contactID exists in the organization"; told.message != want || told.reason != "ContactNotFound" {
		t.Errorf("a 404: %s: %s, want %s", told.reason, told.message, want)
	}
	if told := toldBy(nil); told.message != "No answer came from OpenCX to the last attempt" || told.reason != "Unreachable" {
		t.Errorf("no answer: %s: %s", told.reason, told.message)
	}
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	for failures, want := range map[int32]time.Duration{
		1: 5 * time.Second, 2: 10 * time.Second, 3: 20 * time.Second, 7: 320 * time.Second,
		8: 640 * time.Second, 9: 15 * time.Minute, 10: 15 * time.Minute, 31: 15 * time.Minute, 1 << 30: 15 * time.Minute,
	} {
		b := backoff{5 * time.Second, 15 * time.Minute}
		if got := b.after(failures); got < want || got > want+want/10 {
			t.Errorf("after %d failures: %s, want %s and up to 10 %% more", failures, got, want)
		}
		if got := b.spent(failures); got != (want == b.limit) {
			t.Errorf("after %d failures: spent = %t", failures, got)
		}
	}
}

// A status that somebody else wrote may have a next attempt and no failures.
func TestABackoffOfNoFailuresIsNotSpent(t *testing.T) {
	if quickRetry.spent(0) || forbiddenCheck.after(0) != 0 {
		t.Error("without a failure the backoff has begun")
	}
}

func TestTheBackoffStartsAgainWhenTheFailureIsAnotherOne(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after int // status codes
		repeats       bool
	}{
		"the same again":               {500, 500, true},
		"another server error":         {500, 503, true},
		"unreachable and then 500":     {302, 500, true},
		"500 and then unreachable":     {500, 0, true},
		"an outage and then a 404":     {503, 404, false},
		"a 404 and then an outage":     {404, 503, false},
		"a 404 again":                  {404, 404, true},
		"rejected and then a 404":      {422, 404, false},
		"rejected in two ways":         {422, 400, true},
		"a refused key, said twice":    {401, 402, true},
		"a refused key, and then 403":  {401, 403, false},
		"a 429 between two outages":    {429, 500, true},
		"accepted before, and then no": {200, 500, true},
	} {
		before, after := answer{meaning: meaningOf(tt.before)}, answer{meaning: meaningOf(tt.after)}
		if got := after.repeats(state{reason: before.reason}); got != tt.repeats {
			t.Errorf("%s: repeats = %t, want %t", name, got, tt.repeats)
		}
	}
}
