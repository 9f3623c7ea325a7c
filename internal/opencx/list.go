package opencx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// maxPage is the longest page that is read, and maxCursor the longest cursor that is
// taken from it, in bytes.
const maxPage, maxCursor = 8 << 20, 4 << 10

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
}

// ListedContact is a contact as OpenCX lists it. http_action_overrides is not listed.
// Any value may equal one that came from a Secret, so it prints, logs and marshals as
// "***".
type ListedContact struct {
	ID string
	// Email, Phone and Name are nil when OpenCX has none.
	Email, Phone, Name *string
	// CustomData is nil when OpenCX has none. A value that is no text is its JSON.
	CustomData map[string]string
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
		page, err = readPage(answer)
		return err
	})
	return page, err
}

func readPage(answer *http.Response) (Page, error) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxPage+1))
	switch {
	case len(body) > maxPage:
		return Page{}, &PageError{"it is larger than 8 MiB"}
	case err != nil:
		return Page{}, &PageError{"it did not arrive as a whole"}
	}
	page, err := parsePage(body)
	if err != nil {
		return Page{}, err
	}
	page.Date, _ = http.ParseTime(answer.Header.Get("Date")) // zero with an error
	return page, nil
}

// parsePage reads {"items": […], "next": …}. Names are compared exactly, which
// encoding/json does for maps alone.
func parsePage(body []byte) (Page, error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return Page{}, &PageError{"it is no JSON object"}
	}
	// One by one, so that what is left out costs no memory.
	items := json.NewDecoder(bytes.NewReader(fields["items"]))
	if start, _ := items.Token(); start != json.Delim('[') {
		return Page{}, &PageError{"it has no list of items"}
	}
	var page Page
	for items.More() {
		var item map[string]json.RawMessage
		_ = items.Decode(&item) // it is JSON; what is no object leaves the map empty
		if contact := parseContact(item); contact.ID != "" {
			page.Contacts = append(page.Contacts, contact)
		}
	}
	var next *string
	if raw, has := fields["next"]; has && json.Unmarshal(raw, &next) != nil {
		// To take it for the last page would lose the others.
		return Page{}, &PageError{"its next is no text"}
	}
	if next != nil {
		page.Next = *next
	}
	if len(page.Next) > maxCursor {
		return Page{}, &PageError{"its next is longer than 4096 bytes"}
	}
	return page, nil
}

// parseContact reads an item of the list. It has no ID when it cannot be used.
func parseContact(item map[string]json.RawMessage) ListedContact {
	phone, listed := item["phone_number"]
	if !listed {
		phone = item["phone"] // its name in an update
	}
	contact := ListedContact{
		Email: optionalText(item["email"]), Phone: optionalText(phone), Name: optionalText(item["name"]),
		CustomData: customData(item["custom_data"]),
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

// customData reads a JSON object. Anything else is nil.
func customData(raw json.RawMessage) map[string]string {
	var values map[string]json.RawMessage
	if json.Unmarshal(raw, &values) != nil || values == nil {
		return nil
	}
	data := make(map[string]string, len(values))
	for name, value := range values {
		if text := optionalText(value); text != nil {
			data[name] = *text
		} else if string(value) != "null" {
			var compact bytes.Buffer
			_ = json.Compact(&compact, value) // it is JSON
			data[name] = compact.String()
		}
	}
	return data
}
