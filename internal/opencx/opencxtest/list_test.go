package opencxtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// listed lists with a query, and returns the status, the IDs and the next cursor.
func listed(t *testing.T, s *Server, query url.Values) (status int, ids, next string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, list(sent{path: "/contacts?" + query.Encode()}).request(""))
	var answer struct {
		Items []struct{ ID string }
		Next  string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, item := range answer.Items {
		all = append(all, item.ID)
	}
	return w.Code, strings.Join(all, " "), answer.Next
}

// pages lists with a query to the end, and returns the IDs of each page.
func pages(t *testing.T, s *Server, query url.Values) (all []string) {
	t.Helper()
	for {
		status, ids, next := listed(t, s, query)
		if status != http.StatusOK {
			t.Fatalf("status = %d", status)
		}
		all = append(all, ids)
		if next == "" {
			return all
		}
		query.Set("cursor", next)
	}
}

// aToE knows contacts that were made, and last changed, one second after another.
func aToE(options Options) *Server {
	s := New(options)
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		s.AddContacts(id)
		time.Sleep(time.Second)
	}
	return s
}

func TestTheListHasPages(t *testing.T) {
	for name, tt := range map[string]struct {
		options ListOptions
		want    string
	}{
		"100 on one":                       {ListOptions{}, "a b c d e"},
		"two on each":                      {ListOptions{PageSize: 2}, "a b, c d, e"},
		"as many as there are":             {ListOptions{PageSize: 5}, "a b c d e"},
		"newest first":                     {ListOptions{PageSize: 2, NewestFirst: true}, "e d, c b, a"},
		"one that comes again":             {ListOptions{PageSize: 3, Overlap: 1}, "a b c, c d e"},
		"as many again as a page can have": {ListOptions{PageSize: 4, Overlap: 9}, "a b c d, b c d e"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := strings.Join(pages(t, aToE(Options{List: tt.options}), url.Values{}), ", "); got != tt.want {
					t.Errorf("pages = %s, want %s", got, tt.want)
				}
			})
		})
	}
	t.Run("of what changed at one moment", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{List: ListOptions{PageSize: 2}})
			s.AddContacts("c", "a", "e", "b", "d")
			if got, want := strings.Join(pages(t, s, url.Values{}), ", "), "a b, c d, e"; got != want {
				t.Errorf("pages = %s, want %s", got, want)
			}
		})
	})
}

func TestTheListIsFiltered(t *testing.T) {
	for name, tt := range map[string]struct {
		options ListOptions
		query   string // where a number is a second
		want    string
	}{
		"updated after":                {ListOptions{}, "updated_after=2", "d e a"},
		"updated after, inclusive":     {ListOptions{Inclusive: true}, "updated_after=2", "c d e a"},
		"updated before":               {ListOptions{Inclusive: true}, "updated_before=2", "b"},
		"updated between":              {ListOptions{}, "updated_after=1&updated_before=4", "c d"},
		"created after":                {ListOptions{Inclusive: true}, "created_after=2", "d e"},
		"created before":               {ListOptions{}, "created_before=2", "b a"},
		"on every page":                {ListOptions{PageSize: 1}, "updated_after=1&created_before=4", "c, d, a"},
		"to nothing":                   {ListOptions{}, "updated_after=9", ""},
		"not by what it does not know": {ListOptions{}, "name=a", "b c d e a"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := aToE(Options{List: tt.options})
				s.Edit("a", func(*Contact) {})
				query, err := url.ParseQuery(tt.query)
				if err != nil {
					t.Fatal(err)
				}
				for name, seconds := range query {
					if after, err := time.ParseDuration(seconds[0] + "s"); err == nil {
						query.Set(name, start.Add(after).Format(time.RFC3339))
					}
				}
				if got := strings.Join(pages(t, s, query), ", "); got != tt.want {
					t.Errorf("pages = %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// A contact moves to the end of the list when it changes, and so may come twice, or, from
// the newest to the oldest, not at all.
func TestContactsMoveBetweenPages(t *testing.T) {
	for newestFirst, want := range map[bool]string{false: "a b, c e, a d", true: "e d, c b"} {
		synctest.Test(t, func(t *testing.T) {
			s := aToE(Options{List: ListOptions{PageSize: 2, NewestFirst: newestFirst}})
			query := url.Values{}
			_, first, next := listed(t, s, query)
			s.Edit("a", func(*Contact) {})
			if !newestFirst {
				s.Edit("d", func(*Contact) {})
			}
			query.Set("cursor", next)
			if got := strings.Join(slices.Concat([]string{first}, pages(t, s, query)), ", "); got != want {
				t.Errorf("newest first %t: pages = %s, want %s", newestFirst, got, want)
			}
		})
	}
}

func TestCursorsExpire(t *testing.T) {
	for name, tt := range map[string]struct {
		options ListOptions
		want    string // answers to the cursor at once, again, and after a minute
	}{
		"never":                {ListOptions{}, "200 200 200"},
		"after one request":    {ListOptions{CursorRequests: 1}, "200 400 400"},
		"after two requests":   {ListOptions{CursorRequests: 2}, "200 200 400"},
		"after a minute":       {ListOptions{CursorLife: time.Minute}, "200 200 400"},
		"with a status to say": {ListOptions{CursorLife: time.Minute, ExpiredStatus: 410}, "200 200 410"},
		"after longer":         {ListOptions{CursorLife: time.Minute + 1}, "200 200 200"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.options.PageSize = 4
				s := aToE(Options{List: tt.options})
				_, _, next := listed(t, s, nil)
				first, ids, _ := listed(t, s, url.Values{"cursor": {next}})
				again, _, _ := listed(t, s, url.Values{"cursor": {next}})
				time.Sleep(time.Minute)
				later, _, _ := listed(t, s, url.Values{"cursor": {next}})
				if got := fmt.Sprint(first, again, later); got != tt.want || ids != "e" {
					t.Errorf("answers = %s with %q, want %s with e", got, ids, tt.want)
				}
			})
		})
	}
}

func TestItemsOfTheList(t *testing.T) {
	for omit, want := range map[bool]string{
		false: `{"items":[{"created_at":"2000-01-01T00:00:00.000Z","custom_data":null,"email":null,"id":"jane","name":null,"phone_number":null,"updated_at":"2000-01-01T00:00:00.000Z"},` +
			`{"created_at":"2000-01-01T00:00:00.000Z","custom_data":{"a":"b"},"email":"john@example.com","id":"john","name":"","phone_number":"+12025550123","updated_at":"2000-01-01T00:00:01.500Z"}],"next":null}`,
		true: `{"items":[{"created_at":"2000-01-01T00:00:00.000Z","id":"jane","updated_at":"2000-01-01T00:00:00.000Z"},` +
			`{"created_at":"2000-01-01T00:00:00.000Z","custom_data":{"a":"b"},"email":"john@example.com","id":"john","name":"","phone_number":"+12025550123","updated_at":"2000-01-01T00:00:01.500Z"}]}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{Contacts: []string{"jane", "john"}, List: ListOptions{OmitUnset: omit}})
			time.Sleep(1500*time.Millisecond + time.Microsecond)
			s.ServeHTTP(httptest.NewRecorder(), sent{path: "/contacts/john", body: `{"contact":{"email":"john@example.com","phone":"+12025550123","name":"","custom_data":{"a":"b"},"http_action_overrides":{"headers":{"a":"b"}}}}`}.request(""))
			w := httptest.NewRecorder()
			s.ServeHTTP(w, list(sent{}).request(""))
			if got := w.Body.String(); w.Code != 200 || got != want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("answer = %d %s, want %s", w.Code, got, want)
			}
		})
	}
}

func TestAListCountsInTheLimit(t *testing.T) {
	s := New(Options{Limit: 2, AcceptAnyContact: true})
	for i, want := range []int{200, 200, 429} {
		if status, _, _ := listed(t, s, nil); status != want {
			t.Errorf("list %d is answered %d, want %d", i, status, want)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, sent{}.request(""))
	if n := len(s.Journal()); w.Code != 429 || n != 4 {
		t.Errorf("an update is answered %d, and the journal has %d entries, want 429 and 4", w.Code, n)
	}
}

func TestWriteOnlyKeysMayNotList(t *testing.T) {
	s, send := start(t, Options{WriteOnlyKeys: []string{"good"}})
	status, body := send(list(sent{}))
	if want := `{"error":"Forbidden","message":"Forbidden","statusCode":403}`; status != 403 || body != want {
		t.Errorf("answer = %d %s, want %s", status, body, want)
	}
	if status, _ := send(sent{}); status != 200 {
		t.Errorf("an update is answered %d, want 200", status)
	}
	s.SetWriteOnlyKeys("another")
	if status, _ := send(list(sent{})); status != 200 {
		t.Errorf("a list is answered %d, want 200", status)
	}
}

func TestTheDateHeader(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		0:            "Sat, 01 Jan 2000 00:00:01 GMT",
		time.Hour:    "Sat, 01 Jan 2000 01:00:01 GMT",
		-time.Second: "Sat, 01 Jan 2000 00:00:00 GMT",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{DateAhead: ahead, MinLatency: 1900 * time.Millisecond})
			w := httptest.NewRecorder()
			s.ServeHTTP(w, list(sent{}).request(""))
			if got := w.Header().Get("Date"); got != want {
				t.Errorf("ahead %s: Date = %s, want %s", ahead, got, want)
			}
		})
	}
}
