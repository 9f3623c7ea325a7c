package opencxtest

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// ListOptions are how OpenCX lists contacts, as far as nothing tells. Pages are cut by
// (updated_at, id): a contact that changes between two of them moves.
type ListOptions struct {
	// PageSize is how many items a page has at most; 0 is 100.
	PageSize int
	// Overlap is how many items of a page come again on the next one. A page has one
	// new one at least.
	Overlap int
	// Inclusive lets updated_after take what was updated at that very instant.
	Inclusive bool
	// NewestFirst orders by updated_at from the newest to the oldest, instead of from
	// the oldest to the newest.
	NewestFirst bool
	// OmitUnset leaves out what otherwise is null.
	OmitUnset bool
	// CursorRequests is how many requests a cursor works for; 0 is any number.
	CursorRequests int
	// CursorLife is how long a cursor works; 0 is for ever.
	CursorLife time.Duration
	// ExpiredStatus answers a cursor that no longer works; 0 is 400.
	ExpiredStatus int
}

// position is a place in the list.
type position struct {
	updated time.Time
	id      string
}

// cursor is a position that a page ended at.
type cursor struct {
	position
	made     time.Time
	requests int // that it was used for
}

// list is GET /contacts.
func (s *Server) list(rawQuery string) Answer {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return Failure(http.StatusBadRequest, "the query is malformed")
	}
	matches, err := s.filter(query)
	if err != nil {
		return Failure(http.StatusBadRequest, err.Error())
	}
	var after *cursor
	if query.Has("cursor") {
		after = s.cursors[query.Get("cursor")]
		if after == nil {
			return Failure(http.StatusBadRequest, "cursor is invalid")
		}
		if s.expired(after) {
			return Failure(cmp.Or(s.options.List.ExpiredStatus, http.StatusBadRequest), "cursor has expired")
		}
		after.requests++
	}
	var found []*Contact
	for _, contact := range s.contacts {
		if matches(contact) && (after == nil || s.order(contact.position(), after.position) > 0) {
			found = append(found, contact)
		}
	}
	slices.SortFunc(found, func(a, b *Contact) int { return s.order(a.position(), b.position()) })
	return s.page(found)
}

// filter reads the bounds of a query.
func (s *Server) filter(query url.Values) (matches func(*Contact) bool, err error) {
	bounds := map[string]time.Time{}
	for _, name := range []string{"created_after", "created_before", "updated_after", "updated_before"} {
		if !query.Has(name) {
			continue
		}
		bound, err := time.Parse(time.RFC3339, query.Get(name))
		if err != nil || len(query[name]) > 1 {
			return nil, fmt.Errorf("%s must be a date and time of ISO 8601", name)
		}
		bounds[name] = bound
	}
	within := func(t time.Time, after, before string, inclusive bool) bool {
		start, hasStart := bounds[after]
		end, hasEnd := bounds[before]
		return (!hasStart || t.After(start) || inclusive && t.Equal(start)) && (!hasEnd || t.Before(end))
	}
	return func(c *Contact) bool {
		return within(c.CreatedAt, "created_after", "created_before", false) &&
			within(c.UpdatedAt, "updated_after", "updated_before", s.options.List.Inclusive)
	}, nil
}

func (s *Server) expired(c *cursor) bool {
	list := s.options.List
	return list.CursorRequests > 0 && c.requests >= list.CursorRequests || list.CursorLife > 0 && time.Since(c.made) >= list.CursorLife
}

func (c *Contact) position() position { return position{c.UpdatedAt, c.ID} }

// order is negative when a is listed before b.
func (s *Server) order(a, b position) int {
	byTime := a.updated.Compare(b.updated)
	if s.options.List.NewestFirst {
		byTime = -byTime
	}
	return cmp.Or(byTime, cmp.Compare(a.id, b.id))
}

// page answers with the first of what was found.
func (s *Server) page(found []*Contact) Answer {
	size := cmp.Or(s.options.List.PageSize, 100)
	var next *string
	if len(found) > size {
		found = found[:size]
		last := found[size-1-min(s.options.List.Overlap, size-1)]
		// In base64 it has what a query must escape.
		token := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%d>%s", len(s.cursors), last.ID))
		s.cursors[token] = &cursor{position: last.position(), made: time.Now()}
		next = &token
	}
	items := make([]map[string]any, len(found))
	for i, contact := range found {
		items[i] = s.item(contact)
	}
	answer := map[string]any{"items": items}
	if next != nil || !s.options.List.OmitUnset {
		answer["next"] = next
	}
	body, _ := json.Marshal(answer) // what was read from JSON
	return Answer{Status: http.StatusOK, Body: string(body), Header: map[string]string{"Content-Type": "application/json"}}
}

// isoMillis is ISO 8601 as JavaScript writes it.
const isoMillis = "2006-01-02T15:04:05.000Z07:00"

func (s *Server) item(c *Contact) map[string]any {
	item := map[string]any{"id": c.ID, "created_at": c.CreatedAt.Format(isoMillis), "updated_at": c.UpdatedAt.Format(isoMillis)}
	for name, field := range map[string]string{"email": "email", "phone_number": "phone", "name": "name", "custom_data": "custom_data"} {
		if value := c.Fields[field]; value != nil || !s.options.List.OmitUnset {
			item[name] = value
		}
	}
	return item
}
