package opencx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

func TestListContactsSendsTheRequestOfThePage(t *testing.T) {
	var got *http.Request
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		if body, err := io.ReadAll(r.Body); len(body) > 0 || err != nil {
			t.Errorf("body = %q, error %v, want none", body, err)
		}
		_, _ = io.WriteString(w, `{"items":[]}`)
	})
	since := time.Date(2026, 1, 2, 3, 4, 5, 678_999_999, time.FixedZone("", 3600))
	for name, tt := range map[string]struct {
		updatedAfter time.Time
		cursor       string
		want         string
	}{
		"all contacts":          {time.Time{}, "", "/gateway/contacts"},
		"those updated since":   {since, "", "/gateway/contacts?updated_after=2026-01-02T02%3A04%3A05.678Z"},
		"a page at a cursor":    {time.Time{}, "a+b/c=&x", "/gateway/contacts?cursor=a%2Bb%2Fc%3D%26x"},
		"the next one of these": {since.Truncate(time.Second), "2", "/gateway/contacts?cursor=2&updated_after=2026-01-02T02%3A04%3A05.000Z"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.ListContacts(t.Context(), testKey(t), tt.updatedAfter, tt.cursor); err != nil {
				t.Fatal(err)
			}
			if got.Method != http.MethodGet || got.RequestURI != tt.want || len(got.TransferEncoding) > 0 {
				t.Errorf("request = %s %s %v, want GET %s", got.Method, got.RequestURI, got.TransferEncoding, tt.want)
			}
			for header, want := range map[string]string{
				"Authorization": "Bearer " + testToken, "Accept": "application/json", "User-Agent": "opencx-operator/test", "Content-Type": "",
			} {
				if got := got.Header.Get(header); got != want {
					t.Errorf("%s = %q, want %q", header, got, want)
				}
			}
		})
	}
}

// plain is a ListedContact in a form that can be compared and seen.
func plain(c ListedContact) string {
	shown, _ := json.Marshal(struct {
		ID                 string
		Email, Phone, Name *string
		CustomData         map[string]string
		UpdatedAt          time.Time
	}{c.ID, c.Email, c.Phone, c.Name, c.CustomData.Texts(func(string) bool { return true }), c.UpdatedAt})
	return string(shown)
}

func TestListContactsReadsWhatCanBeRead(t *testing.T) {
	for name, tt := range map[string]struct{ item, want string }{
		"everything": {
			`{"id":"a","email":"jane@example.com","phone_number":"+12025550123","name":"Jane","custom_data":{"plan":"pro"},"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-02T03:04:05.678+01:00"}`,
			`{"ID":"a","Email":"jane@example.com","Phone":"+12025550123","Name":"Jane","CustomData":{"plan":"pro"},"UpdatedAt":"2026-01-02T03:04:05.678+01:00"}`,
		},
		"nulls":                             {`{"id":"a","email":null,"phone_number":null,"name":null,"custom_data":null,"updated_at":null}`, `{"ID":"a","Email":null,"Phone":null,"Name":null,"CustomData":{},"UpdatedAt":"0001-01-01T00:00:00Z"}`},
		"nothing but the ID":                {`{"id":"a"}`, `{"ID":"a","Email":null,"Phone":null,"Name":null,"CustomData":{},"UpdatedAt":"0001-01-01T00:00:00Z"}`},
		"empty texts":                       {`{"id":"a","email":"","phone_number":"","name":"","custom_data":{}}`, `{"ID":"a","Email":"","Phone":"","Name":"","CustomData":{},"UpdatedAt":"0001-01-01T00:00:00Z"}`},
		"other types":                       {`{"id":"a","email":1,"phone_number":[],"name":{},"custom_data":["b"],"updated_at":1767225600}`, `{"ID":"a","Email":null,"Phone":null,"Name":null,"CustomData":{},"UpdatedAt":"0001-01-01T00:00:00Z"}`},
		"a time that is none":               {`{"id":"a","updated_at":"yesterday"}`, `{"ID":"a","Email":null,"Phone":null,"Name":null,"CustomData":{},"UpdatedAt":"0001-01-01T00:00:00Z"}`},
		"the phone by its name in updates":  {`{"id":"a","phone":"+12025550123"}`, `{"ID":"a","Email":null,"Phone":"+12025550123","Name":null,"CustomData":{},"UpdatedAt":"0001-01-01T00:00:00Z"}`},
		"both names of the phone":           {`{"id":"a","phone":"+12025550123","phone_number":null}`, `{"ID":"a","Email":null,"Phone":null,"Name":null,"CustomData":{},"UpdatedAt":"0001-01-01T00:00:00Z"}`},
		"names in capitals, which are none": {`{"id":"a","ID":"b","Email":"jane@example.com"}`, `{"ID":"a","Email":null,"Phone":null,"Name":null,"CustomData":{},"UpdatedAt":"0001-01-01T00:00:00Z"}`},
		"custom data that is no text": {
			`{"id":"a","custom_data":{"n":1.50,"b":true,"o":{ "x" : [1, "<"] },"l":[ ],"z":null}}`,
			`{"ID":"a","Email":null,"Phone":null,"Name":null,"CustomData":{"b":"true","l":"[]","n":"1.50","o":"{\"x\":[1,\"\u003c\"]}"},"UpdatedAt":"0001-01-01T00:00:00Z"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientOf(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"items":[`+tt.item+`]}`) })
			page, err := client.ListContacts(t.Context(), testKey(t), time.Time{}, "")
			if err != nil || len(page.Contacts) != 1 {
				t.Fatalf("%d contacts, error %v, want one", len(page.Contacts), err)
			}
			if got := plain(page.Contacts[0]); got != tt.want {
				t.Errorf("contact = %s, want %s", got, tt.want)
			}
		})
	}
}

func TestListContactsReadsAPage(t *testing.T) {
	item, long := `{"id":"a"}`, strings.Repeat("x", maxCursor)
	for name, tt := range map[string]struct{ body, ids, next string }{
		"the last one, with null":   {`{"items":[` + item + `],"next":null}`, "a", ""},
		"the last one, with ''":     {`{"items":[` + item + `],"next":""}`, "a", ""},
		"the last one, without":     {`{"items":[` + item + `]}`, "a", ""},
		"one with a next":           {`{"next":"c2","items":[{"id":"b"},` + item + `],"total":2}`, "b a", "c2"},
		"a long cursor":             {`{"items":[],"next":"` + long + `"}`, "", long},
		"an empty one":              {`{"items":[],"next":"c2"}`, "", "c2"},
		"items that cannot be used": {`{"items":[1,null,"x",[],{},{"id":null},{"id":""},{"id":7},` + item + `]}`, "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientOf(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.body) })
			page, err := client.ListContacts(t.Context(), testKey(t), time.Time{}, "")
			ids := make([]string, len(page.Contacts))
			for i, contact := range page.Contacts {
				ids[i] = contact.ID
			}
			if got := strings.Join(ids, " "); err != nil || got != tt.ids || page.Next != tt.next {
				t.Errorf("contacts %q, next %q, error %v, want %q and %q", got, page.Next, err, tt.ids, tt.next)
			}
		})
	}
}

func TestTheDateOfAPage(t *testing.T) {
	for header, want := range map[string]time.Time{
		"Fri, 02 Jan 2026 03:04:05 GMT": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02T03:04:05Z":          {},
		"":                              {},
	} {
		client := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = []string{header}
			_, _ = io.WriteString(w, `{"items":[]}`)
		})
		page, err := client.ListContacts(t.Context(), testKey(t), time.Time{}, "")
		if err != nil || !page.Date.Equal(want) {
			t.Errorf("Date %q is %s, error %v, want %s", header, page.Date, err, want)
		}
	}
}

func TestAnAnswerThatIsNoPageIsAPageError(t *testing.T) {
	for name, tt := range map[string]struct{ header, body, want string }{
		"no body":                {"", "", "it is no JSON object"},
		"HTML":                   {"", "<html>jane@example.com</html>", "it is no JSON object"},
		"a list":                 {"", `[{"id":"jane@example.com"}]`, "it is no JSON object"},
		"null":                   {"", "null", "it has no list of items"},
		"no items":               {"", `{"next":null}`, "it has no list of items"},
		"items of null":          {"", `{"items":null}`, "it has no list of items"},
		"items that are no list": {"", `{"items":{"email":"jane@example.com"}}`, "it has no list of items"},
		"JSON cut short":         {"", `{"items":[{"id":"jane@example.com"},`, "it is no JSON object"},
		"two values":             {"", `{"items":[]}{"items":[]}`, "it is no JSON object"},
		"less than announced":    {"Content-Length: 100\r\n", `{"items":[]}`, "it did not arrive as a whole"},
		"gzip that is none":      {"Content-Encoding: gzip\r\n", `{"items":[]}`, "it did not arrive as a whole"},
		"a next that is no text": {"", `{"items":[],"next":7}`, "its next is no text"},
		"a next that is long":    {"", `{"items":[],"next":"` + strings.Repeat("x", maxCursor+1) + `"}`, "its next is longer than 4096 bytes"},
		"deep nesting":           {"", `{"items":` + strings.Repeat("[", 50_000), "it is no JSON object"},
		"more than 32 MiB":       {"", `{"items":[` + strings.Repeat(`"`+strings.Repeat("x", maxValue/2)+`",`, 9), "it is larger than 32 MiB"},
		"an item of 8 MiB":       {"", `{"items":["` + strings.Repeat("x", maxValue+1<<20), "one of its values is larger than 8 MiB"},
		"something of 8 MiB":     {"", `{"items":[]}` + strings.Repeat(" ", maxValue+1<<20), "one of its values is larger than 8 MiB"},
		"more contacts than fit": {"", `{"items":[` + strings.Repeat(`{"id":"a"},`, maxContacts+1), "it has more than 10000 contacts"},
	} {
		t.Run(name, func(t *testing.T) {
			address, requests := rawServer(t, []byte("HTTP/1.1 200 OK\r\n"+tt.header+"Connection: close\r\n\r\n"+tt.body))
			page, err := clientAt(t, address).ListContacts(t.Context(), testKey(t), time.Time{}, "")
			_, is := errors.AsType[*PageError](err)
			if want := "OpenCX's list of contacts cannot be used: " + tt.want; !is || err.Error() != want {
				t.Errorf("error = %v, want %s", err, want)
			}
			if n := requests.Load(); n != 1 || len(page.Contacts) > 0 {
				t.Errorf("%d requests and %d contacts, want 1 and none", n, len(page.Contacts))
			}
		})
	}
}

func TestARefusedListIsATypedError(t *testing.T) {
	var calls []Call
	client := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"message":"`+testToken+` may not","error":"Forbidden"}`)
	})
	client.observe = func(call Call) { calls = append(calls, call) }
	_, err := client.ListContacts(t.Context(), testKey(t), time.Time{}, "")
	got, ok := errors.AsType[*APIError](err)
	if want := (APIError{403, withheld, "", 7 * time.Second}); !ok || *got != want {
		t.Errorf("error = %+v, want %+v", err, want)
	}
	if len(calls) != 1 || calls[0].Method != http.MethodGet || calls[0].StatusCode != http.StatusForbidden {
		t.Errorf("observed %+v, want one GET with 403", calls)
	}
}

// The transport repeats a GET by itself, unless it has a body.
func TestAListIsOneRequestOnTheWire(t *testing.T) {
	list := func(t *testing.T, s *wireServer, client *Client) {
		t.Helper()
		before := s.requests.Load()
		_, err := client.ListContacts(t.Context(), testKey(t), time.Time{}, "")
		if _, is := errors.AsType[*NoAnswerError](err); !is || s.requests.Load() != before+1 {
			t.Errorf("error = %v after %d requests, want a NoAnswerError after 1", err, s.requests.Load()-before)
		}
	}
	for name, fault := range map[string]func(exchange){"a reset": exchange.reset, "an end": exchange.end} {
		t.Run(name+" of HTTP/1.1", func(t *testing.T) {
			s := serveHTTP1(t, 1, nil, fault)
			client, _ := wireClient(t, s)
			s.call(t.Context(), t, client, sized(smallBody), outcome{answer: 200})
			list(t, s, client)
		})
	}
}

// OpenCX may answer several organizations at once with the largest page that is read.
func TestOneLargePageIsKeptAtATime(t *testing.T) {
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		size := map[string]int{"small": 1000, "large": 2 * smallPage, "spoilt": 2 * smallPage}[r.URL.Query().Get("cursor")]
		_, _ = fmt.Fprintf(w, `{"items":[{"id":"a","name":%q}]`, strings.Repeat("x", size))
		if r.URL.Query().Get("cursor") != "spoilt" {
			_, _ = io.WriteString(w, `,"next":null}`)
		}
	})
	list := func(cursor string) (Page, error) {
		return client.ListContacts(t.Context(), testKey(t), time.Time{}, cursor)
	}
	if _, err := list("spoilt"); err == nil {
		t.Fatal("half a page was taken")
	}
	first, err := list("large")
	if err != nil || first.Release == nil {
		t.Fatalf("a large page, after one that was spoilt: error = %v", err)
	}
	if small, err := list("small"); err != nil || small.Release != nil {
		t.Errorf("a small page beside a large one: error = %v, want none, and nothing to release", err)
	}
	waits, giveUp := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer giveUp()
	_, err = readPage(waits, strings.NewReader(`{"items":[{"id":"`+strings.Repeat("a", 2*smallPage)), client.large)
	if _, is := errors.AsType[*PageError](err); !is || !strings.Contains(err.Error(), "another one") {
		t.Errorf("a second large page: error = %v, want that another one is compared first", err)
	}
	second := make(chan error)
	go func() {
		_, err := list("large")
		second <- err
	}()
	select {
	case err := <-second:
		t.Errorf("a second large page does not wait: error = %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	first.Release()
	first.Release() // does nothing
	if err := <-second; err != nil {
		t.Errorf("a second large page, after the first: error = %v", err)
	}
}

func TestTheSimulatorIsListedPageByPage(t *testing.T) {
	simulator := opencxtest.New(opencxtest.Options{Contacts: []string{"a", "b", "c"}, List: opencxtest.ListOptions{PageSize: 2}})
	server := simulator.StartHTTP()
	defer server.Close()
	client := clientAt(t, server.URL)
	update := Contact{Phone: secret("+12025550123"), CustomData: map[string]Secret{"plan": {"pro"}}}
	if err := client.UpdateContact(t.Context(), testKey(t), "b", update.Payload()); err != nil {
		t.Fatal(err)
	}
	listed := map[string]ListedContact{}
	var cursor string
	for range 2 {
		page, err := client.ListContacts(t.Context(), testKey(t), time.Unix(0, 0), cursor)
		if err != nil || page.Date.IsZero() {
			t.Fatalf("error = %v, Date %s", err, page.Date)
		}
		for _, contact := range page.Contacts {
			listed[contact.ID] = contact
		}
		cursor = page.Next
	}
	if b := listed["b"]; len(listed) != 3 || cursor != "" || *b.Phone != "+12025550123" || !strings.Contains(plain(b), `{"plan":"pro"}`) || b.Name != nil || b.UpdatedAt.IsZero() {
		t.Errorf("%d contacts and then a cursor %q, b is %s", len(listed), cursor, plain(b))
	}
}

func TestAListedContactShowsNowhere(t *testing.T) {
	value := "s3cr3t-t0ken"
	contact := ListedContact{"a", &value, &value, &value, NewCustomData(map[string]string{value: value}), time.Time{}}
	page := Page{Contacts: []ListedContact{contact}}
	asJSON, err := json.Marshal(page)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "contact", contact, "pointer", &contact, "page", page)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "contact", contact, "pointer", &contact, "page", page)
	shown := []string{string(asJSON), logged.String()}
	for _, v := range []any{contact, &contact, page.Contacts, []*ListedContact{&contact}, page, &page, map[string]ListedContact{"a": contact}} {
		shown = append(shown, fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v))
	}
	for _, shown := range shown {
		if strings.Contains(shown, value) || strings.Contains(shown, fmt.Sprintf("%x", value)) {
			t.Errorf("a value shows in %s", shown)
		}
	}
}

func TestASecretIsItsValue(t *testing.T) {
	for value, want := range map[string]bool{"s3cr3t": true, "s3cr3": false, "": false} {
		if got := NewSecret("s3cr3t").Matches(value, nil); got != want {
			t.Errorf("Matches(%q) = %t, want %t", value, got, want)
		}
	}
}
