package opencxtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// sent is a request to make; the zero value is one that is accepted.
type sent struct {
	method, path, key, authorization, contentType, body string
}

// list makes a request one for a list, unless it says its path.
func list(s sent) sent {
	s.method, s.body = http.MethodGet, "none"
	if s.path == "" {
		s.path = "/contacts"
	}
	return s
}

func (s sent) request(base string) *http.Request {
	or := func(value, otherwise string) string {
		if value == "" {
			return otherwise
		}
		return value
	}
	r, err := http.NewRequestWithContext(context.Background(), or(s.method, http.MethodPatch), base+or(s.path, "/contacts/jane"), strings.NewReader(or(s.body, `{"contact":{}}`)))
	if err != nil {
		panic(err)
	}
	if s.body == "none" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if s.authorization != "" {
		r.Header.Set("Authorization", s.authorization)
	} else if s.key != "none" {
		r.Header.Set("Authorization", "Bearer "+or(s.key, "good"))
	}
	r.Header.Set("Content-Type", or(s.contentType, "application/json"))
	return r
}

// start serves a simulator that knows jane and the key "good".
func start(t *testing.T, options Options) (*Server, func(sent) (int, string)) {
	t.Helper()
	options.Keys, options.Contacts = []string{"good"}, []string{"jane"}
	s := New(options)
	server := s.StartHTTP()
	t.Cleanup(server.Close)
	return s, func(r sent) (int, string) {
		t.Helper()
		response, err := http.DefaultClient.Do(r.request(server.URL))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
}

func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		sent    sent
		status  int
		message string
	}{
		"an update":                   {sent{}, 200, ""},
		"unknown fields":              {sent{body: `{"contact":{"x":1,"http_action_overrides":{"y":2}},"z":3}`}, 200, ""},
		"every field":                 {sent{body: `{"contact":{"email":"a@example.com","phone":"","name":"","custom_data":{"a":"b"},"http_action_overrides":{"query_params":{},"path_params":{},"body_params":{},"headers":{"a":"b"}}}}`}, 200, ""},
		"a charset":                   {sent{contentType: "application/json; charset=utf-8"}, 200, ""},
		"a content type in capitals":  {sent{contentType: "Application/JSON"}, 200, ""},
		"an escaped ID":               {sent{path: "/contacts/j%61ne"}, 200, ""},
		"no key":                      {sent{key: "none"}, 401, "Unauthorized"},
		"a wrong key":                 {sent{key: "bad"}, 401, "Unauthorized"},
		"a key without Bearer":        {sent{authorization: "good"}, 401, "Unauthorized"},
		"a key of another scheme":     {sent{authorization: "Basic good"}, 401, "Unauthorized"},
		"an unknown contact":          {sent{path: "/contacts/john"}, 404, "Contact not found"},
		"another path":                {sent{path: "/keys"}, 404, "Cannot PATCH this path"},
		"a deeper path":               {sent{path: "/contacts/jane/notes"}, 404, "Cannot PATCH this path"},
		"a path with dots":            {sent{path: "/contacts/../contacts/jane"}, 404, "Cannot PATCH this path"},
		"another method":              {sent{method: "PUT"}, 405, "Use PATCH"},
		"another method on the list":  {sent{method: "POST", path: "/contacts"}, 405, "Use GET"},
		"a list without a key":        {list(sent{key: "none"}), 401, "Unauthorized"},
		"a list with a wrong key":     {list(sent{key: "bad"}), 401, "Unauthorized"},
		"a list with a body":          {sent{method: "GET", path: "/contacts"}, 400, "a GET has no body"},
		"a list at another path":      {list(sent{path: "/contacts/"}), 404, "Cannot GET this path"},
		"a time without its zone":     {list(sent{path: "/contacts?updated_after=2026-01-02T03:04:05"}), 400, "updated_after must be a date and time of ISO 8601"},
		"a time that is a number":     {list(sent{path: "/contacts?created_before=7"}), 400, "created_before must be a date and time of ISO 8601"},
		"an empty time":               {list(sent{path: "/contacts?updated_before="}), 400, "updated_before must be a date and time of ISO 8601"},
		"a time given twice":          {list(sent{path: "/contacts?created_after=2026-01-02T03:04:05Z&created_after=2026-01-02T03:04:05Z"}), 400, "created_after must be a date and time of ISO 8601"},
		"a cursor that is none":       {list(sent{path: "/contacts?cursor=x"}), 400, "cursor is invalid"},
		"an empty cursor":             {list(sent{path: "/contacts?cursor="}), 400, "cursor is invalid"},
		"a malformed query":           {list(sent{path: "/contacts?a;b"}), 400, "the query is malformed"},
		"another content type":        {sent{contentType: "text/plain"}, 415, "Content-Type must be application/json"},
		"no JSON":                     {sent{body: "{"}, 400, "the body is not JSON"},
		"two JSON values":             {sent{body: `{"contact":{}}{}`}, 400, "the body is more than one JSON value"},
		"bytes that are no text":      {sent{body: "{\"contact\":{\"name\":\"\xff\"}}"}, 400, "the body is not UTF-8"},
		"a list":                      {sent{body: `[]`}, 400, "the body must be an object"},
		"no contact":                  {sent{body: `{}`}, 400, "contact must be an object"},
		"a contact of null":           {sent{body: `{"contact":null}`}, 400, "contact must be an object"},
		"a name of null":              {sent{body: `{"contact":{"name":null}}`}, 400, "contact.name must be a string"},
		"a number as phone":           {sent{body: `{"contact":{"phone":1}}`}, 400, "contact.phone must be a string"},
		"an email without a dot":      {sent{body: `{"contact":{"email":"a@b"}}`}, 400, "contact.email must be an email address"},
		"an email with two dots":      {sent{body: `{"contact":{"email":"a..b@example.com"}}`}, 400, "contact.email must be an email address"},
		"an email with a dot first":   {sent{body: `{"contact":{"email":".a@example.com"}}`}, 400, "contact.email must be an email address"},
		"an email with a line break":  {sent{body: `{"contact":{"email":"a@example.com\n"}}`}, 400, "contact.email must be an email address"},
		"custom data that is a list":  {sent{body: `{"contact":{"custom_data":[]}}`}, 400, "contact.custom_data must be an object"},
		"custom data with a number":   {sent{body: `{"contact":{"custom_data":{"a":1}}}`}, 400, "contact.custom_data.a must be a string"},
		"overrides that are a string": {sent{body: `{"contact":{"http_action_overrides":""}}`}, 400, "contact.http_action_overrides must be an object"},
		"headers of null":             {sent{body: `{"contact":{"http_action_overrides":{"headers":null}}}`}, 400, "contact.http_action_overrides.headers must be an object"},
		"a header that is a number":   {sent{body: `{"contact":{"http_action_overrides":{"headers":{"a":1}}}}`}, 400, "contact.http_action_overrides.headers.a must be a string"},
		"a body of more than 10 MiB":  {sent{body: `{"contact":{"name":"` + strings.Repeat("x", maxBody) + `"}}`}, 413, "The body is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			s, send := start(t, Options{})
			status, body := send(tt.sent)
			want := ""
			if tt.message != "" {
				want = fmt.Sprintf(`{"error":%q,"message":%q,"statusCode":%d}`, http.StatusText(tt.status), tt.message, tt.status)
			}
			if status != tt.status || body != want {
				t.Errorf("answer = %d %s, want %d %s", status, body, tt.status, want)
			}
			if journal := s.Journal(); len(journal) != 1 || journal[0].Status != tt.status {
				t.Errorf("journal = %+v, want one entry with status %d", journal, tt.status)
			}
		})
	}
}

func TestEmails(t *testing.T) {
	_, send := start(t, Options{Limit: -1})
	for name, tt := range map[string]struct {
		email  string
		status int
	}{
		"an ordinary one":                        {"jane.doe@example.com", 200},
		"every sign that may stand before the @": {"_'+-.a@example.com", 200},
		"a single letter":                        {"a@b.cd", 200},
		"several labels":                         {"a@b.c-d.e1.museum", 200},
		"a label that ends in a hyphen":          {"a@b-.cd", 200},
		"nothing":                                {"", 400},
		"nothing before the @":                   {"@example.com", 400},
		"a dot first":                            {".a@example.com", 400},
		"a dot before the @":                     {"a.@example.com", 400},
		"an apostrophe before the @":             {"a'@example.com", 400},
		"two dots before the @":                  {"a..b@example.com", 400},
		"two dots after the @":                   {"a@example..com", 400},
		"no dot after the @":                     {"a@example", 400},
		"a last label of one letter":             {"a@example.c", 400},
		"a last label with a digit":              {"a@example.c0m", 400},
		"a label that begins with a hyphen":      {"a@-b.cd", 400},
		"two @":                                  {"a@b@example.com", 400},
		"a space":                                {"a b@example.com", 400},
		"a letter beyond ASCII":                  {"é@example.com", 400},
		"a line break last":                      {"a@example.com\n", 400},
		"two dots behind a line break":           {"a\n..b@example.com", 400},
		"a line separator":                       {"a\u2028b@example.com", 400},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(map[string]any{"contact": map[string]string{"email": tt.email}})
			if err != nil {
				t.Fatal(err)
			}
			if status, _ := send(sent{body: string(body)}); status != tt.status {
				t.Errorf("%q is answered %d, want %d", tt.email, status, tt.status)
			}
		})
	}
}

func TestEveryTokenIsAcceptedWhenNoneIsNamed(t *testing.T) {
	s := New(Options{AcceptAnyContact: true})
	for authorization, want := range map[string]int{"Bearer any": 200, "Bearer ": 401, "any": 401} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, sent{authorization: authorization}.request(""))
		if w.Code != want {
			t.Errorf("%q is answered %d, want %d", authorization, w.Code, want)
		}
	}
}

func TestContactsKeepWhatWasSent(t *testing.T) {
	s, send := start(t, Options{AcceptAnyContact: true, BasePath: "/gateway"})
	send(sent{path: "/gateway/contacts/john", body: `{"contact":{"name":"John","custom_data":{"a":"1"}}}`})
	send(sent{path: "/gateway/contacts/john", body: `{"contact":{"custom_data":{"b":"2"}}}`})
	send(sent{path: "/gateway/contacts/john", body: `{"contact":{"name":7}}`})
	john, ok := s.Contact("john")
	if got, want := fmt.Sprint(john.Fields), "map[custom_data:map[a:1 b:2] name:John]"; !ok || got != want || john.Patches != 2 {
		t.Errorf("contact = %s after %d patches, want %s after 2", got, john.Patches, want)
	}
	s.RemoveContact("john")
	if _, ok := s.Contact("john"); ok {
		t.Error("a removed contact is still there")
	}
}

func TestTheLimitHoldsInEveryTrailingWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Limit: 2, Window: time.Minute, AcceptAnyContact: true, RetryAfter: true})
		send := func(key string) (status int, retryAfter string) {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, sent{key: key}.request(""))
			return w.Code, w.Header().Get("Retry-After")
		}
		expect := func(key string, want int, wantRetryAfter string) {
			t.Helper()
			if status, retryAfter := send(key); status != want || retryAfter != wantRetryAfter {
				t.Errorf("answer = %d, Retry-After %q, want %d, %q", status, retryAfter, want, wantRetryAfter)
			}
		}
		expect("a", 200, "")
		time.Sleep(40 * time.Second)
		expect("a", 200, "")
		expect("a", 429, "20")
		expect("b", 200, "") // another key
		time.Sleep(20*time.Second - time.Nanosecond)
		expect("a", 429, "1")
		time.Sleep(time.Nanosecond)
		expect("a", 200, "") // a refused request does not count
		expect("a", 429, "40")
		time.Sleep(40 * time.Second)
		expect("a", 200, "")
		expect("a", 429, "20")
	})
}

func TestAHeldRequestCountsFromItsArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Limit: 1, Window: time.Minute, AcceptAnyContact: true})
		release := s.Hold()
		held := httptest.NewRecorder()
		go s.ServeHTTP(held, sent{}.request(""))
		time.Sleep(50 * time.Second)
		release()
		synctest.Wait()
		for wait, want := range []int{429, 200} { // after 50 s and after 60 s
			time.Sleep(time.Duration(wait) * 10 * time.Second)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, sent{}.request(""))
			if held.Code != 200 || w.Code != want {
				t.Errorf("held: %d, the next: %d, want 200 and %d", held.Code, w.Code, want)
			}
		}
	})
}

func TestKeysOfOneOrganizationShareTheLimit(t *testing.T) {
	for one, want := range map[bool]int{false: 200, true: 429} {
		s := New(Options{Limit: 1, AcceptAnyContact: true, OneOrganization: one})
		s.ServeHTTP(httptest.NewRecorder(), sent{key: "first"}.request(""))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, sent{key: "second"}.request(""))
		if w.Code != want {
			t.Errorf("one organization %t: the second key is answered %d, want %d", one, w.Code, want)
		}
	}
}

func TestNoLimit(t *testing.T) {
	_, send := start(t, Options{Limit: -1})
	for range 200 {
		if status, _ := send(sent{}); status != 200 {
			t.Fatalf("status = %d", status)
		}
	}
}

func TestTheJournalHasWhatWasOnTheWire(t *testing.T) {
	s, send := start(t, Options{AcceptAnyContact: true})
	send(sent{path: "/contacts/a%2Fb", body: `{"contact":{"name":"A"}}`})
	send(sent{path: "/contacts/c", key: "bad"})
	journal := s.Journal()
	if len(journal) != 2 {
		t.Fatalf("%d entries, want 2", len(journal))
	}
	first := journal[0]
	if first.Key != "good" || first.Method != http.MethodPatch || first.Path != "/contacts/a%2Fb" || string(first.Body) != `{"contact":{"name":"A"}}` ||
		first.Header.Get("Content-Type") != "application/json" || first.AnsweredAt.Before(first.Time) {
		t.Errorf("entry = %+v", first)
	}
	if journal[1].Key != "bad" {
		t.Errorf("key = %q, want bad", journal[1].Key)
	}
	s.ResetJournal()
	if n := len(s.Journal()); n != 0 {
		t.Errorf("%d entries after a reset", n)
	}
}

func TestInjectedAnswers(t *testing.T) {
	s, send := start(t, Options{AcceptAnyContact: true})
	s.InjectNext(2, Answer{Status: 503, Body: "down"})
	s.InjectContact("jane", Answer{Status: 422, Body: "no"})
	for i, want := range []int{503, 503, 422, 422} {
		if status, _ := send(sent{}); status != want {
			t.Errorf("answer %d = %d, want %d", i, status, want)
		}
	}
	if status, _ := send(sent{path: "/contacts/john"}); status != 200 {
		t.Errorf("another contact is answered %d", status)
	}
	s.ClearContact("jane")
	if status, _ := send(sent{}); status != 200 {
		t.Errorf("after ClearContact: %d", status)
	}
	if c, _ := s.Contact("jane"); c.Patches != 1 {
		t.Errorf("%d updates were carried out, want the one that was answered 200", c.Patches)
	}
	s.InjectNext(1, Answer{Status: 503, Applied: true})
	if status, _ := send(sent{}); status != 503 {
		t.Errorf("an update that is carried out is answered %d, want 503", status)
	}
	if c, _ := s.Contact("jane"); c.Patches != 2 {
		t.Errorf("%d updates were carried out, want two", c.Patches)
	}
	s.InjectNext(1, Answer{Status: 200})
	if status, _ := send(sent{body: `{"contact":{"name":"Jane"}}`}); status != 200 {
		t.Errorf("an update that is dropped is answered %d, want 200", status)
	}
	if c, _ := s.Contact("jane"); c.Patches != 2 || len(c.Fields) > 0 {
		t.Errorf("%d updates were carried out, and the contact has %v, want two and nothing", c.Patches, c.Fields)
	}
	s.InjectNext(5, Answer{Status: 503})
	s.InjectList(5, Answer{Status: 503})
	s.ClearFaults()
	if status, _ := send(list(sent{})); status != 200 {
		t.Errorf("a list after ClearFaults: %d", status)
	}
	if status, _ := send(sent{}); status != 200 {
		t.Errorf("after ClearFaults: %d", status)
	}
}

func TestAnswersAreInjectedByAFunction(t *testing.T) {
	s, send := start(t, Options{AcceptAnyContact: true})
	s.InjectContact("john", Answer{Status: 404})
	s.InjectFunc(func(r Request) (Answer, bool) {
		return Answer{Status: 500, Applied: r.Path == "/contacts/jane"}, r.Path != "/contacts/jim"
	})
	for path, want := range map[string]struct {
		status  int
		applied bool
	}{"/contacts/john": {404, false}, "/contacts/jane": {500, true}, "/contacts/joe": {500, false}, "/contacts/jim": {200, true}} {
		s.ResetJournal()
		status, _ := send(sent{path: path})
		if applied := !s.Journal()[0].AppliedAt.IsZero(); status != want.status || applied != want.applied {
			t.Errorf("%s is answered %d and applied %t, want %+v", path, status, applied, want)
		}
	}
	s.ClearFaults()
	if status, _ := send(sent{path: "/contacts/joe"}); status != 200 {
		t.Errorf("after ClearFaults: %d", status)
	}
}

func TestAnswersForListsAndUpdatesAreInjectedApart(t *testing.T) {
	s, send := start(t, Options{})
	s.InjectNext(1, Answer{Status: 503})
	s.InjectContact("jane", Answer{Status: 422})
	s.InjectList(2, Answer{Status: 500, Body: "down"})
	for i, want := range []struct {
		sent   sent
		status int
	}{{list(sent{}), 500}, {sent{}, 503}, {list(sent{}), 500}, {list(sent{}), 200}, {sent{}, 422}} {
		if status, _ := send(want.sent); status != want.status {
			t.Errorf("answer %d = %d, want %d", i, status, want.status)
		}
	}
}

func TestBrokenAnswers(t *testing.T) {
	s, _ := start(t, Options{})
	server := s.StartHTTP()
	defer server.Close()
	for name, tt := range map[string]struct {
		answer Answer
		want   string // status and body as far as they came, and the error
	}{
		"a delay": {Answer{Status: 202, Body: "late", Delay: 20 * time.Millisecond}, "202 late <nil>"},
		"a reset": {Answer{Break: Reset}, "EOF"},
		"a hang":  {Answer{Break: Hang}, "context deadline exceeded"},
		"half":    {Answer{Status: 500, Body: "12345678", Break: Half}, "500 1234 unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			s.InjectNext(1, tt.answer)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			got := ""
			response, err := http.DefaultClient.Do(sent{}.request(server.URL).WithContext(ctx))
			if err != nil {
				got = err.Error()
			} else {
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				got = fmt.Sprintf("%d %s %v", response.StatusCode, body, err)
			}
			if !strings.HasSuffix(got, tt.want) {
				t.Errorf("got %q, want %q at its end", got, tt.want)
			}
		})
	}
}

func TestHeldRequestsAreInTheJournalAndWait(t *testing.T) {
	s, send := start(t, Options{})
	release := s.Hold()
	answered := make(chan int)
	go func() {
		status, _ := send(sent{})
		answered <- status
	}()
	for len(s.Journal()) == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-answered:
		t.Fatal("a held request was answered")
	case <-time.After(50 * time.Millisecond):
	}
	if status := s.Journal()[0].Status; status != 0 {
		t.Errorf("status = %d while held, want 0", status)
	}
	release()
	release()
	if status := <-answered; status != 200 {
		t.Errorf("status = %d, want 200", status)
	}
	if status, _ := send(sent{}); status != 200 {
		t.Errorf("after the release: %d", status)
	}
}

func TestControl(t *testing.T) {
	t.Run("injects and clears answers", func(t *testing.T) {
		_, send := start(t, Options{})
		send(sent{method: "POST", path: "/_sim/faults", body: `{"next":1,"status":500}`})
		send(sent{method: "POST", path: "/_sim/faults", body: `{"contact":"jane","status":429,"body":"","headers":{"Retry-After":"9"}}`})
		if status, body := send(sent{}); status != 500 || !strings.Contains(body, `"message":"Injected"`) {
			t.Errorf("answer = %d %s", status, body)
		}
		if status, body := send(sent{}); status != 429 || body != "" {
			t.Errorf("answer = %d %s", status, body)
		}
		send(sent{method: "POST", path: "/_sim/faults", body: `{"list":1,"status":503}`})
		if status, _ := send(list(sent{})); status != 503 {
			t.Errorf("status of the list = %d, want 503", status)
		}
		send(sent{method: "DELETE", path: "/_sim/faults"})
		if status, _ := send(sent{}); status != 200 {
			t.Errorf("status = %d", status)
		}
	})
	t.Run("adds and removes contacts", func(t *testing.T) {
		_, send := start(t, Options{})
		send(sent{method: "POST", path: "/_sim/contacts", body: `{"ids":["john"]}`})
		if status, _ := send(sent{path: "/contacts/john"}); status != 200 {
			t.Errorf("status = %d", status)
		}
		send(sent{method: "DELETE", path: "/_sim/contacts/john"})
		if status, _ := send(sent{path: "/contacts/john"}); status != 404 {
			t.Errorf("status = %d", status)
		}
	})
	t.Run("edits contacts", func(t *testing.T) {
		s, send := start(t, Options{})
		send(sent{body: `{"contact":{"name":"Jane","phone":"","custom_data":{"a":"1","b":"2"}}}`})
		for body, want := range map[string]int{
			`{"contact":{"email":"jane@example.com","phone":null,"custom_data":{"a":null,"c":"3"}}}`: 200,
			`{"contact":{"email":"jane"}}`:        400,
			`{"contact":{"custom_data":{"a":1}}}`: 400,
			`{"contact":{"custom_data":["a"]}}`:   400,
			`{"contact":null}`:                    400,
			strings.Repeat(" ", maxBody+1):        400,
		} {
			if status, answer := send(sent{method: "PATCH", path: "/_sim/contacts/jane", body: body}); status != want {
				t.Errorf("%.80s is answered %d %s, want %d", body, status, answer, want)
			}
		}
		jane, _ := s.Contact("jane")
		got := fmt.Sprint(jane.Fields, jane.Patches, jane.Edits, jane.Edited)
		if want := "map[custom_data:map[b:2 c:3] email:jane@example.com name:Jane] 1 1 [custom_data.a custom_data.c email phone]"; got != want {
			t.Errorf("contact = %s, want %s", got, want)
		}
		if n := len(s.Journal()); n != 1 {
			t.Errorf("%d entries in the journal, want that of the update", n)
		}
		if status, _ := send(sent{method: "PATCH", path: "/_sim/contacts/john"}); status != 404 {
			t.Errorf("an unknown contact is answered %d, want 404", status)
		}
	})
	t.Run("shows the query of a list", func(t *testing.T) {
		s, send := start(t, Options{})
		send(list(sent{path: "/contacts?updated_after=2026-01-02T03:04:05Z"}))
		_, journal := send(sent{method: "GET", path: "/_sim/journal"})
		if !strings.Contains(journal, `"path":"/contacts","query":"updated_after=2026-01-02T03:04:05Z","status":200,"body":null`) || strings.Contains(journal, "good") {
			t.Errorf("journal = %s", journal)
		}
		if got := s.Journal()[0].RawQuery; got != "updated_after=2026-01-02T03:04:05Z" {
			t.Errorf("query = %q", got)
		}
	})
	t.Run("shows contacts and journal without keys, headers and overrides", func(t *testing.T) {
		_, send := start(t, Options{})
		send(sent{body: `{"contact":{"name":"Jane","http_action_overrides":{"headers":{"X-Token":"s3cr3t"}}}}`})
		_, journal := send(sent{method: "GET", path: "/_sim/journal"})
		_, contacts := send(sent{method: "GET", path: "/_sim/contacts"})
		var entries, held []map[string]any
		if json.Unmarshal([]byte(journal), &entries) != nil || json.Unmarshal([]byte(contacts), &held) != nil || len(entries) != 1 || len(held) != 1 {
			t.Fatalf("journal = %s, contacts = %s", journal, contacts)
		}
		for _, shown := range []string{journal, contacts} {
			if !strings.Contains(shown, `"X-Token":"***"`) || !strings.Contains(shown, `"name":"Jane"`) || strings.Contains(shown, "s3cr3t") || strings.Contains(shown, "good") {
				t.Errorf("shown: %s", shown)
			}
		}
	})
	for name, tt := range map[string]struct{ body, want string }{
		"neither next nor contact": {`{"status":500}`, "either"},
		"next and list":            {`{"next":1,"list":1,"status":500}`, "either"},
		"a negative list":          {`{"list":-1,"status":500}`, "either"},
		"too long a list":          {`{"list":100001,"status":500}`, "either"},
		"next and contact":         {`{"next":1,"contact":"jane","status":500}`, "either"},
		"a negative number":        {`{"next":-1,"status":500}`, "either"},
		"no status":                {`{"next":1}`, "from 200 to 599"},
		"a status of 100":          {`{"next":1,"status":100}`, "from 200 to 599"},
		"a delay without unit":     {`{"next":1,"status":500,"delay":"5"}`, "duration"},
		"an unknown break":         {`{"next":1,"status":500,"break":"bones"}`, "\"reset\", \"half\" or \"hang\""},
		"half an answer of none":   {`{"next":1,"break":"half"}`, "from 200 to 599"},
		"an unknown field":         {`{"next":1,"status":500,"code":5}`, "unknown field"},
		"no JSON":                  {`next=1`, "cannot be read"},
		"no body":                  {" ", "there is no body"},
		"something behind it":      {`{"next":1,"status":500}{}`, "more than one JSON value"},
		"no name of a header":      {`{"next":1,"status":500,"headers":{"a b":"c"}}`, "header names"},
		"two lines in a header":    {`{"next":1,"status":500,"headers":{"a":"b\nc"}}`, "control characters"},
	} {
		t.Run("refuses a fault with "+name, func(t *testing.T) {
			_, send := start(t, Options{})
			if status, body := send(sent{method: "POST", path: "/_sim/faults", body: tt.body}); status != 400 || !strings.Contains(body, tt.want) {
				t.Errorf("answer = %d %s, want 400 and %q", status, body, tt.want)
			}
		})
	}
	for name, body := range map[string]string{
		"no IDs": `{"ids":[]}`, "an empty ID": `{"ids":["jane",""]}`, "numbers": `{"ids":[1]}`, "an unknown field": `{"id":"john"}`,
	} {
		t.Run("refuses contacts with "+name, func(t *testing.T) {
			_, send := start(t, Options{})
			if status, answer := send(sent{method: "POST", path: "/_sim/contacts", body: body}); status != 400 || !strings.Contains(answer, "at least one ID") {
				t.Errorf("answer = %d %s, want 400 and what to send", status, answer)
			}
		})
	}
}
