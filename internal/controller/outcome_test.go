package controller

import (
	"errors"
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
		101: {"Unreachable", soft, quickRetry},
		301: {"Unreachable", soft, quickRetry},
		308: {"Unreachable", soft, quickRetry},
		400: {"Rejected", hard, rejectedCheck},
		401: {"Unauthorized", hard, forbiddenCheck},
		402: {"Unauthorized", hard, forbiddenCheck},
		403: {"Unauthorized", hard, forbiddenCheck},
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
	} {
		got, ok := judge(&opencx.APIError{StatusCode: code}, "jane")
		if !ok || got.reason != want.reason || got.effect != want.effect || got.retry != want.retry || got.answer.StatusCode != int32(code) {
			t.Errorf("%d: %+v, want %+v", code, got, want)
		}
	}
	if got, ok := judge(nil, "jane"); !ok || got.reason != "Synced" || got.effect != accepted || got.answer != nil {
		t.Errorf("no error: %+v", got)
	}
	if got, ok := judge(&opencx.NoAnswerError{}, "jane"); !ok || got.reason != "Unreachable" || got.effect != soft || got.answer != nil {
		t.Errorf("no answer: %+v", got)
	}
	if _, ok := judge(errors.New("encoding"), "jane"); ok {
		t.Error("an error that is no answer has a meaning")
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

func TestTheBackoffStartsAgainWhenTheFailureIsAnotherOne(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tt := range map[string]struct {
		before, after int // status codes
		want          int32
	}{
		"the same again":            {500, 500, 8},
		"another server error":      {500, 503, 8},
		"unreachable and then 500":  {302, 500, 8},
		"an outage and then a 404":  {503, 404, 1},
		"a 404 and then an outage":  {404, 503, 1},
		"rejected and then a 404":   {422, 404, 1},
		"rejected in two ways":      {422, 400, 8},
		"a 429 between two outages": {429, 500, 8},
	} {
		t.Run(name, func(t *testing.T) {
			contact := &v1alpha1.OpenCXContact{}
			before, _ := judge(&opencx.APIError{StatusCode: tt.before}, "jane")
			contact.Status = attempted(contact, "h", before, now, 0, now).status
			contact.Status.ConsecutiveFailures = 7
			after, _ := judge(&opencx.APIError{StatusCode: tt.after}, "jane")
			if got := attempted(contact, "h", after, now, 0, now).status.ConsecutiveFailures; got != tt.want {
				t.Errorf("consecutiveFailures = %d, want %d", got, tt.want)
			}
		})
	}
}
