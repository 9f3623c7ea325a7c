package opencx

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// APIError is an answer of OpenCX that is not a 2xx. Its texts are safe to show to
// whoever may see the contact: they are short and repeat neither the key nor any value
// that came from a Secret.
type APIError struct {
	// StatusCode is the HTTP status code.
	StatusCode int
	// Message and Name are "message" and "error" of OpenCX's ErrorDto, "" when the
	// answer has none. When either repeats a value, Message says so and Name is "".
	Message, Name string
	// RetryAfter is how long OpenCX asked to wait (Retry-After, RFC 9110
	// section 10.2.3), counted from the arrival of the answer; 0 when it did
	// not ask, or not intelligibly.
	RetryAfter time.Duration
}

// Error implements error.
func (e *APIError) Error() string {
	text := fmt.Sprintf("OpenCX answered %d", e.StatusCode)
	name := e.Name
	if name == "" {
		name = http.StatusText(e.StatusCode)
	}
	if name != "" {
		text += " " + name
	}
	if e.Message != "" && e.Message != name {
		text += ": " + e.Message
	}
	return text
}

// NoAnswerError says that the request ended without an answer: OpenCX could not
// be reached, did not answer in time, or what came back was not HTTP. OpenCX
// may have acted on the request all the same. Its text is safe to show.
type NoAnswerError struct {
	message string
	cause   error
	unsent  bool
	wasIdle bool
}

// Error implements error.
func (e *NoAnswerError) Error() string { return "no answer from OpenCX: " + e.message }

// Cause is why no answer came, safe to show.
func (e *NoAnswerError) Cause() string { return e.message }

// MayArrive says that the request may have left, so that it may reach OpenCX until
// its call would have timed out. It has not when there was no connection: none could
// be opened, or its TLS handshake failed, or the proxy refused it. On a connection it
// may, however that ended: a proxy may have read it.
func (e *NoAnswerError) MayArrive() bool { return !e.unsent }

// ConnectionWasIdle says that the request went out on a kept connection on which
// nothing was under way, and that this ended without a byte of an answer, and not by
// a timeout or by the caller. Most likely the server closed it as unused at that
// moment (RFC 9112 section 9.5), so that it tells nothing of the request. The next
// call uses a new connection, so it is not true of two calls in a row.
func (e *NoAnswerError) ConnectionWasIdle() bool { return e.wasIdle }

// Unwrap returns the cause, whose text is not safe to show.
func (e *NoAnswerError) Unwrap() error { return e.cause }

// newAPIError reads what can be known from an answer that is not a 2xx. body
// may be cut short, empty, or no JSON at all.
func newAPIError(status int, header http.Header, body []byte, private []Secret, now time.Time) *APIError {
	e := &APIError{StatusCode: status, RetryAfter: retryAfter(header.Get("Retry-After"), now)}
	var dto struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
	}
	// Anything but an ErrorDto, such as a proxy's HTML page, has no text that
	// is worth showing to a person.
	if json.Unmarshal(body, &dto) == nil {
		e.Message, e.Name = clean(text(dto.Message), private), clean(text(dto.Error), private)
	}
	// A value may be cut into two, which stand beside each other in both orders.
	if e.Message == withheld || e.Name == withheld || repeats(e.Name+" "+e.Message, private) || repeats(e.Message+" "+e.Name, private) {
		e.Message, e.Name = withheld, ""
	}
	return e
}

// text reads a JSON string, or a list of them, which some validation layers
// use for "message". Anything else is "".
func text(raw json.RawMessage) string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one
	}
	var many []string
	if json.Unmarshal(raw, &many) == nil {
		return strings.Join(many, "; ")
	}
	return ""
}

// retryAfter reads a Retry-After header in seconds or as a date. A time that is
// absent, malformed or past is 0.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	// 32 bits of seconds are 136 years and cannot overflow a Duration.
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
