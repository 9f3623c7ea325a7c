// Package opencxtest is a simulator of the OpenCX API for tests and demos. It
// is strict: it holds its clients to the rate limit over a trailing window,
// refuses what the schema of OpenCX's page refuses, and keeps a journal of
// every request.
package opencxtest

import (
	"cmp"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
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
	// DateAhead is how far the Date header of answers is ahead of time.Now.
	DateAhead time.Duration
	// WriteOnlyKeys are those of the accepted tokens that get 403 when they list
	// contacts, as OpenCX answers a key without contacts:read.
	WriteOnlyKeys []string
	List          ListOptions
	Store         StoreOptions
}

// Server is a simulated OpenCX. It is an http.Handler, safe for concurrent use.
type Server struct {
	options Options
	control *http.ServeMux

	mu        sync.Mutex
	keys      map[string]bool
	writeOnly map[string]bool // keys
	contacts  map[string]*Contact
	cursors   map[string]*cursor
	windows   map[string]*window // by key, "" for those of one organization
	journal   []*Request
	faults    faults
	held      chan struct{} // closed when requests may be answered; nil when they may
}

// New returns a simulator.
func New(options Options) *Server {
	options.Limit = cmp.Or(options.Limit, 100)
	options.Window = cmp.Or(options.Window, time.Minute)
	s := &Server{options: options, contacts: map[string]*Contact{}, cursors: map[string]*cursor{}, windows: map[string]*window{}}
	s.SetKeys(options.Keys...)
	s.SetWriteOnlyKeys(options.WriteOnlyKeys...)
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
	s.keys = set(keys)
}

// SetWriteOnlyKeys replaces the tokens that may not list contacts.
func (s *Server) SetWriteOnlyKeys(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeOnly = set(keys)
}

func set(keys []string) map[string]bool {
	all := make(map[string]bool, len(keys))
	for _, key := range keys {
		all[key] = true
	}
	return all
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
	w.Header().Set("Date", time.Now().Add(s.options.DateAhead).UTC().Format(http.TimeFormat))
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
		Time: time.Now(), Key: key, Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery,
		Header: r.Header.Clone(), Body: body,
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
	target := s.target(r)
	injected, isFault := s.faults.next(target, request)
	if isFault && !injected.Applied {
		return injected
	}
	answer := s.carryOut(request, r, target, readErr)
	if !target.list && answer.Status == http.StatusOK {
		request.AppliedAt = time.Now()
	}
	if isFault {
		return injected
	}
	return answer
}

// target is what a request is for: the list, one contact, or neither.
type target struct {
	list bool
	id   string // of a contact, "" for none
}

func (s *Server) target(r *http.Request) target {
	path, isOurs := strings.CutPrefix(r.URL.EscapedPath(), s.options.BasePath+"/contacts")
	if !isOurs {
		return target{}
	}
	segment, isInside := strings.CutPrefix(path, "/")
	if !isInside {
		return target{list: path == ""}
	}
	return target{id: unescape(segment)}
}

// carryOut does what the API itself would do.
func (s *Server) carryOut(request *Request, r *http.Request, target target, readErr error) Answer {
	switch {
	case request.Key == "" || len(s.keys) > 0 && !s.keys[request.Key]:
		return Failure(http.StatusUnauthorized, "Unauthorized")
	case target.list && r.Method != http.MethodGet:
		return Failure(http.StatusMethodNotAllowed, "Use GET")
	case target.list && s.writeOnly[request.Key]:
		return Failure(http.StatusForbidden, "Forbidden")
	case target.list && len(request.Body) > 0:
		return Failure(http.StatusBadRequest, "a GET has no body")
	case target.list:
		return s.list(request.RawQuery)
	case target.id == "":
		return Failure(http.StatusNotFound, "Cannot "+r.Method+" this path")
	case r.Method != http.MethodPatch:
		return Failure(http.StatusMethodNotAllowed, "Use PATCH")
	}
	return s.update(target.id, r.Header.Get("Content-Type"), request.Body, readErr)
}

// Failure is an error answer in the form of OpenCX's page (its ErrorDto).
func Failure(status int, message string) Answer {
	body, _ := json.Marshal(map[string]any{"statusCode": status, "message": message, "error": http.StatusText(status)}) // always marshals
	return Answer{Status: status, Body: string(body), Header: map[string]string{"Content-Type": "application/json"}}
}
