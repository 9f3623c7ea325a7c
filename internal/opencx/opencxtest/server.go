// Package opencxtest is a simulator of the OpenCX API for tests and demos. It
// is strict: it holds its clients to the rate limit over a trailing window,
// refuses what the schema of OpenCX's page refuses, and keeps a journal of
// every request.
package opencxtest

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are the settings of a simulator. The zero value takes any token,
// knows no contact and has OpenCX's documented limit.
type Options struct {
	// Keys are the accepted bearer tokens. Empty accepts any that is not empty.
	Keys []string
	// Contacts are the IDs that exist at the start.
	Contacts []string
	// AcceptAnyContact creates contacts when they are first updated, instead of
	// answering 404.
	AcceptAnyContact bool
	// Limit is how many requests a key may make in any trailing Window; 0 is
	// 100, negative is no limit.
	Limit int
	// Window is one minute when 0.
	Window time.Duration
	// OneOrganization lets all keys share one Limit, as those of one OpenCX
	// organization do.
	OneOrganization bool
	// BasePath is a path before /contacts, such as "/gateway".
	BasePath string
	// RetryAfter puts a Retry-After in seconds into the 429s of the limit.
	// Whether OpenCX does so is not documented.
	RetryAfter bool
	// MinLatency passes before every answer.
	MinLatency time.Duration
}

// Server is a simulated OpenCX. It is an http.Handler, safe for concurrent use.
type Server struct {
	options Options
	control *http.ServeMux

	mu       sync.Mutex
	keys     map[string]bool
	contacts map[string]*Contact
	windows  map[string]*window // by key, "" for those of one organization
	journal  []*Request
	faults   faults
	held     chan struct{} // closed when requests may be answered; nil when they may
}

// Contact is what the simulator holds of one contact.
type Contact struct {
	ID string `json:"id"`
	// Fields are the top-level fields of the accepted "contact" objects; a
	// later one replaces an earlier one as a whole. Whether OpenCX replaces or
	// merges custom_data is not documented.
	Fields    map[string]any `json:"fields"`
	UpdatedAt time.Time      `json:"updatedAt"`
	// Patches counts the accepted updates.
	Patches int `json:"patches"`
}

// New returns a simulator.
func New(options Options) *Server {
	options.Limit = cmp.Or(options.Limit, 100)
	options.Window = cmp.Or(options.Window, time.Minute)
	s := &Server{options: options, contacts: map[string]*Contact{}, windows: map[string]*window{}}
	s.SetKeys(options.Keys...)
	s.AddContacts(options.Contacts...)
	s.control = http.NewServeMux()
	s.handleControl(s.control)
	return s
}

// StartHTTP serves the simulator on a loopback address until it is closed.
func (s *Server) StartHTTP() *httptest.Server { return httptest.NewServer(s) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, controlPath) {
		s.control.ServeHTTP(w, r)
		return
	}
	// Not through a mux, which would redirect a path with dots or slashes.
	s.serveAPI(w, r)
}

// SetKeys replaces the accepted tokens.
func (s *Server) SetKeys(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = map[string]bool{}
	for _, key := range keys {
		s.keys[key] = true
	}
}

// AddContacts makes contacts exist that did not.
func (s *Server) AddContacts(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if s.contacts[id] == nil {
			s.contacts[id] = &Contact{ID: id, Fields: map[string]any{}}
		}
	}
}

// RemoveContact makes a contact not exist.
func (s *Server) RemoveContact(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.contacts, id)
}

// Contact returns what the simulator holds of a contact.
func (s *Server) Contact(id string) (Contact, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.contacts[id]
	if !ok {
		return Contact{}, false
	}
	return c.copy(), true
}

// copy shares nothing with c that an update changes.
func (c *Contact) copy() Contact {
	clone := *c
	clone.Fields = maps.Clone(c.Fields)
	return clone
}

// Masked returns c with "***" for the values of its http_action_overrides,
// which are often credentials.
func (c Contact) Masked() Contact {
	c = c.copy()
	if overrides, ok := c.Fields["http_action_overrides"]; ok {
		c.Fields["http_action_overrides"] = maskValues(overrides)
	}
	return c
}

// maskValues returns maps of strings, at any depth, with every string masked.
func maskValues(value any) any {
	values, ok := value.(map[string]any)
	if !ok {
		return "***"
	}
	masked := make(map[string]any, len(values))
	for name, value := range values {
		masked[name] = maskValues(value)
	}
	return masked
}

// Hold lets requests that arrive from now on wait, after they are in the
// journal and the window, until release is called. One whose client goes away
// meanwhile is carried out, as a server would that has read it.
func (s *Server) Hold() (release func()) {
	held := make(chan struct{})
	s.mu.Lock()
	s.held = held
	s.mu.Unlock()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		if s.held == held {
			s.held = nil
		}
		s.mu.Unlock()
		close(held)
	})
}

// serveAPI notes the request, decides and answers.
func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	body, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	request, held, refused := s.arrive(r, body)
	if held != nil {
		select {
		case <-held:
		case <-r.Context().Done():
		}
	}
	answer := s.decide(request, r, refused, readErr)
	pause(r, answer.Delay+s.options.MinLatency)
	s.mu.Lock()
	request.Status, request.AnsweredAt = answer.Status, time.Now()
	s.mu.Unlock()
	answer.write(w, r)
}

func pause(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// arrive puts a request into the journal and the window. refused is how long
// the limit keeps it out, 0 when it does not.
func (s *Server) arrive(r *http.Request, body []byte) (request *Request, held <-chan struct{}, refused time.Duration) {
	key, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !isBearer {
		key = "" // a token without its scheme is none
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	request = &Request{
		Time: time.Now(), Key: key, Method: r.Method, Path: r.URL.EscapedPath(), Header: r.Header.Clone(), Body: body,
	}
	s.journal = append(s.journal, request)
	return request, s.held, s.admit(request)
}

// decide finds the answer: the limit first, as at a gateway, then what was
// injected, then what the API itself would say.
func (s *Server) decide(request *Request, r *http.Request, refused time.Duration, readErr error) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused > 0 {
		answer := Failure(http.StatusTooManyRequests, "Rate limit exceeded")
		if s.options.RetryAfter {
			answer.Header["Retry-After"] = strconv.Itoa(int(math.Ceil(refused.Seconds())))
		}
		return answer
	}
	id, isContact := strings.CutPrefix(r.URL.EscapedPath(), s.options.BasePath+"/contacts/")
	id, isID := unescape(id)
	isContact = isContact && isID
	injected, isFault := s.faults.next(id)
	if isFault && !injected.Applied {
		return injected
	}
	answer := s.carryOut(request, r, id, isContact, readErr)
	if isFault {
		return injected
	}
	return answer
}

// carryOut does what the API itself would do.
func (s *Server) carryOut(request *Request, r *http.Request, id string, isContact bool, readErr error) Answer {
	switch {
	case request.Key == "" || len(s.keys) > 0 && !s.keys[request.Key]:
		return Failure(http.StatusUnauthorized, "Unauthorized")
	case !isContact:
		return Failure(http.StatusNotFound, "Cannot "+r.Method+" this path")
	case r.Method != http.MethodPatch:
		return Failure(http.StatusMethodNotAllowed, "Use PATCH")
	}
	return s.update(id, r.Header.Get("Content-Type"), request.Body, readErr)
}

// update is PATCH /contacts/{contact_id}.
func (s *Server) update(id, contentType string, body []byte, readErr error) Answer {
	if readErr != nil {
		return Failure(http.StatusRequestEntityTooLarge, "The body is too large")
	}
	if mediaType, _, _ := mime.ParseMediaType(contentType); mediaType != "application/json" {
		return Failure(http.StatusUnsupportedMediaType, "Content-Type must be application/json")
	}
	fields, err := parseUpdate(body)
	if err != nil {
		return Failure(http.StatusBadRequest, err.Error())
	}
	contact := s.contacts[id]
	if contact == nil && !s.options.AcceptAnyContact {
		return Failure(http.StatusNotFound, "Contact not found")
	}
	if contact == nil {
		contact = &Contact{ID: id, Fields: map[string]any{}}
		s.contacts[id] = contact
	}
	maps.Copy(contact.Fields, fields)
	contact.UpdatedAt = time.Now()
	contact.Patches++
	return Answer{Status: http.StatusOK, Header: map[string]string{}}
}

// Failure is an error answer in the form of OpenCX's page (its ErrorDto).
func Failure(status int, message string) Answer {
	body, _ := json.Marshal(map[string]any{"statusCode": status, "message": message, "error": http.StatusText(status)}) // always marshals
	return Answer{Status: status, Body: string(body), Header: map[string]string{"Content-Type": "application/json"}}
}

// sortedContacts returns copies of all contacts by ID.
func (s *Server) sortedContacts() []Contact {
	s.mu.Lock()
	defer s.mu.Unlock()
	contacts := make([]Contact, 0, len(s.contacts))
	for _, id := range slices.Sorted(maps.Keys(s.contacts)) {
		contacts = append(contacts, s.contacts[id].copy())
	}
	return contacts
}
