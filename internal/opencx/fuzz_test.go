package opencx

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// answering returns a client whose every connection is answered with raw bytes,
// and then closed.
func answering(t *testing.T, answer []byte) (client *Client, dials *int) {
	t.Helper()
	base, err := ParseBaseURL("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	client, dials = NewClient(base, "fuzz", nil), new(int)
	client.http.Transport.(*http.Transport).DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
		if address != "127.0.0.1:1" {
			t.Errorf("the client calls %s", address)
		}
		*dials++
		near, far := net.Pipe()
		go func() {
			if request, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				_ = request.Body.Close()
			}
			_, _ = far.Write(answer)
			_ = far.Close()
		}()
		return near, nil
	}
	return client, dials
}

// FuzzAnswer looks for an answer that makes the client panic, follow it
// elsewhere, send twice, or show what was sent.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 204\r\n\r\n", "HTTP/1.1 999 Odd\r\n\r\n{", "HTTP/1.1 100 Continue\r\n\r\n", "\x00\xff",
		"HTTP/1.1 302 Found\r\nLocation: http://other.example.com/\r\n\r\n",
		"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n",
		"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
		"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 99999999999999999999\r\n\r\n",
		"HTTP/1.1 422 U\r\nContent-Length: 90\r\n\r\n{\"statusCode\":422,\"message\":\"ocx_test_key jane@example.com\",\"error\":[\"s3cr3t\"]}",
		"HTTP/1.1 500 E\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ns3cr3",
		"HTTP/1.1 400 jane@example.com\r\n\r\ns3cr3t-t0ken",
	} {
		f.Add([]byte(seed))
	}
	contact := Contact{Private: []Secret{{"jane@example.com"}, {"s3cr3t-t0ken"}}}
	f.Fuzz(func(t *testing.T, answer []byte) {
		client, dials := answering(t, answer)
		key, err := NewAPIKey("ocx_test_key")
		if err != nil {
			t.Fatal(err)
		}
		err = client.UpdateContact(t.Context(), key, "jane", contact.Payload())
		client.http.CloseIdleConnections()
		if *dials != 1 {
			t.Errorf("the client connected %d times", *dials)
		}
		if err == nil {
			return
		}
		_, answered := errors.AsType[*APIError](err)
		_, unanswered := errors.AsType[*NoAnswerError](err)
		if answered == unanswered {
			t.Errorf("error = %#v, want one that says whether an answer came", err)
		}
		text := err.Error()
		for _, hidden := range []string{"ocx_test_key", "jane@example.com", "s3cr3t-t0ken"} {
			if strings.Contains(text, hidden) {
				t.Errorf("%s shows in %q", hidden, text)
			}
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 4*maxText {
			t.Errorf("error = %q, which is not fit to be shown", text)
		}
	})
}

// FuzzContactURL looks for an ID that leads to another address than that of one
// contact.
func FuzzContactURL(f *testing.F) {
	for _, id := range []string{"jane", "..", ".", "../keys", "a/b", "%2e%2e", "a?b", "a#b", "a\\b", "é", "\x00", "\xff", " ", "//other.example.com", ";x=1"} {
		f.Add(id)
	}
	base, err := ParseBaseURL("https://api.example.com/gateway")
	if err != nil {
		f.Fatal(err)
	}
	client := NewClient(base, "fuzz", nil)
	f.Fuzz(func(t *testing.T, id string) {
		address, err := client.contactURL(id)
		if err != nil {
			return
		}
		rest, ok := strings.CutPrefix(address.String(), "https://api.example.com/gateway/contacts/")
		got, unescapeErr := url.PathUnescape(rest)
		if !ok || strings.ContainsAny(rest, "/?#") || got != id || unescapeErr != nil {
			t.Errorf("%q leads to %s", id, address)
		}
		if clean := path.Clean("/" + rest); clean != "/"+rest {
			t.Errorf("%q leads to %s, which a proxy may read as %s", id, address, clean)
		}
	})
}

// FuzzPage looks for a list that makes the client panic or hang, take a contact without
// an ID or a cursor that is too long, or quote it.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", `{"items":[]}`, `{"items":[1,{"id":"a"},{}],"next":"b"}`, `{"items":[{"id":"a"`, `{"items":[]}{}`, `{"next":7,"items":[]}`,
		`{"items":[{"id":"a","email":"jane@example.com","phone":"+12025550123","custom_data":{"a":{"b":[1.0]}},"updated_at":"2026-01-02T03:04:05Z"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		page, err := readPage(t.Context(), bytes.NewReader(body), make(chan struct{}, 1))
		if _, is := errors.AsType[*PageError](err); err != nil && (!is || len(page.Contacts) > 0) {
			t.Errorf("error = %#v with %d contacts", err, len(page.Contacts))
		}
		if len(page.Next) > maxCursor || slices.ContainsFunc(page.Contacts, func(c ListedContact) bool { return c.ID == "" }) {
			t.Errorf("the page has a contact without an ID, or a cursor of %d bytes", len(page.Next))
		}
	})
}
