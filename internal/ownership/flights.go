package ownership

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Flights are the requests that are under way: of one contactID of one organization
// there is never more than one, whoever asked for it, so that none arrives after
// one that was sent later.
type Flights struct {
	wake func(types.NamespacedName)

	mu      sync.Mutex
	byClaim map[Claim]*Flight
}

// Flight is one request that is under way.
type Flight struct {
	flights *Flights
	claim   Claim
	// Until is when the request can no longer arrive, if no answer came; zero when it
	// has been answered.
	Until   time.Time
	waiting []types.NamespacedName
}

// NewFlights returns Flights of which none is under way. wake has a contact looked at;
// it must neither block nor call Flights.
func NewFlights(wake func(types.NamespacedName)) *Flights {
	return &Flights{wake: wake, byClaim: map[Claim]*Flight{}}
}

// Begin says that a request of c may begin. When it may not, because another one is
// under way, name is woken at the end of that.
func (f *Flights) Begin(c Claim, name types.NamespacedName) (*Flight, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.byClaim[c]; other != nil {
		other.waiting = append(other.waiting, name)
		return nil, false
	}
	f.byClaim[c] = &Flight{flights: f, claim: c}
	return f.byClaim[c], true
}

// End says that the request was answered, was not sent after all, or will have
// arrived at until if it ever does.
func (f *Flight) End() {
	if wait := time.Until(f.Until); wait > 0 {
		time.AfterFunc(wait, f.land)
	} else {
		f.land()
	}
}

func (f *Flight) land() {
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	delete(f.flights.byClaim, f.claim)
	for _, name := range f.waiting {
		f.flights.wake(name)
	}
}
