package opencx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	testID    = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
	testToken = "ocx_live_4f9d1c7ab2"
)

func testKey(t *testing.T) APIKey {
	t.Helper()
	key, err := NewAPIKey(testToken)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// clientOf returns a client of a server that answers with handler, below a path
// prefix, as behind a gateway.
func clientOf(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return clientAt(t, server.URL+"/gateway/")
}

func clientAt(t *testing.T, address string) *Client {
	t.Helper()
	base, err := ParseBaseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	return NewClient(base, "opencx-operator/test", nil)
}

func TestUpdateContactSendsExactlyWhatWasSet(t *testing.T) {
	large := strings.Repeat("0123456789", 10_000)
	for name, tt := range map[string]struct {
		contact Contact
		want    string
	}{
		"nothing":         {Contact{}, `{"contact":{}}`},
		"email":           {Contact{Email: secret("jane@example.com")}, `{"contact":{"email":"jane@example.com"}}`},
		"phone":           {Contact{Phone: secret("+12025550123")}, `{"contact":{"phone":"+12025550123"}}`},
		"name":            {Contact{Name: secret("Jane Doe")}, `{"contact":{"name":"Jane Doe"}}`},
		"custom data":     {Contact{CustomData: map[string]Secret{"b": {"2"}, "a": {"1"}}}, `{"contact":{"custom_data":{"a":"1","b":"2"}}}`},
		"empty strings":   {Contact{Phone: secret(""), Name: secret("")}, `{"contact":{"phone":"","name":""}}`},
		"empty maps":      {Contact{CustomData: map[string]Secret{}, HTTPActionOverrides: &HTTPActionOverrides{Headers: map[string]Secret{}}}, `{"contact":{"custom_data":{},"http_action_overrides":{"headers":{}}}}`},
		"empty overrides": {Contact{HTTPActionOverrides: &HTTPActionOverrides{}}, `{"contact":{"http_action_overrides":{}}}`},
		"all overrides": {Contact{HTTPActionOverrides: &HTTPActionOverrides{
			QueryParams: map[string]Secret{"q": {"1"}}, PathParams: map[string]Secret{"p": {"2"}},
			BodyParams: map[string]Secret{"b": {"3"}}, Headers: map[string]Secret{"X-Tenant": {"acme"}},
		}}, `{"contact":{"http_action_overrides":{"query_params":{"q":"1"},"path_params":{"p":"2"},"body_params":{"b":"3"},"headers":{"X-Tenant":"acme"}}}}`},
		"unicode, emoji, quotes and newlines": {Contact{Name: secret("Zoë \"Z\" 😀\n<b>&\\")}, `{"contact":{"name":"Zoë \"Z\" 😀\n<b>&\\"}}`},
		"a value of 100 kB":                   {Contact{CustomData: map[string]Secret{"bio": {large}}}, `{"contact":{"custom_data":{"bio":"` + large + `"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var got []byte
			client := clientOf(t, func(w http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) })
			if err := client.UpdateContact(t.Context(), testKey(t), testID, tt.contact.Payload()); err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("body = %.300s, want %.300s", got, tt.want)
			}
		})
	}
}

func TestUpdateContactSendsTheRequestOfThePage(t *testing.T) {
	var got *http.Request
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) { got = r })
	if err := client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload()); err != nil {
		t.Fatal(err)
	}
	if want := "PATCH /gateway/contacts/" + testID; got.Method+" "+got.RequestURI != want {
		t.Errorf("request = %s %s, want %s", got.Method, got.RequestURI, want)
	}
	for header, want := range map[string]string{
		"Authorization": "Bearer " + testToken,
		"Content-Type":  "application/json",
		"User-Agent":    "opencx-operator/test",
	} {
		if got := got.Header.Get(header); got != want {
			t.Errorf("%s = %q, want %q", header, got, want)
		}
	}
}

func TestAnIDReachesNoOtherPath(t *testing.T) {
	for id, want := range map[string]string{
		"a.b_c~d-e":          "/gateway/contacts/a.b_c~d-e",
		"../keys":            "/gateway/contacts/..%2Fkeys",
		"a/b":                "/gateway/contacts/a%2Fb",
		"a?admin=true":       "/gateway/contacts/a%3Fadmin=true",
		"a#b":                "/gateway/contacts/a%23b",
		"%2e%2e":             "/gateway/contacts/%252e%252e",
		"a b\r\nX-Evil: yes": "/gateway/contacts/a%20b%0D%0AX-Evil:%20yes",
		"...":                "/gateway/contacts/...",
	} {
		var got string
		client := clientOf(t, func(w http.ResponseWriter, r *http.Request) { got = r.RequestURI })
		if err := client.UpdateContact(t.Context(), testKey(t), id, Contact{}.Payload()); err != nil || got != want {
			t.Errorf("id %q: requested %q, error %v, want %q", id, got, err, want)
		}
	}
	for _, id := range []string{"", ".", ".."} {
		requests := 0
		client := clientOf(t, func(http.ResponseWriter, *http.Request) { requests++ })
		if err := client.UpdateContact(t.Context(), testKey(t), id, Contact{}.Payload()); err == nil || requests != 0 {
			t.Errorf("id %q: error %v and %d requests, want an error and none", id, err, requests)
		}
	}
}

func TestEvery2xxIsSuccess(t *testing.T) {
	for _, status := range []int{200, 201, 202, 204, 299} {
		for _, body := range []string{"", "{}", "<html>", strings.Repeat("x", 1<<20)} {
			client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			})
			if err := client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload()); err != nil {
				t.Errorf("status %d with a body of %d bytes: %v", status, len(body), err)
			}
		}
	}
}

func TestEveryOtherAnswerIsATypedError(t *testing.T) {
	for name, tt := range map[string]struct {
		status     int
		retryAfter string
		body       string
		want       APIError
		text       string
	}{
		"an ErrorDto":                          {500, "", `{"statusCode":500,"message":"boom","error":"Internal Server Error"}`, APIError{500, "boom", "Internal Server Error", 0}, "OpenCX answered 500 Internal Server Error: boom"},
		"an ErrorDto that says the same twice": {401, "", `{"statusCode":401,"message":"Unauthorized","error":"Unauthorized"}`, APIError{401, "Unauthorized", "Unauthorized", 0}, "OpenCX answered 401 Unauthorized"},
		"a list of messages":                   {400, "", `{"message":["phone must be a string","name is long"],"error":"Bad Request"}`, APIError{400, "phone must be a string; name is long", "Bad Request", 0}, "OpenCX answered 400 Bad Request: phone must be a string; name is long"},
		"no body":                              {404, "", "", APIError{404, "", "", 0}, "OpenCX answered 404 Not Found"},
		"HTML":                                 {502, "", "<html>nginx</html>", APIError{502, "", "", 0}, "OpenCX answered 502 Bad Gateway"},
		"wrong types":                          {422, "", `{"statusCode":"x","message":7,"error":{}}`, APIError{422, "", "", 0}, "OpenCX answered 422 Unprocessable Entity"},
		"an unknown status":                    {599, "", "", APIError{599, "", "", 0}, "OpenCX answered 599"},
		"Retry-After in seconds":               {429, "17", "", APIError{429, "", "", 17 * time.Second}, "OpenCX answered 429 Too Many Requests"},
		"Retry-After in the past":              {429, "Mon, 02 Jan 2006 15:04:05 GMT", "", APIError{429, "", "", 0}, "OpenCX answered 429 Too Many Requests"},
		"Retry-After as nonsense":              {429, "soon", "", APIError{429, "", "", 0}, "OpenCX answered 429 Too Many Requests"},
		"Retry-After negative":                 {503, "-5", "", APIError{503, "", "", 0}, "OpenCX answered 503 Service Unavailable"},
		"a redirect":                           {307, "", "", APIError{307, "", "", 0}, "OpenCX answered 307 Temporary Redirect"},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				if tt.retryAfter != "" {
					w.Header().Set("Retry-After", tt.retryAfter)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			err := client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload())
			got, ok := errors.AsType[*APIError](err)
			if !ok || *got != tt.want || got.Error() != tt.text {
				t.Errorf("error = %#v (%v), want %#v (%s)", err, err, tt.want, tt.text)
			}
		})
	}
}

func TestRetryAfterAsADate(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if got := retryAfter("Fri, 02 Jan 2026 03:05:05 GMT", now); got != time.Minute {
		t.Errorf("retryAfter = %s, want 1m", got)
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var elsewhere, requests int
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
		client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			http.Redirect(w, r, other.URL, status)
		})
		err := client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload())
		if got, ok := errors.AsType[*APIError](err); !ok || got.StatusCode != status || requests != 1 || elsewhere != 0 {
			t.Errorf("%d: error %v, %d requests, %d of them elsewhere, want 1 and 0", status, err, requests, elsewhere)
		}
		other.Close()
	}
}

func TestNoAnswerIsATypedErrorAndNotRetried(t *testing.T) {
	t.Run("connection refused", func(t *testing.T) {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		err = clientAt(t, "http://"+address).UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload())
		if _, ok := errors.AsType[*NoAnswerError](err); !ok || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("connection closed instead of an answer", func(t *testing.T) {
		var requests atomic.Int32
		client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			connection, _, _ := w.(http.Hijacker).Hijack()
			_ = connection.Close()
		})
		err := client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload())
		if _, ok := errors.AsType[*NoAnswerError](err); !ok || requests.Load() != 1 {
			t.Errorf("error = %v after %d requests, want a NoAnswerError after 1", err, requests.Load())
		}
	})
	t.Run("the caller's deadline", func(t *testing.T) {
		release := make(chan struct{})
		client := clientOf(t, func(w http.ResponseWriter, r *http.Request) { <-release })
		defer close(release)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := client.UpdateContact(ctx, testKey(t), testID, Contact{}.Payload())
		if _, ok := errors.AsType[*NoAnswerError](err); !ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want a NoAnswerError that is DeadlineExceeded", err)
		}
	})
}

func TestConnectionsAreKept(t *testing.T) {
	connections := map[string]bool{}
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr] = true
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"message":"boom"}`)
	})
	for range 5 {
		_ = client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload())
	}
	if len(connections) != 1 {
		t.Errorf("5 requests used %d connections, want 1", len(connections))
	}
}

func TestTextsOfAnswersAreCutAndWithheld(t *testing.T) {
	contact := Contact{Email: secret("jane@example.com"), Private: []Secret{{"Bearer s3cr3t-t0ken"}, {"A1"}}}
	for name, tt := range map[string]struct{ message, error, want, wantError string }{
		"text that is not ours":          {"phone is malformed", "Unprocessable Entity", "phone is malformed", "Unprocessable Entity"},
		"a plain value":                  {"jane@example.com is taken", "Conflict", "jane@example.com is taken", "Conflict"},
		"control characters":             {"x\x00b\nc\u202ed", "", "x b c d", ""},
		"a long text":                    {strings.Repeat("é", 300), "", strings.Repeat("é", 250) + "…", ""},
		"the key":                        {"bad key " + testToken, "Unauthorized", withheld, ""},
		"a value from a Secret":          {"token s3cr3t-t0ken expired", "Unauthorized", withheld, ""},
		"a value in the name":            {"it expired", "s3cr3t-t0ken", withheld, ""},
		"a value in the name and behind": {"k3n has expired", "s3cr3t-t0", withheld, ""},
		"a value in front of the name":   {"it is s3cr3t-", "t0ken", withheld, ""},
		"a short value from a Secret":    {"tier A1 is unknown", "Unprocessable Entity", withheld, ""},
		"a value that begins at the cut": {strings.Repeat("- ", 248) + "s3cr3t-t0ken", "", withheld, ""},
	} {
		t.Run(name, func(t *testing.T) {
			body, _ := json.Marshal(map[string]string{"message": tt.message, "error": tt.error})
			client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, _ = w.Write(body)
			})
			got, ok := errors.AsType[*APIError](client.UpdateContact(t.Context(), testKey(t), testID, contact.Payload()))
			if !ok || got.Message != tt.want || got.Name != tt.wantError {
				t.Errorf("error = %+v, want %q and %q", got, tt.want, tt.wantError)
			}
		})
	}
}

func TestParseBaseURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.open.cx":              "https://api.open.cx",
		"https://api.open.cx/":             "https://api.open.cx",
		"https://gw.example.com/open/cx//": "https://gw.example.com/open/cx",
		"http://127.0.0.1:8080":            "http://127.0.0.1:8080",
		"http://[::1]:8080/x":              "http://[::1]:8080/x",
		"http://localhost:1":               "http://localhost:1",
	} {
		if got, err := ParseBaseURL(in); err != nil || got.String() != want {
			t.Errorf("ParseBaseURL(%q) = %v, %v, want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                               "names no host",
		"api.open.cx":                    "names no host",
		"https://":                       "names no host",
		"http://api.open.cx":             "in the clear",
		"http://127.0.0.1.example.com":   "in the clear",
		"ftp://api.open.cx":              "use https",
		"https://u:secretpw@api.open.cx": "credentials",
		"https://api.open.cx?a=b":        "query",
		"https://api.open.cx/#a":         "fragment",
		"https://api.open.cx:secretpw":   "not a URL",
	} {
		if _, err := ParseBaseURL(in); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secretpw") {
			t.Errorf("ParseBaseURL(%q) error = %v, want one about %q", in, err, want)
		}
	}
}

// The transport repeats a request by itself whose body it can have again.
func TestTheTransportCannotRepeatARequest(t *testing.T) {
	base, err := ParseBaseURL("https://api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(base, "test", nil)
	for _, body := range []string{"", "{}"} {
		request, err := client.newRequest(t.Context(), http.MethodPatch, base, testKey(t), body)
		if err != nil || request.GetBody != nil || request.Body == http.NoBody {
			t.Errorf("the body %q can be had again, error %v", body, err)
		}
	}
}

func TestAPIKey(t *testing.T) {
	t.Run("shows nothing in any form", func(t *testing.T) {
		key := testKey(t)
		marshalled, _ := json.Marshal(map[string]any{"key": key, "pointer": &key})
		var logged strings.Builder
		slog.New(slog.NewTextHandler(&logged, nil)).Info("log", "key", key)
		for _, shown := range []string{
			fmt.Sprint(key), fmt.Sprintf("%s %v %+v %#v %q %x %d", key, key, key, key, key, key, key),
			fmt.Sprintf("%+v", struct{ K APIKey }{key}), fmt.Sprintf("%v", &key), string(marshalled), logged.String(),
		} {
			if strings.Contains(shown, testToken) || strings.Contains(shown, fmt.Sprintf("%x", testToken)) {
				t.Errorf("the key shows in %s", shown)
			}
		}
	})
	t.Run("is told apart by content", func(t *testing.T) {
		same, _ := NewAPIKey(testToken + "\r\n")
		other, _ := NewAPIKey("another")
		if testKey(t) != same || same == other {
			t.Error("keys are not told apart by content")
		}
	})
	t.Run("is refused when no header can carry it", func(t *testing.T) {
		for value, want := range map[string]error{
			"": ErrAPIKeyEmpty, "\n": ErrAPIKeyEmpty,
			"two\nlines": ErrAPIKeyInvalid, "a b": ErrAPIKeyInvalid, "a\x00": ErrAPIKeyInvalid, "schlüssel": ErrAPIKeyInvalid, "a\n\n": ErrAPIKeyInvalid,
		} {
			if _, err := NewAPIKey(value); !errors.Is(err, want) {
				t.Errorf("NewAPIKey(%q) error = %v, want %v", value, err, want)
			}
		}
	})
}

func secret(value string) *Secret { return &Secret{value} }

func TestASecretShowsNowhere(t *testing.T) {
	key := testKey(t)
	contact := Contact{Email: secret("jane@example.com"), CustomData: map[string]Secret{"plan": {"enterprise"}}, HTTPActionOverrides: &HTTPActionOverrides{Headers: map[string]Secret{"a": {"s3cr3t-t0ken"}}}}
	asJSON, err := json.Marshal(contact)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "contact", contact, "key", key, "value", *contact.Email)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "contact", contact, "key", key, "value", *contact.Email)
	for _, shown := range []string{
		string(asJSON), logged.String(), fmt.Sprint(contact.CustomData, *contact.Email), fmt.Sprintf("%v %+v %#v %s %q %x %d", key, key, key, key, key, key, key),
		fmt.Sprintf("%v %+v %#v", contact.CustomData, contact.CustomData, contact.CustomData), fmt.Sprintf("%s %x", contact.HTTPActionOverrides.Headers, *contact.Email),
	} {
		for _, hidden := range []string{"jane@example.com", "enterprise", "s3cr3t-t0ken", testToken, fmt.Sprintf("%x", testToken), fmt.Sprintf("%x", "jane@example.com")} {
			if strings.Contains(shown, hidden) {
				t.Errorf("%s shows in %s", hidden, shown)
			}
		}
	}
}
