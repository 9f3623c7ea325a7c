// Package desired turns what a manifest declares into what OpenCX shall be
// told, and into a hash that tells whether it already was.
package desired

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// Contact returns the contact to send for spec. Absent stays absent and empty
// stays empty.
func Contact(spec v1alpha1.OpenCXContactSpec) opencx.Contact {
	contact := opencx.Contact{
		Email:      spec.Email,
		Phone:      spec.Phone,
		Name:       spec.Name,
		CustomData: spec.CustomData,
	}
	if o := spec.HTTPActionOverrides; o != nil {
		contact.HTTPActionOverrides = &opencx.HTTPActionOverrides{
			QueryParams: o.QueryParams,
			PathParams:  o.PathParams,
			BodyParams:  o.BodyParams,
			Headers:     o.Headers,
		}
	}
	return contact
}

// hashVersion stands before every hash. Changing what goes into the hash under
// the same version makes every contact in every cluster be sent once more.
const hashVersion = "v1:"

// Hash identifies what is sent, to which API and with which credential. A
// restart or an upgrade computes the same hash for the same manifest: an absent
// field adds nothing, so a field that a later version brings changes no hash.
// credential is the identity of the key (where it is kept), never its content:
// nothing secret goes in, because a hash of a guessable secret is a leak.
func Hash(id string, contact opencx.Contact, baseURL, credential string) (string, error) {
	canonical, err := json.Marshal(struct {
		API        string         `json:"api"`
		Credential string         `json:"credential"`
		ContactID  string         `json:"contactID"`
		Contact    opencx.Contact `json:"contact"`
	}{baseURL, credential, id, contact})
	if err != nil {
		return "", fmt.Errorf("hashing contact: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return hashVersion + hex.EncodeToString(sum[:]), nil
}
