// Package desired turns what a manifest declares into what OpenCX shall be
// told, and into a hash that tells whether it already was.
package desired

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// hashVersion stands before every hash. Changing what goes into the hash under
// the same version makes every contact in every cluster be sent once more.
const hashVersion = "v1:"

// To is where a contact is sent.
type To struct {
	// API is the base URL of OpenCX.
	API string
	// Organization is the namespace/name of the OpenCXOrganization.
	Organization string
}

// Hash identifies what is sent, and to whom. A restart or an upgrade computes the
// same hash for the same manifest: an absent field adds nothing, so a field that a
// later version brings changes no hash. Nothing secret goes in, because a hash of a
// guessable secret is a leak: of a source, the version of its object.
//
// It is the SHA-256 of a list of texts, each with its length before it: the API,
// the organization and the contactID; then each field that is present with its
// number of values, and these by key; then each source with the UID and
// resourceVersion of its object.
func Hash(spec *v1alpha1.OpenCXContactSpec, versions Versions, to To) string {
	canonical := make([]byte, 0, 512)
	add := func(texts ...string) {
		for _, text := range texts {
			canonical = binary.AppendUvarint(canonical, uint64(len(text)))
			canonical = append(canonical, text...)
		}
	}
	add(to.API, to.Organization, spec.ContactID)
	if spec.HTTPActionOverrides != nil {
		add("spec.httpActionOverrides")
	}
	for i := range fields {
		values := fields[i].plain(spec)
		if values == nil {
			continue
		}
		add(fields[i].path)
		canonical = binary.AppendUvarint(canonical, uint64(len(values)))
		for _, key := range slices.Sorted(maps.Keys(values)) {
			add(key, values[key])
		}
	}
	for _, source := range sourcesOf(spec) {
		version := versions[source.object]
		add(source.path(), source.object.Kind, source.object.Name, source.dataKey, version.UID, version.ResourceVersion)
	}
	sum := sha256.Sum256(canonical)
	return hashVersion + hex.EncodeToString(sum[:])
}
