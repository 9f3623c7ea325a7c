package opencx

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
)

// Contact is the part of a contact that an update carries: the "contact"
// object of UpdateContactInput in OpenCX's "Update a contact" page. A nil field
// is left out, and OpenCX keeps what it has; a pointer to an empty Secret and an
// empty map are sent.
type Contact struct {
	Email               *Secret
	Phone               *Secret
	Name                *Secret
	CustomData          map[string]Secret
	HTTPActionOverrides *HTTPActionOverrides
}

// HTTPActionOverrides is PublicAPIHttpOverrides in OpenCX's page: values that
// OpenCX puts into the HTTP actions it calls for the contact.
type HTTPActionOverrides struct {
	QueryParams map[string]Secret
	PathParams  map[string]Secret
	BodyParams  map[string]Secret
	Headers     map[string]Secret
}

// Fingerprint tells contacts apart by what an update of them sends. It is a digest
// under a random seed, so it is worth little to anybody who does not know that.
type Fingerprint [sha256.Size]byte

// Fingerprint returns the same for what sends the same, and the same seed.
func (c Contact) Fingerprint(seed string) (Fingerprint, error) {
	body, err := c.encode()
	mac := hmac.New(sha256.New, []byte(seed))
	mac.Write(body)
	return Fingerprint(mac.Sum(nil)), err
}

// encode returns the body of the update: {"contact": {…}} with map keys sorted
// and no HTML escapes, so that equal contacts are equal bytes.
func (c Contact) encode() ([]byte, error) {
	type overrides struct {
		QueryParams map[string]string `json:"query_params,omitzero"`
		PathParams  map[string]string `json:"path_params,omitzero"`
		BodyParams  map[string]string `json:"body_params,omitzero"`
		Headers     map[string]string `json:"headers,omitzero"`
	}
	type contact struct {
		Email               *string           `json:"email,omitzero"`
		Phone               *string           `json:"phone,omitzero"`
		Name                *string           `json:"name,omitzero"`
		CustomData          map[string]string `json:"custom_data,omitzero"`
		HTTPActionOverrides *overrides        `json:"http_action_overrides,omitzero"`
	}
	wire := contact{unwrap(c.Email), unwrap(c.Phone), unwrap(c.Name), unwrapAll(c.CustomData), nil}
	if o := c.HTTPActionOverrides; o != nil {
		wire.HTTPActionOverrides = &overrides{unwrapAll(o.QueryParams), unwrapAll(o.PathParams), unwrapAll(o.BodyParams), unwrapAll(o.Headers)}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(struct {
		Contact contact `json:"contact"`
	}{wire}); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}

func unwrap(s *Secret) *string {
	if s == nil {
		return nil
	}
	return &s.value
}

func unwrapAll(secrets map[string]Secret) map[string]string {
	if secrets == nil {
		return nil
	}
	values := make(map[string]string, len(secrets))
	for name, s := range secrets {
		values[name] = s.value
	}
	return values
}

// values returns every value that an update of c sends.
func (c Contact) values() []string {
	var values []string
	for _, scalar := range []*Secret{c.Email, c.Phone, c.Name} {
		if scalar != nil {
			values = append(values, scalar.value)
		}
	}
	maps := []map[string]Secret{c.CustomData}
	if o := c.HTTPActionOverrides; o != nil {
		maps = append(maps, o.QueryParams, o.PathParams, o.BodyParams, o.Headers)
	}
	for _, m := range maps {
		for _, s := range m {
			values = append(values, s.value)
		}
	}
	return values
}
