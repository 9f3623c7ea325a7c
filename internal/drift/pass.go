package drift

import (
	"sync/atomic"
	"time"

	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// pass is one sweep that is under way.
type pass struct {
	full  bool
	after time.Time // what changed before is not asked for; zero in a full one
	// again says that it was begun anew, after its cursor was refused.
	again bool
	// failuresBefore is how many there had been in a row when it was begun.
	failuresBefore int

	cursor  string // of the next page; "" for the first
	ended   bool   // that was the last page
	sources *Sources

	requestedAt time.Time // the first page
	watermark   time.Time // of the next sweep
	seen        int32
	requests    int
	pages       int

	// pending are those of the last page that are not compared yet.
	pending  atomic.Int32
	handedAt time.Time
}

// takes notes what a page says of the list. It returns what is wrong with it.
func (p *pass) takes(page opencx.Page, requestedAt time.Time, overlap time.Duration) (fault string) {
	if p.pages++; p.pages == 1 {
		p.requestedAt = requestedAt
		date := page.Date
		if date.Before(time.Unix(0, 0)) || date.After(requestedAt.Add(believed)) { // none, or none that can be
			date = requestedAt
		}
		p.watermark = date.Add(-overlap)
	}
	p.seen += int32(len(page.Contacts))
	switch {
	case page.Next != "" && page.Next == p.cursor, p.pages == mostPages:
		return "the list of contacts has no end"
	case page.Next == "":
		p.ended = true
	}
	p.cursor = page.Next
	return ""
}
