package opencxtest

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Answer is what a request is told.
type Answer struct {
	Status int
	Body   string
	Header map[string]string
	// Delay passes before the answer.
	Delay time.Duration
	// Break is how the answer goes wrong on its way; "" is not at all.
	Break Break
	// Applied carries the request out all the same: only its answer is another one.
	// Without it a 2xx is an update that OpenCX accepts and drops in silence.
	Applied bool
}

// Break is a way in which an answer does not arrive as it should.
type Break string

const (
	// Reset closes the connection instead of answering.
	Reset Break = "reset"
	// Half closes the connection after the header and half of the body.
	Half Break = "half"
	// Hang answers nothing until the client gives up.
	Hang Break = "hang"
)

// write sends the answer, or as much of it as Break lets through.
func (a Answer) write(w http.ResponseWriter, r *http.Request) {
	body := a.Body
	switch a.Break {
	case Reset:
		panic(http.ErrAbortHandler)
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case Half:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		body = body[:len(body)/2]
	}
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, body)
	if a.Break == Half {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// faults are the answers that were injected.
type faults struct {
	queue     []Answer
	lists     []Answer
	byContact map[string]Answer
	decide    func(Request) (Answer, bool)
}

func (f *faults) next(target target, request *Request) (Answer, bool) {
	queue := &f.queue
	if target.list {
		queue = &f.lists
	}
	if len(*queue) > 0 {
		answer := (*queue)[0]
		*queue = (*queue)[1:]
		return answer, true
	}
	answer, ok := f.byContact[target.id]
	if !ok && f.decide != nil {
		return f.decide(*request)
	}
	return answer, ok
}

// InjectNext answers the next n requests that the limit admits with a, but for those of
// lists.
func (s *Server) InjectNext(n int, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.queue = append(s.faults.queue, slices.Repeat([]Answer{a}, n)...)
}

// InjectList answers the next n lists that the limit admits with a.
func (s *Server) InjectList(n int, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.lists = append(s.faults.lists, slices.Repeat([]Answer{a}, n)...)
}

// InjectContact answers every request for one contact with a, until
// ClearContact or ClearFaults.
func (s *Server) InjectContact(id string, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.byContact == nil {
		s.faults.byContact = map[string]Answer{}
	}
	s.faults.byContact[id] = a
}

// InjectFunc has decide say what a request is answered that nothing else was injected
// for; without true the simulator answers. It is called for one request at a time, and
// must not call the simulator. ClearFaults ends it.
func (s *Server) InjectFunc(decide func(Request) (Answer, bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.decide = decide
}

// ClearContact ends what InjectContact began.
func (s *Server) ClearContact(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults.byContact, id)
}

// ClearFaults ends everything that was injected.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults{}
}
