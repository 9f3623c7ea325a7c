package drift

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// meaning is what an answer means for the sweep that asked.
type meaning int

const (
	usable    meaning = iota // it is a page of the list
	limited                  // OpenCX wants a pause, which the budget keeps
	forbidden                // the key may not list contacts
	refused                  // the request itself is at fault: perhaps its cursor is too old
	broken                   // it may be another one the next time
)

// answer is what came back for one request.
type answer struct {
	meaning meaning
	text    string // for people, without what OpenCX said: it may speak of contacts
	// end ends the slot. It returns before when OpenCX wants no other request, zero when
	// it does not say.
	end func(slot *budget.Slot) (until time.Time)
}

// ended is an end after which OpenCX does not say when it wants the next request.
func ended(end func(*budget.Slot)) func(*budget.Slot) time.Time {
	return func(slot *budget.Slot) time.Time {
		end(slot)
		return time.Time{}
	}
}

// failed is an end after which OpenCX wants the next request after a time, 0 when it does
// not say.
func failed(retryAfter time.Duration) func(*budget.Slot) time.Time {
	return func(slot *budget.Slot) time.Time { return slot.Failed(retryAfter) }
}

// answerOf reads the error of ListContacts.
func answerOf(err error) answer {
	told, is := errors.AsType[*opencx.APIError](err)
	noAnswer, none := errors.AsType[*opencx.NoAnswerError](err)
	_, noPage := errors.AsType[*opencx.PageError](err)
	switch {
	case err == nil:
		return answer{usable, "a page", ended((*budget.Slot).Accepted)}
	case none && noAnswer.ConnectionWasIdle():
		return answer{broken, "no answer came from OpenCX", ended((*budget.Slot).Lost)}
	case none:
		return answer{broken, "no answer came from OpenCX", ended((*budget.Slot).NoAnswer)}
	case noPage:
		return answer{broken, err.Error(), failed(0)}
	case !is:
		return answer{broken, "the request could not be made", ended((*budget.Slot).Unused)}
	}
	a := answer{text: fmt.Sprintf("OpenCX answered %d", told.StatusCode), end: ended((*budget.Slot).Refused)}
	switch code := told.StatusCode; {
	case code == http.StatusTooManyRequests:
		a.meaning, a.end = limited, func(slot *budget.Slot) time.Time { return slot.RateLimited(told.RetryAfter) }
	case code == http.StatusUnauthorized, code == http.StatusPaymentRequired:
		a.meaning, a.end = broken, ended((*budget.Slot).Unauthorized)
	case code == http.StatusForbidden:
		a.meaning = forbidden
	case code == http.StatusServiceUnavailable:
		a.meaning, a.end = broken, failed(told.RetryAfter)
	case code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooEarly:
		a.meaning = refused
	default:
		a.meaning, a.end = broken, failed(0)
	}
	return a
}
