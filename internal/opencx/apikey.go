package opencx

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// APIKey is a bearer token. However it is printed, logged or marshalled it
// shows as "***"; only the client unwraps it, into the Authorization header.
type APIKey struct{ value string }

// Errors of NewAPIKey.
var (
	ErrAPIKeyEmpty   = errors.New("the API key is empty")
	ErrAPIKeyInvalid = errors.New("the API key has characters that no header can carry (a line break, a space or a control character)")
)

// NewAPIKey returns the key that a Secret or the environment holds. One
// trailing newline is dropped, because that is how keys usually get into
// Secrets. The errors never contain the key.
func NewAPIKey(value string) (APIKey, error) {
	value = strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r")
	if value == "" {
		return APIKey{}, ErrAPIKeyEmpty
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return APIKey{}, ErrAPIKeyInvalid
	}
	return APIKey{value}, nil
}

// Fingerprint tells keys apart by their content. It is a digest under a random
// seed, so it is worth little to anybody who does not know the key.
type Fingerprint [sha256.Size]byte

// Fingerprint returns the same value for the same key and seed.
func (k APIKey) Fingerprint(seed string) Fingerprint {
	mac := hmac.New(sha256.New, []byte(seed))
	mac.Write([]byte(k.value))
	return Fingerprint(mac.Sum(nil))
}

const masked = "***"

var (
	_ fmt.Formatter  = APIKey{}
	_ json.Marshaler = APIKey{}
	_ slog.LogValuer = APIKey{}
)

// Format implements fmt.Formatter: every verb prints the mask.
func (APIKey) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(masked)) }

// MarshalJSON implements json.Marshaler.
func (APIKey) MarshalJSON() ([]byte, error) { return json.Marshal(masked) }

// MarshalText implements encoding.TextMarshaler.
func (APIKey) MarshalText() ([]byte, error) { return []byte(masked), nil }

// LogValue implements slog.LogValuer.
func (APIKey) LogValue() slog.Value { return slog.StringValue(masked) }
