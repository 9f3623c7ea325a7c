package opencxtest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// controlPath is where people and scripts steer a running simulator. What
// arrives there is no API request: it is not limited, not in the journal, and
// needs no token.
const controlPath = "/_sim/"

func (s *Server) handleControl(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET "+controlPath+"journal", s.showJournal)
	mux.HandleFunc("GET "+controlPath+"contacts", s.showContacts)
	mux.HandleFunc("POST "+controlPath+"contacts", s.addContacts)
	mux.HandleFunc("PATCH "+controlPath+"contacts/{id}", s.editContact)
	mux.HandleFunc("DELETE "+controlPath+"contacts/{id}", func(_ http.ResponseWriter, r *http.Request) { s.RemoveContact(r.PathValue("id")) })
	mux.HandleFunc("POST "+controlPath+"faults", s.addFault)
	mux.HandleFunc("DELETE "+controlPath+"faults", func(http.ResponseWriter, *http.Request) { s.ClearFaults() })
}

// journalEntry is a Request without what must not be seen: the key, headers,
// and the values of overrides.
type journalEntry struct {
	Time   time.Time `json:"time"`
	Key    string    `json:"key"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Query  string    `json:"query"`
	Status int       `json:"status"`
	// Body is null when it was no valid update.
	Body any `json:"body"`
}

func (s *Server) showJournal(w http.ResponseWriter, _ *http.Request) {
	entries := []journalEntry{}
	for _, r := range s.Journal() {
		entry := journalEntry{r.Time, "", r.Method, r.Path, r.RawQuery, r.Status, nil}
		if r.Key != "" {
			entry.Key = "…"
		}
		if fields, err := parseUpdate(r.Body); err == nil {
			entry.Body = map[string]any{"contact": Contact{Fields: fields}.Masked().Fields}
		}
		entries = append(entries, entry)
	}
	writeJSON(w, entries)
}

func (s *Server) showContacts(w http.ResponseWriter, _ *http.Request) {
	contacts := s.sortedContacts()
	for i := range contacts {
		contacts[i] = contacts[i].Masked()
	}
	writeJSON(w, contacts)
}

func (s *Server) addContacts(w http.ResponseWriter, r *http.Request) {
	var input struct {
		IDs []string `json:"ids"`
	}
	if err := readJSON(r, &input); err != nil || len(input.IDs) == 0 || slices.Contains(input.IDs, "") {
		http.Error(w, `send {"ids": ["…"]} with at least one ID and none empty`, http.StatusBadRequest)
		return
	}
	s.AddContacts(input.IDs...)
}

// editContact takes the body of an update, in which a null erases a field or a key of
// custom_data.
func (s *Server) editContact(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the edit cannot be read: the body is too large", http.StatusBadRequest)
		return
	}
	fields, err := parseContact(body)
	erased := dropNulls(fields)
	data, _ := fields["custom_data"].(map[string]any)
	erasedData := dropNulls(data)
	if err := cmp.Or(err, checkContact(fields)); err != nil {
		http.Error(w, fmt.Sprintf("the edit cannot be read: %s", err), http.StatusBadRequest)
		return
	}
	exists := s.Edit(r.PathValue("id"), func(c *Contact) {
		merge(c.Fields, fields, false)
		for _, name := range erased {
			delete(c.Fields, name)
		}
		held, _ := c.Fields["custom_data"].(map[string]any)
		for _, name := range erasedData {
			delete(held, name)
		}
	})
	if !exists {
		http.Error(w, "there is no such contact", http.StatusNotFound)
	}
}

// dropNulls removes what is null, and names it.
func dropNulls(object map[string]any) (names []string) {
	for name, value := range object {
		if value == nil {
			names = append(names, name)
			delete(object, name)
		}
	}
	return names
}

func (s *Server) addFault(w http.ResponseWriter, r *http.Request) {
	var input struct {
		Next    int               `json:"next"`
		List    int               `json:"list"`
		Contact string            `json:"contact"`
		Status  int               `json:"status"`
		Body    *string           `json:"body"`
		Headers map[string]string `json:"headers"`
		Delay   string            `json:"delay"`
		Break   Break             `json:"break"`
	}
	if err := readJSON(r, &input); err != nil {
		http.Error(w, fmt.Sprintf("the fault cannot be read: %s", err), http.StatusBadRequest)
		return
	}
	said := 0
	for _, given := range []bool{input.Next != 0, input.List != 0, input.Contact != ""} {
		if given {
			said++
		}
	}
	delay, err := time.ParseDuration(cmp.Or(input.Delay, "0s"))
	switch {
	case said != 1 || min(input.Next, input.List) < 0 || max(input.Next, input.List) > 100_000:
		http.Error(w, `say either "next" or "list", from 1 to 100000, or "contact", an ID`, http.StatusBadRequest)
		return
	case !slices.Contains([]Break{"", Reset, Half, Hang}, input.Break):
		http.Error(w, `"break" must be "reset", "half" or "hang"`, http.StatusBadRequest)
		return
	case (input.Status < 200 || input.Status > 599) && (input.Status != 0 || input.Break == "" || input.Break == Half):
		http.Error(w, `"status" must be from 200 to 599`, http.StatusBadRequest)
		return
	case err != nil || delay < 0 || delay > time.Hour:
		http.Error(w, `"delay" must be a duration from 0s to 1h`, http.StatusBadRequest)
		return
	case !validHeaders(input.Headers):
		http.Error(w, `"headers" must map header names to text without control characters`, http.StatusBadRequest)
		return
	}
	answer := Answer{Status: input.Status, Header: map[string]string{}}
	if input.Status >= 300 {
		answer = Failure(input.Status, "Injected")
	}
	answer.Delay, answer.Break = delay, input.Break
	if input.Body != nil {
		answer.Body = *input.Body
	}
	for name, value := range input.Headers {
		answer.Header[name] = value
	}
	switch {
	case input.Next > 0:
		s.InjectNext(input.Next, answer)
	case input.List > 0:
		s.InjectList(input.List, answer)
	default:
		s.InjectContact(input.Contact, answer)
	}
}

// headerName is a token of RFC 9110, section 5.6.2.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// validHeaders is there because net/http drops a bad name and rewrites a bad
// value without a word.
func validHeaders(headers map[string]string) bool {
	for name, value := range headers {
		if !headerName.MatchString(name) || strings.ContainsFunc(value, unicode.IsControl) {
			return false
		}
	}
	return true
}

// readJSON takes a single value without unknown fields.
func readJSON(r *http.Request, into any) error {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err == io.EOF {
		return errors.New("there is no body")
	} else if err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("there is more than one JSON value")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
