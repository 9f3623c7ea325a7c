package opencx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// What is read of a page at most, in bytes: of all, which is more than a hundred of the
// largest contacts that can be declared have, of one value, and of the cursor.
const maxPage, maxValue, maxCursor = 32 << 20, 8 << 20, 4 << 10

// smallPage is how large a page may be beside others, in bytes: of those that are larger, one
// is kept at a time, of all organizations together.
const smallPage = 1 << 20

// maxContacts is how many contacts a page may have.
const maxContacts = 10_000

// isoMillis is ISO 8601 in UTC with milliseconds, as JavaScript writes it.
const isoMillis = "2006-01-02T15:04:05.000Z07:00"

// Page is one page of OpenCX's list of contacts.
type Page struct {
	// Contacts are those items of the page that have an ID, in its order.
	Contacts []ListedContact
	// Next is the cursor of the next page, "" on the last one.
	Next string
	// Date is when OpenCX answered, by its own clock and to the second: the Date header
	// (RFC 9110, section 6.6.1). It is zero when there is none or it is unreadable.
	Date time.Time
	// Release is to be called when nobody has anything of the page any more. It is nil for a
	// small one.
	Release func() `json:"-"`
}

// ListedContact is a contact as OpenCX lists it. http_action_overrides is not listed.
// Any value may equal one that came from a Secret, so it prints, logs and marshals as
// "***".
type ListedContact struct {
	ID string
	// Email, Phone and Name are nil when OpenCX has none.
	Email, Phone, Name *string
	CustomData         CustomData
	// UpdatedAt is by OpenCX's clock, zero when it is unreadable.
	UpdatedAt time.Time
}

var (
	_ fmt.Formatter  = ListedContact{}
	_ json.Marshaler = ListedContact{}
)

// Format implements fmt.Formatter: every verb prints the mask.
func (ListedContact) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(masked)) }

// MarshalJSON implements json.Marshaler.
func (ListedContact) MarshalJSON() ([]byte, error) { return json.Marshal(masked) }

// PageError is a 2xx that is no page of a list. Its text quotes nothing of it.
type PageError struct{ message string }

// Error implements error.
func (e *PageError) Error() string { return "OpenCX's list of contacts cannot be used: " + e.message }

// ListContacts sends GET {base}/contacts, which costs a request of the limit like an
// update. It asks for the contacts that were updated after a time, cut to milliseconds,
// or for all when it is zero; and for the page at a cursor, or the first when it is "".
// A 2xx that cannot be used is a *PageError, every other answer an *APIError, no answer
// a *NoAnswerError. None of the texts repeats the key. Any other error means that
// nothing was sent.
func (c *Client) ListContacts(ctx context.Context, key APIKey, updatedAfter time.Time, cursor string) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	query := url.Values{}
	if !updatedAfter.IsZero() {
		query.Set("updated_after", updatedAfter.UTC().Format(isoMillis))
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	address := c.contactsURL()
	address.RawQuery = query.Encode()
	request, err := c.newRequest(ctx, http.MethodGet, address, key, "")
	if err != nil {
		return Page{}, err
	}
	var page Page
	err = c.send(request, []Secret{key.Secret}, func(answer *http.Response) (err error) {
		page, err = readPage(ctx, answer.Body, c.large)
		page.Date, _ = http.ParseTime(answer.Header.Get("Date")) // zero with an error
		return err
	})
	return page, err
}

// readPage reads {"items": […], "next": …} as it comes, so that of a large page only what
// is used takes memory. Names are compared exactly, which encoding/json does for maps alone.
// What is more than smallPage is read when large is free, which Release makes it again.
func readPage(ctx context.Context, answer io.Reader, large chan struct{}) (page Page, err error) {
	body := &bounded{body: answer, left: maxPage, large: func() bool {
		select {
		case large <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		}
	}}
	release := sync.OnceFunc(func() { <-large })
	page, fault := parsePage(body)
	defer func() {
		switch {
		case !body.isLarge:
		case err != nil:
			release()
		default:
			page.Release = release
		}
	}()
	switch {
	case body.crowded:
		return Page{}, &PageError{"it is larger than 1 MiB, and another one that is has to be compared first"}
	case body.left < 0:
		return Page{}, &PageError{"it is larger than 32 MiB"}
	case body.tooLong:
		return Page{}, &PageError{"one of its values is larger than 8 MiB"}
	case body.err != nil:
		return Page{}, &PageError{"it did not arrive as a whole"}
	case fault != "":
		return Page{}, &PageError{fault}
	}
	return page, nil
}

// bounded reads a body, of which left bytes may still come. Of one value of the list,
// maxValue may.
type bounded struct {
	body    io.Reader
	left    int
	value   int // what came since the last value
	tooLong bool
	err     error // but for the end

	// large waits until it may be larger than smallPage, and says whether it may.
	large            func() bool
	isLarge, crowded bool
}

// Read implements io.Reader.
func (b *bounded) Read(into []byte) (n int, err error) {
	n, err = b.body.Read(into)
	b.left, b.value = b.left-n, b.value+n
	if b.left < maxPage-smallPage && !b.isLarge {
		if b.isLarge = b.large(); !b.isLarge {
			b.crowded = true
			return 0, io.ErrShortBuffer
		}
	}
	switch {
	case b.left < 0, b.value > maxValue:
		b.tooLong = true
		return 0, io.ErrShortBuffer
	case err != nil && err != io.EOF: // as an io.Reader must return it
		b.err = err
	}
	return n, err
}

const noObject, noItems = "it is no JSON object", "it has no list of items"

func parsePage(body *bounded) (page Page, fault string) {
	next, hasItems := json.RawMessage(nil), false
	decoder := json.NewDecoder(body)
	switch start, err := decoder.Token(); {
	case err != nil:
		return page, noObject
	case start == nil: // null
		return page, noItems
	case start != json.Delim('{'):
		return page, noObject
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return page, noObject
		}
		body.value = 0
		if name != "items" {
			var value json.RawMessage
			if decoder.Decode(&value) != nil {
				return page, noObject
			}
			if name == "next" {
				next = value
			}
			continue
		}
		if page.Contacts, fault = parseItems(body, decoder); fault != "" {
			return page, fault
		}
		hasItems = true
	}
	if _, err := decoder.Token(); err != nil {
		return page, noObject
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return page, noObject
	}
	var cursor *string
	switch {
	case !hasItems:
		return page, noItems
	case next != nil && json.Unmarshal(next, &cursor) != nil:
		// To take it for the last page would lose the others.
		return page, "its next is no text"
	case cursor == nil:
		return page, ""
	case len(*cursor) > maxCursor:
		return page, "its next is longer than 4096 bytes"
	}
	page.Next = *cursor
	return page, ""
}

func parseItems(body *bounded, decoder *json.Decoder) (contacts []ListedContact, fault string) {
	switch start, err := decoder.Token(); {
	case err != nil:
		return nil, noObject
	case start != json.Delim('['):
		return nil, noItems
	}
	for decoder.More() {
		body.value = 0
		var item json.RawMessage
		if decoder.Decode(&item) != nil {
			return nil, noObject
		}
		if contact := parseContact(item); contact.ID != "" {
			contacts = append(contacts, contact)
		}
		if len(contacts) > maxContacts {
			return nil, "it has more than 10000 contacts"
		}
	}
	if _, err := decoder.Token(); err != nil {
		return nil, noObject
	}
	return contacts, ""
}

// members calls each with the members of a JSON object, one by one. Anything else has none.
func members(raw json.RawMessage, each func(name string, value json.RawMessage)) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return
	}
	for decoder.More() {
		name, _ := decoder.Token() // it is JSON
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return
		}
		text, _ := name.(string)
		each(text, value)
	}
}

// parseContact reads an item of the list. It has no ID when it cannot be used.
func parseContact(raw json.RawMessage) ListedContact {
	item := map[string]json.RawMessage{}
	members(raw, func(name string, value json.RawMessage) {
		switch name {
		case "id", "email", "phone_number", "phone", "name", "custom_data", "updated_at":
			item[name] = value
		}
	})
	phone, listed := item["phone_number"]
	if !listed {
		phone = item["phone"] // its name in an update
	}
	contact := ListedContact{
		Email: optionalText(item["email"]), Phone: optionalText(phone), Name: optionalText(item["name"]),
		CustomData: CustomData{item["custom_data"]},
	}
	if id := optionalText(item["id"]); id != nil {
		contact.ID = *id
	}
	if updated := optionalText(item["updated_at"]); updated != nil {
		contact.UpdatedAt, _ = time.Parse(time.RFC3339, *updated) // zero with an error
	}
	return contact
}

// optionalText reads a JSON string. Anything else is nil.
func optionalText(raw json.RawMessage) *string {
	var text *string
	if json.Unmarshal(raw, &text) != nil {
		return nil
	}
	return text
}

// CustomData is what OpenCX lists of a contact's custom data, as it came: there may be much
// of it that nobody declares.
type CustomData struct{ raw json.RawMessage }

// Texts returns the values that have a name which is wanted. A value that is no text is its
// JSON.
func (d CustomData) Texts(wanted func(name string) bool) map[string]string {
	data := map[string]string{}
	members(d.raw, func(name string, value json.RawMessage) {
		if !wanted(name) {
			return
		}
		delete(data, name) // of two with one name, the last counts
		if text := optionalText(value); text != nil {
			data[name] = *text
		} else if string(value) != "null" {
			var compact bytes.Buffer
			_ = json.Compact(&compact, value) // it is JSON
			data[name] = compact.String()
		}
	})
	return data
}

// NewCustomData is what is listed of a contact that has these values.
func NewCustomData(values map[string]string) CustomData {
	raw, _ := json.Marshal(values) // texts can always be encoded
	return CustomData{raw}
}
