package controller

import (
	"errors"
	"sync"
	"time"
)

// reads are the reads of values under way: no more of one namespace at a time than leave
// workers for the others, because a contact may take its values from many large objects.
type reads struct {
	limit int

	mu       sync.Mutex
	underWay map[string]int
	refused  map[string]int // of those that are under way; less one for each that has ended since
}

func newReads(limit int) *reads {
	return &reads{limit: limit, underWay: map[string]int{}, refused: map[string]int{}}
}

// errBusy says that as many contacts of the namespace are being read as may be.
var errBusy = errors.New("other contacts of the namespace are being read")

// readPause is how long a contact waits that may not be read, and readPauseEach how much
// longer for each that does, up to maxRetry.
const readPause, readPauseEach = 100 * time.Millisecond, 2 * time.Millisecond

// begin says whether the values of a contact of a namespace may be read now. end must
// follow, if so; otherwise it is to be asked again after pause. One that the budget has
// called keeps a slot and a place from all others: twice as many may be read to let such a
// one go before, and it asks again soon.
func (r *reads) begin(namespace string, called bool) (pause time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	most := r.limit
	if called {
		most *= 2
	}
	if r.underWay[namespace] < most {
		r.underWay[namespace]++
		return 0, true
	}
	if called {
		return readPause, false
	}
	r.refused[namespace]++
	return min(maxRetry, readPause+time.Duration(r.refused[namespace])*readPauseEach), false
}

func (r *reads) end(namespace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused[namespace]--; r.refused[namespace] <= 0 {
		delete(r.refused, namespace)
	}
	if r.underWay[namespace]--; r.underWay[namespace] == 0 {
		delete(r.underWay, namespace)
		delete(r.refused, namespace)
	}
}
