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

// Contact returns the contact to send for spec, with the values of its sources
// by path. Absent stays absent and empty stays empty; a source without a value
// is left out.
func Contact(spec v1alpha1.OpenCXContactSpec, values map[string]opencx.Secret) opencx.Contact {
	scalar := func(plain *string, path string) *opencx.Secret {
		if plain != nil {
			return new(opencx.NewSecret(*plain))
		}
		if value, ok := values[path]; ok {
			return &value
		}
		return nil
	}
	merged := func(plain map[string]string, from map[string]v1alpha1.ValueSource, path string) map[string]opencx.Secret {
		var all map[string]opencx.Secret
		if plain != nil {
			all = map[string]opencx.Secret{}
		}
		for name, value := range plain {
			all[name] = opencx.NewSecret(value)
		}
		for name := range from {
			if value, ok := values[path+"."+name]; ok {
				if all == nil {
					all = map[string]opencx.Secret{}
				}
				all[name] = value
			}
		}
		return all
	}
	contact := opencx.Contact{
		Email:      scalar(spec.Email, "emailFrom"),
		Phone:      scalar(spec.Phone, "phoneFrom"),
		Name:       scalar(spec.Name, "nameFrom"),
		CustomData: merged(spec.CustomData, spec.CustomDataFrom, "customDataFrom"),
	}
	if o := spec.HTTPActionOverrides; o != nil {
		contact.HTTPActionOverrides = &opencx.HTTPActionOverrides{
			QueryParams: merged(o.QueryParams, o.QueryParamsFrom, "httpActionOverrides.queryParamsFrom"),
			PathParams:  merged(o.PathParams, o.PathParamsFrom, "httpActionOverrides.pathParamsFrom"),
			BodyParams:  merged(o.BodyParams, o.BodyParamsFrom, "httpActionOverrides.bodyParamsFrom"),
			Headers:     merged(o.Headers, o.HeadersFrom, "httpActionOverrides.headersFrom"),
		}
	}
	return contact
}

// hashVersion stands before every hash. Changing what goes into the hash under
// the same version makes every contact in every cluster be sent once more.
const hashVersion = "v1:"

// canonical is what a hash is of. Its form never changes, whatever becomes of
// the API and of what is sent.
type canonical struct {
	API        string            `json:"api"`
	Credential string            `json:"credential"`
	ContactID  string            `json:"contactID"`
	Contact    canonicalContact  `json:"contact"`
	Sources    []canonicalSource `json:"sources,omitempty"`
}

type canonicalContact struct {
	Email               *string             `json:"email,omitzero"`
	Phone               *string             `json:"phone,omitzero"`
	Name                *string             `json:"name,omitzero"`
	CustomData          map[string]string   `json:"custom_data,omitzero"`
	HTTPActionOverrides *canonicalOverrides `json:"http_action_overrides,omitzero"`
}

type canonicalOverrides struct {
	QueryParams map[string]string `json:"query_params,omitzero"`
	PathParams  map[string]string `json:"path_params,omitzero"`
	BodyParams  map[string]string `json:"body_params,omitzero"`
	Headers     map[string]string `json:"headers,omitzero"`
}

type canonicalSource struct {
	Path            string `json:"path"`
	Kind            string `json:"kind"`
	Name            string `json:"name"`
	Key             string `json:"key"`
	UID             string `json:"uid,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
}

// Hash identifies what is sent, to which API and with which credential. A
// restart or an upgrade computes the same hash for the same manifest: an absent
// field adds nothing, so a field that a later version brings changes no hash.
// Nothing secret goes in, because a hash of a guessable secret is a leak: of a
// source, the version of its object, and of the key, as credential, where it is
// kept.
func Hash(spec v1alpha1.OpenCXContactSpec, versions map[Object]Version, baseURL, credential string) (string, error) {
	c := canonical{API: baseURL, Credential: credential, ContactID: spec.ContactID}
	c.Contact = canonicalContact{Email: spec.Email, Phone: spec.Phone, Name: spec.Name, CustomData: spec.CustomData}
	if o := spec.HTTPActionOverrides; o != nil {
		c.Contact.HTTPActionOverrides = &canonicalOverrides{o.QueryParams, o.PathParams, o.BodyParams, o.Headers}
	}
	for _, source := range Sources(spec) {
		version := versions[source.Object]
		c.Sources = append(c.Sources, canonicalSource{
			Path: source.Path, Kind: source.Object.Kind, Name: source.Object.Name, Key: source.Key,
			UID: version.UID, ResourceVersion: version.ResourceVersion,
		})
	}
	text, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("hashing contact: %w", err)
	}
	sum := sha256.Sum256(text)
	return hashVersion + hex.EncodeToString(sum[:]), nil
}
