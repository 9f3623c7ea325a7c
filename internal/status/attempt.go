package status

import "strings"

// Attempt is what a PATCH carried: the hash of it, and the version of the Secret with
// the API key.
type Attempt struct{ Hash, KeyVersion string }

// ParseAttempt reads what status.attemptedHash of a contact says.
func ParseAttempt(s string) Attempt {
	hash, keyVersion, _ := strings.Cut(s, "@")
	return Attempt{hash, keyVersion}
}

// String is how an attempt stands in status.attemptedHash.
func (a Attempt) String() string { return a.Hash + "@" + a.KeyVersion }
