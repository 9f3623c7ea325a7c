package opencxtest

import (
	"maps"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
)

// StoreOptions are how OpenCX holds contacts, as far as nothing tells.
type StoreOptions struct {
	// ReplaceCustomData lets an update replace custom_data as a whole, instead of the
	// keys that it has.
	ReplaceCustomData bool
	// AlwaysTouch lets an update that changes nothing move updated_at, too.
	AlwaysTouch bool
	// Normalize holds an email in lower case, and a phone as + and digits.
	Normalize bool
	// Ahead is how far the clock of created_at and updated_at is ahead of time.Now.
	Ahead time.Duration
}

// Contact is what the simulator holds of one contact.
type Contact struct {
	ID string `json:"id"`
	// Fields are the top-level fields of the accepted "contact" objects. A later one
	// replaces an earlier one as a whole, but for custom_data; see StoreOptions.
	Fields map[string]any `json:"fields"`
	// CreatedAt and UpdatedAt are by the clock of the store, in milliseconds.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	// Patches counts the accepted updates.
	Patches int `json:"patches"`
	// Edits counts the edits that were made in OpenCX, and Edited names the fields that
	// the last one changed, such as "name" and "custom_data.plan".
	Edits  int      `json:"edits"`
	Edited []string `json:"edited"`
}

// now is the time by the clock of the store.
func (s *Server) now() time.Time {
	return time.Now().Add(s.options.Store.Ahead).UTC().Truncate(time.Millisecond)
}

// create makes a contact exist. Who calls it holds the lock.
func (s *Server) create(id string) *Contact {
	now := s.now()
	contact := &Contact{ID: id, Fields: map[string]any{}, CreatedAt: now, UpdatedAt: now}
	s.contacts[id] = contact
	return contact
}

// AddContacts makes contacts exist that did not.
func (s *Server) AddContacts(ids ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if s.contacts[id] == nil {
			s.create(id)
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

// Edit changes a contact as a person does in OpenCX: no request is counted, and
// updated_at moves. Of what change does, Fields alone is kept. It says whether the
// contact exists; otherwise change is not called.
func (s *Server) Edit(id string, change func(*Contact)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	contact := s.contacts[id]
	if contact == nil {
		return false
	}
	edited := contact.copy()
	change(&edited)
	contact.Edited = s.setFields(contact, edited.Fields)
	contact.UpdatedAt = s.now()
	contact.Edits++
	return true
}

// setFields replaces the fields of a contact, and names those that are others now.
func (s *Server) setFields(contact *Contact, fields map[string]any) (changed []string) {
	if s.options.Store.Normalize {
		normalize(fields)
	}
	changed = changes("", contact.Fields, fields)
	contact.Fields = fields
	return changed
}

func normalize(fields map[string]any) {
	if email, ok := fields["email"].(string); ok {
		fields["email"] = strings.ToLower(email)
	}
	if phone, ok := fields["phone"].(string); ok && phone != "" {
		fields["phone"] = "+" + strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, phone)
	}
}

// changes names what differs between two objects, with what is around it in front.
func changes(around string, before, after map[string]any) []string {
	all := map[string]any{}
	maps.Copy(all, before)
	maps.Copy(all, after)
	names := []string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		old, wasObject := before[name].(map[string]any)
		object, isObject := after[name].(map[string]any)
		switch {
		case reflect.DeepEqual(before[name], after[name]):
		case len(old)+len(object) > 0 && (wasObject || before[name] == nil) && (isObject || after[name] == nil):
			names = append(names, changes(around+name+".", old, object)...)
		default:
			names = append(names, around+name)
		}
	}
	return names
}

// copy shares nothing with c that a change changes.
func (c *Contact) copy() Contact {
	clone := *c
	clone.Fields = cloneObject(c.Fields)
	clone.Edited = slices.Clone(c.Edited)
	return clone
}

func cloneObject(object map[string]any) map[string]any {
	clone := make(map[string]any, len(object))
	for name, value := range object {
		if inner, ok := value.(map[string]any); ok {
			value = cloneObject(inner)
		}
		clone[name] = value
	}
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
		contact = s.create(id)
	}
	updated := contact.copy()
	merge(updated.Fields, fields, s.options.Store.ReplaceCustomData)
	if changed := s.setFields(contact, updated.Fields); len(changed) > 0 || s.options.Store.AlwaysTouch {
		contact.UpdatedAt = s.now()
	}
	contact.Patches++
	return Answer{Status: http.StatusOK, Header: map[string]string{}}
}

// merge puts fields into those of a contact.
func merge(into, fields map[string]any, replaceCustomData bool) {
	held, _ := into["custom_data"].(map[string]any)
	maps.Copy(into, fields)
	if data, ok := fields["custom_data"].(map[string]any); ok && !replaceCustomData && held != nil {
		maps.Copy(held, data)
		into["custom_data"] = held
	}
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
