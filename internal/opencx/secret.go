package opencx

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Secret is a text that must not show: a value of a contact, or an API key.
// However it is printed, logged or marshalled it shows as "***"; only the client
// unwraps it, into a request. Others may ask whether it is a value that they have.
type Secret struct{ value string }

// NewSecret returns value as a Secret.
func NewSecret(value string) Secret { return Secret{value} }

// Matches says that the secret and text are the same once normal has been applied to
// both; without normal, that they are equal. normal must keep nothing of what it is given.
func (s Secret) Matches(text string, normal func(string) string) bool {
	if normal == nil {
		return s.value == text
	}
	return normal(s.value) == normal(text)
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
