package desired

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// source is a value of a contact that is kept in a Secret or ConfigMap.
type source struct {
	field    *field
	key      string // in the field's map; "" in a field with a single value
	object   Object
	dataKey  string // in the object
	optional bool
}

func (s source) path() string { return s.field.at("From", s.key) }

// Object is a Secret or ConfigMap in the contact's namespace.
type Object struct{ Kind, Name string }

// The kinds of Object.
const (
	SecretKind    = "Secret"
	ConfigMapKind = "ConfigMap"
)

// String is like `Secret "opencx"`.
func (o Object) String() string { return fmt.Sprintf("%s %q", o.Kind, o.Name) }

// Version identifies what an Object held at some time; zero when it did not
// exist.
type Version struct{ UID, ResourceVersion string }

// Versions are those of every Object that a contact takes values from.
type Versions map[Object]Version

// sourcesOf returns the sources of spec, in the order of fields and keys.
func sourcesOf(spec *v1alpha1.OpenCXContactSpec) []source {
	var all []source
	for i := range fields {
		from := fields[i].from(spec)
		if len(from) == 0 {
			continue // the usual case, and this is called often
		}
		for _, key := range slices.Sorted(maps.Keys(from)) {
			switch value := from[key]; {
			case value.SecretKeyRef != nil:
				ref := value.SecretKeyRef
				all = append(all, source{&fields[i], key, Object{SecretKind, ref.Name}, ref.Key, ref.Optional})
			case value.ConfigMapKeyRef != nil:
				ref := value.ConfigMapKeyRef
				all = append(all, source{&fields[i], key, Object{ConfigMapKind, ref.Name}, ref.Key, ref.Optional})
			}
		}
	}
	return all
}

// Objects returns the Secrets and ConfigMaps that spec takes values from, each
// once.
func Objects(spec *v1alpha1.OpenCXContactSpec) []Object {
	var objects []Object
	for _, source := range sourcesOf(spec) {
		if !slices.Contains(objects, source.object) {
			objects = append(objects, source.object)
		}
	}
	return objects
}

// CachedVersions returns the versions that a cache of metadata knows. It is nil
// for a contact without sources.
func CachedVersions(ctx context.Context, cache client.Reader, namespace string, spec *v1alpha1.OpenCXContactSpec) (Versions, error) {
	var versions Versions
	for _, object := range Objects(spec) {
		metadata := &metav1.PartialObjectMetadata{}
		metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(object.Kind))
		name := types.NamespacedName{Namespace: namespace, Name: object.Name}
		if err := cache.Get(ctx, name, metadata); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the version of %s: %w", object, err)
		}
		if versions == nil {
			versions = Versions{}
		}
		versions[object] = Version{UID: string(metadata.UID), ResourceVersion: metadata.ResourceVersion}
	}
	return versions, nil
}

// ValueError says which value of a contact cannot be sent, and what to do. Its
// text never contains a value.
type ValueError struct {
	// Missing says that the Secret or ConfigMap, or the key in it, does not exist.
	Missing bool
	text    string
}

// Error implements error.
func (e *ValueError) Error() string { return e.text }

// Read resolves spec: it reads each Secret and ConfigMap once from the API server,
// and returns the contact to send and what it was made of. A *ValueError is a
// matter for people; any other error is one of the API server.
func Read(ctx context.Context, live client.Reader, namespace string, spec *v1alpha1.OpenCXContactSpec) (opencx.Contact, Versions, error) {
	values := map[*field]map[string]opencx.Secret{}
	if err := readPlain(spec, values); err != nil {
		return opencx.Contact{}, nil, err
	}
	var versions Versions
	data := map[Object]map[string][]byte{}
	for _, source := range sourcesOf(spec) {
		if _, known := versions[source.object]; !known {
			if versions == nil {
				versions = Versions{}
			}
			var err error
			if data[source.object], versions[source.object], err = readObject(ctx, live, namespace, source.object); err != nil {
				return opencx.Contact{}, nil, err
			}
		}
		value, found := data[source.object][source.dataKey]
		if !found && source.optional {
			continue
		}
		secret, err := source.value(value, found, versions[source.object] != Version{})
		if err != nil {
			return opencx.Contact{}, nil, err
		}
		if values[source.field] == nil {
			values[source.field] = map[string]opencx.Secret{}
		}
		values[source.field][source.key] = secret
	}
	contact := opencx.Contact{}
	if spec.HTTPActionOverrides != nil {
		contact.HTTPActionOverrides = &opencx.HTTPActionOverrides{}
	}
	for i := range fields {
		fields[i].send(&contact, values[&fields[i]])
	}
	return contact, versions, nil
}

// readPlain adds the values that stand in the manifest.
func readPlain(spec *v1alpha1.OpenCXContactSpec, values map[*field]map[string]opencx.Secret) error {
	for i := range fields {
		f := &fields[i]
		declared := f.plain(spec)
		if declared == nil {
			continue
		}
		values[f] = make(map[string]opencx.Secret, len(declared))
		for key, value := range declared {
			// The API server has the other rules.
			if fault := headerFault(value); fault != "" && f.path == "spec.httpActionOverrides.headers" {
				return &ValueError{text: fmt.Sprintf("%s %s: correct it", f.at("", key), fault)}
			}
			values[f][key] = opencx.NewSecret(value)
		}
	}
	return nil
}

// value is what an object holds for the source, without one newline at its end.
func (s source) value(data []byte, found, exists bool) (opencx.Secret, error) {
	switch {
	case !exists:
		return opencx.Secret{}, &ValueError{true, fmt.Sprintf("%s: %s does not exist: create it with the value under %q", s.path(), s.object, s.dataKey)}
	case !found:
		return opencx.Secret{}, &ValueError{true, fmt.Sprintf("%s: %s has no key %q: add it, or name another one", s.path(), s.object, s.dataKey)}
	}
	text := opencx.TrimNewline(string(data))
	fault := "is not UTF-8 text, which is all that OpenCX takes"
	if utf8.ValidString(text) {
		fault = s.field.fault(text)
	}
	if fault != "" {
		return opencx.Secret{}, &ValueError{text: fmt.Sprintf("%s: key %q of %s %s: correct it", s.path(), s.dataKey, s.object, fault)}
	}
	return opencx.NewSecret(text), nil
}

// readObject returns the data of a Secret or ConfigMap; nothing when it does not
// exist.
func readObject(ctx context.Context, live client.Reader, namespace string, object Object) (map[string][]byte, Version, error) {
	name := types.NamespacedName{Namespace: namespace, Name: object.Name}
	var data map[string][]byte
	var read client.Object
	var err error
	if object.Kind == SecretKind {
		var secret corev1.Secret
		err = live.Get(ctx, name, &secret)
		data, read = secret.Data, &secret
	} else {
		var configMap corev1.ConfigMap
		err = live.Get(ctx, name, &configMap)
		data, read = map[string][]byte{}, &configMap
		for key, value := range configMap.Data {
			data[key] = []byte(value)
		}
		maps.Copy(data, configMap.BinaryData)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, Version{}, nil
	case err != nil:
		return nil, Version{}, fmt.Errorf("reading %s: %w", object, err)
	}
	return data, Version{UID: string(read.GetUID()), ResourceVersion: read.GetResourceVersion()}, nil
}
