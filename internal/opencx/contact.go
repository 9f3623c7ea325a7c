package opencx

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"strings"
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
	// Private are those of the values above that no text of an answer may repeat where
	// it is shown.
	Private []Secret
}

// HTTPActionOverrides is PublicAPIHttpOverrides in OpenCX's page: values that
// OpenCX puts into the HTTP actions it calls for the contact.
type HTTPActionOverrides struct {
	QueryParams map[string]Secret
	PathParams  map[string]Secret
	BodyParams  map[string]Secret
	Headers     map[string]Secret
}

// Payload is an update of a contact as it is sent: {"contact": {…}}, with map keys
// sorted and no HTML escapes, so that equal contacts are equal bytes.
type Payload struct {
	body    Secret
	private []Secret
}

// Payload encodes the update.
func (c Contact) Payload() Payload {
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
	var body strings.Builder
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	// Texts can always be encoded, and a strings.Builder takes all.
	_ = encoder.Encode(struct {
		Contact contact `json:"contact"`
	}{wire})
	return Payload{Secret{strings.TrimSuffix(body.String(), "\n")}, c.Private}
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

// Size is the length of what is sent, in bytes.
func (p Payload) Size() int { return len(p.body.value) }

// Fingerprint tells payloads apart. It is a digest under a random seed, so it is worth
// little to anybody who does not know that.
type Fingerprint [sha256.Size]byte

// Fingerprint returns the same for what sends the same, and the same seed.
func (p Payload) Fingerprint(seed string) Fingerprint {
	mac := hmac.New(sha256.New, []byte(seed))
	mac.Write([]byte(p.body.value))
	return Fingerprint(mac.Sum(nil))
}
