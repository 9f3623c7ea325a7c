package opencx

import (
	"bytes"
	"encoding/json"
)

// Contact is the part of a contact that an update carries: the "contact"
// object of UpdateContactInput in OpenCX's "Update a contact" page. A nil field
// is left out, and OpenCX keeps what it has; a pointer to "" and an empty map
// are sent.
type Contact struct {
	Email               *string              `json:"email,omitzero"`
	Phone               *string              `json:"phone,omitzero"`
	Name                *string              `json:"name,omitzero"`
	CustomData          map[string]string    `json:"custom_data,omitzero"`
	HTTPActionOverrides *HTTPActionOverrides `json:"http_action_overrides,omitzero"`
}

// HTTPActionOverrides is PublicAPIHttpOverrides in OpenCX's page: values that
// OpenCX puts into the HTTP actions it calls for the contact.
type HTTPActionOverrides struct {
	QueryParams map[string]string `json:"query_params,omitzero"`
	PathParams  map[string]string `json:"path_params,omitzero"`
	BodyParams  map[string]string `json:"body_params,omitzero"`
	Headers     map[string]string `json:"headers,omitzero"`
}

// encode returns the body of the update: {"contact": {…}} with map keys sorted
// and no HTML escapes, so that equal contacts are equal bytes.
func (c Contact) encode() ([]byte, error) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(struct {
		Contact Contact `json:"contact"`
	}{c}); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}

// values returns every value that an update of c sends.
func (c Contact) values() []string {
	var values []string
	for _, scalar := range []*string{c.Email, c.Phone, c.Name} {
		if scalar != nil {
			values = append(values, *scalar)
		}
	}
	maps := []map[string]string{c.CustomData}
	if o := c.HTTPActionOverrides; o != nil {
		maps = append(maps, o.QueryParams, o.PathParams, o.BodyParams, o.Headers)
	}
	for _, m := range maps {
		for _, value := range m {
			values = append(values, value)
		}
	}
	return values
}
