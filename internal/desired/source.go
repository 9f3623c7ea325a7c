package desired

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
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

// AreOf says that all has each of these versions.
func (v Versions) AreOf(all Versions) bool {
	for object, version := range v {
		if all[object] != version {
			return false
		}
	}
	return true
}

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
	seen := map[Object]bool{}
	for _, source := range sourcesOf(spec) {
		if !seen[source.object] {
			seen[source.object] = true
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
