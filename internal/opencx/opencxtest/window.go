package opencxtest

import "time"

// window is when the requests of one key were admitted that still count, in a
// ring: the place of the oldest is taken by the next.
type window struct {
	admitted []time.Time
	oldest   int
}

// admit applies the limit: a request is refused when Limit others of its key
// were admitted within the Window that ends with it. A refused one does not
// count. wait is how long until one will be admitted, 0 when this one is.
func (s *Server) admit(request *Request) (wait time.Duration) {
	if s.options.Limit < 0 {
		return 0
	}
	now := request.Time // so that the journal proves what the window saw
	key := request.Key
	if s.options.OneOrganization {
		key = ""
	}
	w := s.windows[key]
	if w == nil {
		w = &window{}
		s.windows[key] = w
	}
	if len(w.admitted) < s.options.Limit {
		w.admitted = append(w.admitted, now)
		return 0
	}
	if wait := w.admitted[w.oldest].Add(s.options.Window).Sub(now); wait > 0 {
		return wait
	}
	w.admitted[w.oldest] = now
	w.oldest = (w.oldest + 1) % len(w.admitted)
	return 0
}
