package opencx

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
)

// Secret is a text that must not show: a value of a contact, or an API key.
// However it is printed, logged or marshalled it shows as "***"; only the client
// unwraps it, into a request.
type Secret struct{ value string }

// NewSecret returns value as a Secret.
func NewSecret(value string) Secret { return Secret{value} }

// Fingerprint tells secrets apart by their content. It is a digest under a random
// seed, so it is worth little to anybody who does not know the secret.
type Fingerprint [sha256.Size]byte

// Fingerprint returns the same value for the same content and seed.
func (s Secret) Fingerprint(seed string) Fingerprint { return fingerprint(seed, []byte(s.value)) }

func fingerprint(seed string, content []byte) Fingerprint {
	mac := hmac.New(sha256.New, []byte(seed))
	mac.Write(content)
	return Fingerprint(mac.Sum(nil))
}

const masked = "***"

var (
	_ fmt.Formatter  = Secret{}
	_ json.Marshaler = Secret{}
	_ slog.LogValuer = Secret{}
)

// Format implements fmt.Formatter: every verb prints the mask.
func (Secret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(masked)) }

// MarshalJSON implements json.Marshaler.
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(masked) }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue(masked) }
