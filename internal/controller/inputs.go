package controller

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// inputs is what a request needs besides the manifest, as it is now.
type inputs struct {
	key        opencx.APIKey
	keyVersion string // of the key's Secret; "" when the key is in none
	payload    opencx.Contact
	hash       string
	digest     opencx.Fingerprint // of all that is sent, worth nothing outside this process
}

// inputError says why a contact cannot be sent as it is declared. Its text never
// contains a value.
type inputError struct {
	reason  string
	message string
}

func (e *inputError) Error() string { return e.message }

// digestSeed makes digests of secret values worthless to whoever reads memory or
// logs of another process.
var digestSeed = rand.Text()

// readInputs reads the API key and all sources from the API server. An
// *inputError is a matter for people; any other error is one of the API server.
func (r *ContactReconciler) readInputs(ctx context.Context, contact *v1alpha1.OpenCXContact) (in inputs, err error) {
	if in.key, in.keyVersion, err = r.Credentials.read(ctx, contact); err != nil {
		return in, err
	}
	if err := desired.CheckHeaders(contact.Spec); err != nil {
		return in, &inputError{v1alpha1.ValueInvalidReason, err.Error()}
	}
	values, versions, err := r.readValues(ctx, contact)
	if err != nil {
		return in, err
	}
	in.payload = desired.Contact(contact.Spec, values)
	unversioned, err := r.hash(contact, nil)
	if err != nil {
		return in, err
	}
	in.hash = unversioned
	if len(versions) > 0 {
		if in.hash, err = r.hash(contact, versions); err != nil {
			return in, err
		}
	}
	in.digest, err = in.payload.Fingerprint(digestSeed + unversioned)
	return in, err
}

func (r *ContactReconciler) hash(contact *v1alpha1.OpenCXContact, versions map[desired.Object]desired.Version) (string, error) {
	return desired.Hash(contact.Spec, versions, r.OpenCX.BaseURL(), r.Credentials.identity(contact))
}

// readValues reads each object that a source names once, and returns the values
// by path.
func (r *ContactReconciler) readValues(ctx context.Context, contact *v1alpha1.OpenCXContact) (map[string]opencx.Secret, map[desired.Object]desired.Version, error) {
	values := map[string]opencx.Secret{}
	versions := map[desired.Object]desired.Version{}
	objects := map[desired.Object]map[string][]byte{}
	for _, source := range desired.Sources(contact.Spec) {
		if _, known := versions[source.Object]; !known {
			data, version, err := r.readObject(ctx, contact.Namespace, source.Object)
			if err != nil {
				return nil, nil, err
			}
			versions[source.Object], objects[source.Object] = version, data
		}
		data, found := objects[source.Object][source.Key]
		switch {
		case found:
			value, err := desired.Value(source, data)
			if err != nil {
				return nil, nil, &inputError{v1alpha1.ValueInvalidReason, err.Error()}
			}
			values[source.Path] = value
		case source.Optional:
		case versions[source.Object] == desired.Version{}:
			return nil, nil, &inputError{v1alpha1.ValueNotFoundReason,
				fmt.Sprintf("%s: %s does not exist: create it with the value under %q", source.Path, source.Object, source.Key)}
		default:
			return nil, nil, &inputError{v1alpha1.ValueNotFoundReason,
				fmt.Sprintf("%s: %s has no key %q: add it, or name another one", source.Path, source.Object, source.Key)}
		}
	}
	return values, versions, nil
}

// readObject returns the data of a Secret or ConfigMap; nothing when it does not
// exist.
func (r *ContactReconciler) readObject(ctx context.Context, namespace string, object desired.Object) (map[string][]byte, desired.Version, error) {
	name := types.NamespacedName{Namespace: namespace, Name: object.Name}
	var data map[string][]byte
	var read client.Object
	var err error
	if object.Kind == desired.SecretKind {
		var secret corev1.Secret
		err = r.Live.Get(ctx, name, &secret)
		data, read = secret.Data, &secret
	} else {
		var configMap corev1.ConfigMap
		err = r.Live.Get(ctx, name, &configMap)
		data, read = map[string][]byte{}, &configMap
		for key, value := range configMap.Data {
			data[key] = []byte(value)
		}
		for key, value := range configMap.BinaryData {
			data[key] = value
		}
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, desired.Version{}, nil
	case err != nil:
		return nil, desired.Version{}, fmt.Errorf("reading %s: %w", object, err)
	}
	return data, desired.Version{UID: string(read.GetUID()), ResourceVersion: read.GetResourceVersion()}, nil
}

// cachedHash is the hash of contact as far as the cache knows, which costs no
// request to the API server.
func (r *ContactReconciler) cachedHash(ctx context.Context, contact *v1alpha1.OpenCXContact) (string, error) {
	versions := map[desired.Object]desired.Version{}
	for _, source := range desired.Sources(contact.Spec) {
		if _, known := versions[source.Object]; known {
			continue
		}
		version, err := r.cachedVersion(ctx, types.NamespacedName{Namespace: contact.Namespace, Name: source.Object.Name}, source.Object.Kind)
		if err != nil {
			return "", err
		}
		versions[source.Object] = version
	}
	return r.hash(contact, versions)
}

func (r *ContactReconciler) cachedVersion(ctx context.Context, name types.NamespacedName, kind string) (desired.Version, error) {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	if err := r.Client.Get(ctx, name, object); client.IgnoreNotFound(err) != nil {
		return desired.Version{}, fmt.Errorf("reading the version of %s %s: %w", kind, name, err)
	}
	return desired.Version{UID: string(object.UID), ResourceVersion: object.ResourceVersion}, nil
}

// keyChanged says whether the Secret of a key that OpenCX refused is newer, as
// far as the cache knows, than when it was used.
func (r *ContactReconciler) keyChanged(ctx context.Context, contact *v1alpha1.OpenCXContact, used string) (bool, error) {
	secret := r.Credentials.secretOf(contact)
	if secret == nil || used == "" || !isUnauthorized(&contact.Status) {
		return false, nil
	}
	version, err := r.cachedVersion(ctx, secret.NamespacedName, desired.SecretKind)
	if err != nil || version.ResourceVersion == "" {
		return false, err
	}
	order, err := resourceversion.CompareResourceVersion(version.ResourceVersion, used)
	if err != nil {
		return false, fmt.Errorf("comparing versions of Secret %s: %w", secret.NamespacedName, err)
	}
	return order > 0, nil
}

func isUnauthorized(status *v1alpha1.OpenCXContactStatus) bool {
	ready := meta.FindStatusCondition(status.Conditions, v1alpha1.ReadyCondition)
	return ready != nil && ready.Reason == v1alpha1.UnauthorizedReason
}
