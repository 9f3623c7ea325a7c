package opencxtest

import (
	"net/http"
	"time"
)

// Request is one entry of the journal.
type Request struct {
	// Time is when the request had arrived as a whole.
	Time time.Time
	// Key is the bearer token, Path and RawQuery are as they were on the wire.
	Key, Method, Path, RawQuery string
	Header                      http.Header
	Body                        []byte
	// Status is that of the answer, 0 while there is none.
	Status     int
	AnsweredAt time.Time
	// AppliedAt is when an update was carried out, whatever it is answered; zero when it
	// was not.
	AppliedAt time.Time
}

// Journal returns a copy of the journal, in the order of arrival.
func (s *Server) Journal() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.copyOfJournal()
}

// ResetJournal empties the journal, and returns what was in it.
func (s *Server) ResetJournal() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	journal := s.copyOfJournal()
	s.journal = nil
	return journal
}

// copyOfJournal copies it. Who calls it holds the lock.
func (s *Server) copyOfJournal() []Request {
	journal := make([]Request, len(s.journal))
	for i, request := range s.journal {
		journal[i] = *request
	}
	return journal
}
