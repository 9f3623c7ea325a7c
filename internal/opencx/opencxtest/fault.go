package opencxtest

import "time"

// Answer is what a request is told.
type Answer struct {
	Status int
	Body   string
	Header map[string]string
	// Delay passes before the answer.
	Delay time.Duration
}

// faults are the answers that were injected.
type faults struct {
	queue     []Answer
	byContact map[string]Answer
}

func (f *faults) next(id string) (Answer, bool) {
	if len(f.queue) > 0 {
		answer := f.queue[0]
		f.queue = f.queue[1:]
		return answer, true
	}
	answer, ok := f.byContact[id]
	return answer, ok
}

// InjectNext answers the next n requests that the limit admits with a.
func (s *Server) InjectNext(n int, a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.faults.queue = append(s.faults.queue, a)
	}
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
