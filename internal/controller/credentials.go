package controller

import (
	"cmp"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// DefaultAPIKeyField is the key in a Secret's data that holds the API key when
// none is named.
const DefaultAPIKeyField = "apiKey"

// SecretKey is one key in the data of one Secret.
type SecretKey struct {
	types.NamespacedName
	Key string
}

// String is "namespace/name/key".
func (s SecretKey) String() string { return s.NamespacedName.String() + "/" + s.Key }

// Credentials finds the API key of a contact. Secrets are read when a request
// is about to be sent, and never kept.
type Credentials struct {
	// Secrets reads Secrets from the API server, not from a cache.
	Secrets client.Reader
	// DefaultSecret holds the key of contacts that name none; nil for FromEnv.
	DefaultSecret *SecretKey
	// FromEnv is the key from the environment, for contacts that name none when
	// there is no DefaultSecret. "" is no key.
	FromEnv string
}

// envIdentity stands for a key that is not in a Secret.
const envIdentity = "env/OPENCX_API_KEY"

// secretOf returns where the key of contact is kept, nil for the environment.
func (c *Credentials) secretOf(contact *v1alpha1.OpenCXContact) *SecretKey {
	ref := contact.Spec.APIKeySecretRef
	if ref == nil {
		return c.DefaultSecret
	}
	return &SecretKey{
		NamespacedName: types.NamespacedName{Namespace: contact.Namespace, Name: ref.Name},
		Key:            cmp.Or(ref.Key, DefaultAPIKeyField),
	}
}

// identity names the credential of contact without revealing it.
func (c *Credentials) identity(contact *v1alpha1.OpenCXContact) string {
	if secret := c.secretOf(contact); secret != nil {
		return secret.String()
	}
	return envIdentity
}

// label names the credential of contact in metrics: the Secret, or where else
// the key is.
func (c *Credentials) label(contact *v1alpha1.OpenCXContact) string {
	if secret := c.secretOf(contact); secret != nil {
		return secret.NamespacedName.String()
	}
	return envIdentity
}

// read returns the key of contact as it is now, and the version of its Secret. An
// *inputError is a matter for people; any other error is one of the API server.
func (c *Credentials) read(ctx context.Context, contact *v1alpha1.OpenCXContact) (key opencx.APIKey, version string, err error) {
	source := c.secretOf(contact)
	if source == nil {
		if c.FromEnv == "" {
			return key, "", &inputError{v1alpha1.APIKeyNotFoundReason,
				"the contact names no API key and the operator has no default one: set spec.apiKeySecretRef, or start the operator with --api-key-secret"}
		}
		key, err = parseKey(c.FromEnv, "the environment variable OPENCX_API_KEY of the operator")
		return key, "", err
	}
	var secret corev1.Secret
	switch err := c.Secrets.Get(ctx, source.NamespacedName, &secret); {
	case apierrors.IsNotFound(err):
		return key, "", &inputError{v1alpha1.APIKeyNotFoundReason,
			fmt.Sprintf("Secret %s does not exist: create it with the API key under %q", source.NamespacedName, source.Key)}
	case err != nil:
		return key, "", fmt.Errorf("reading Secret %s: %w", source.NamespacedName, err)
	}
	value, ok := secret.Data[source.Key]
	if !ok {
		return key, "", &inputError{v1alpha1.APIKeyNotFoundReason,
			fmt.Sprintf("Secret %s has no key %q: add it, or name another one", source.NamespacedName, source.Key)}
	}
	key, err = parseKey(string(value), fmt.Sprintf("key %q of Secret %s", source.Key, source.NamespacedName))
	return key, secret.ResourceVersion, err
}

func parseKey(value, where string) (opencx.APIKey, error) {
	key, err := opencx.NewAPIKey(value)
	if err != nil {
		return opencx.APIKey{}, &inputError{v1alpha1.APIKeyInvalidReason, fmt.Sprintf("%s: %s", where, err)}
	}
	return key, nil
}
