package opencx

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
)

// APIKey is a bearer token. It is a Secret that a header can carry.
type APIKey struct{ Secret }

// maxAPIKey is the length of the longest API key, in bytes. Many servers refuse a header
// that is longer than twice that.
const maxAPIKey = 4096

// Errors of NewAPIKey.
var (
	ErrAPIKeyEmpty   = errors.New("the API key is empty")
	ErrAPIKeyTooLong = errors.New("the API key is longer than 4096 bytes: is it a file with more than the key")
	ErrAPIKeyInvalid = errors.New("the API key has characters that none has: it must be printable ASCII without spaces; is it a placeholder, or more than one line")
)

// NewAPIKey returns the key that a Secret holds. One trailing newline is dropped, because
// that is how keys usually get into Secrets. What is too long, as a Secret of 1 MiB is,
// is not copied. The errors never contain the key.
func NewAPIKey[Value string | []byte](held Value) (APIKey, error) {
	if len(held) > maxAPIKey+len("\r\n") {
		return APIKey{}, ErrAPIKeyTooLong
	}
	value := TrimNewline(string(held))
	switch {
	case value == "":
		return APIKey{}, ErrAPIKeyEmpty
	case len(value) > maxAPIKey:
		return APIKey{}, ErrAPIKeyTooLong
	}
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return APIKey{}, ErrAPIKeyInvalid
	}
	return APIKey{NewSecret(value)}, nil
}

// TrimNewline drops one newline at the end of a value, which echo and editors put into
// Secrets: LF, or CR and LF.
func TrimNewline(value string) string {
	if trimmed, found := strings.CutSuffix(value, "\r\n"); found {
		return trimmed
	}
	return strings.TrimSuffix(value, "\n")
}

// Fingerprint is the same for the same key and seed. Without the seed, which must stay
// in memory, it tells nothing of the key.
func (k APIKey) Fingerprint(seed string) string {
	mac := hmac.New(sha256.New, []byte(seed))
	mac.Write([]byte(k.value))
	return hex.EncodeToString(mac.Sum(nil))
}
