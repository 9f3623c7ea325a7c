package organization

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/desired"
)

// Scope is what an instance of the operator looks after.
type Scope struct {
	// Namespaces are those of its contacts; empty is all.
	Namespaces []string
	// Contacts selects contacts by their labels; nil is all. It does not apply to
	// organizations, nor to the Secrets and ConfigMaps that are named.
	Contacts labels.Selector
	// DefaultAPIKeySecret is the only Secret that is looked at in the namespace of the
	// default organization, unless that has contacts; empty is all.
	DefaultAPIKeySecret string
}

// HasContacts says whether contacts of a namespace are looked after.
func (s Scope) HasContacts(namespace string) bool {
	return len(s.Namespaces) == 0 || slices.Contains(s.Namespaces, namespace)
}

// longestScope is how long SweepStatus.Scope may be.
const longestScope = 256

// String tells the contacts that are looked after from those of another scope: see
// v1alpha1.SweepStatus. It is empty for all.
func (s Scope) String() string {
	var parts []string
	if len(s.Namespaces) > 0 {
		parts = append(parts, "namespaces "+strings.Join(slices.Compact(slices.Sorted(slices.Values(s.Namespaces))), ","))
	}
	if s.Contacts != nil {
		parts = append(parts, "labels "+s.Contacts.String())
	}
	text := strings.Join(parts, "; ")
	if len(text) > longestScope {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	}
	return text
}

// holds says whether organizations of a namespace are looked at: those of
// the namespaces of contacts, and of the namespace of the default organization.
func (s Scope) holds(namespace string, defaultOrganization types.NamespacedName) bool {
	return len(s.Namespaces) == 0 || namespace == defaultOrganization.Namespace || slices.Contains(s.Namespaces, namespace)
}

// onlySecret returns the name of the one Secret of a namespace that is looked at, "" when
// all are. Where there are no contacts there are no values, and what else is kept there is
// nobody's business: the operator's Role names that Secret alone.
func (s Scope) onlySecret(namespace string) string {
	if s.HasContacts(namespace) {
		return ""
	}
	return s.DefaultAPIKeySecret
}

// CacheOptions is how the manager's cache must treat the objects that this package
// watches: it keeps what is looked at, of what is in scope.
func CacheOptions(scope Scope, defaultOrganization types.NamespacedName) cache.Options {
	var contacts, organizations, secrets map[string]cache.Config
	if len(scope.Namespaces) > 0 {
		contacts = map[string]cache.Config{}
		for _, namespace := range scope.Namespaces {
			contacts[namespace] = cache.Config{}
		}
		organizations, secrets = maps.Clone(contacts), maps.Clone(contacts)
		organizations[defaultOrganization.Namespace], secrets[defaultOrganization.Namespace] = cache.Config{}, cache.Config{}
		if only := scope.onlySecret(defaultOrganization.Namespace); only != "" {
			secrets[defaultOrganization.Namespace] = cache.Config{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, only)}
		}
	}
	return cache.Options{
		DefaultNamespaces: contacts,
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.OpenCXContact{}:      {Transform: whatIsDecidedOn, Label: scope.Contacts},
			&v1alpha1.OpenCXOrganization{}: {Transform: withoutBookkeeping, Namespaces: organizations},
			&corev1.Secret{}:               {Transform: identityAlone(desired.SecretKind), Namespaces: secrets},
			&corev1.ConfigMap{}:            {Transform: identityAlone(desired.ConfigMapKind)},
			&corev1.Namespace{}:            {Transform: withLabels("Namespace")},
		},
	}
}

// withoutBookkeeping removes what tools note about an object, which can be more
// than the object.
func withoutBookkeeping(object any) (any, error) {
	if full, ok := object.(metav1.Object); ok { // not a tombstone
		full.SetManagedFields(nil)
		delete(full.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
	}
	return object, nil
}

// mostOfWish is how many bytes the characters of the annotation reconcile-at can have that
// count, which are 256.
const mostOfWish = 256 * utf8.UTFMax

// whatIsDecidedOn keeps of a contact what somebody decides on: spec, status, and of its
// metadata what is named here. There may be many contacts, so it lets them share what they
// have in common.
func whatIsDecidedOn(object any) (any, error) {
	contact, ok := object.(*v1alpha1.OpenCXContact)
	if !ok {
		return object, nil // a tombstone
	}
	full := contact.ObjectMeta
	contact.TypeMeta = metav1.TypeMeta{}
	contact.ObjectMeta = metav1.ObjectMeta{
		Namespace: shared(full.Namespace), Name: full.Name, UID: full.UID, ResourceVersion: full.ResourceVersion,
		Generation: full.Generation, CreationTimestamp: full.CreationTimestamp, DeletionTimestamp: full.DeletionTimestamp,
	}
	if wish, is := full.Annotations[v1alpha1.ReconcileAtAnnotation]; is {
		if len(wish) > mostOfWish {
			wish = strings.Clone(wish[:mostOfWish])
		}
		contact.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: wish}
	}
	if ref := contact.Spec.OrganizationRef; ref != nil {
		ref.Name, ref.Namespace = shared(ref.Name), shared(ref.Namespace)
	}
	told := &contact.Status
	told.Organization = shared(told.Organization)
	if attempted := told.AttemptedHash; strings.HasPrefix(attempted, told.AppliedHash) {
		told.AppliedHash = attempted[:len(told.AppliedHash)]
	}
	for i := range told.Conditions {
		c := &told.Conditions[i]
		c.Type, c.Status, c.Reason, c.Message = shared(c.Type), shared(c.Status), shared(c.Reason), shared(c.Message)
	}
	return contact, nil
}

// shared returns the same memory for the same text, for as long as the garbage collector
// does not run: so there may be several of one text, but few.
func shared[T ~string](text T) T { return unique.Make(text).Value() }

// identityAlone keeps of an object's metadata what tells that it has changed. The
// rest can hold the data once more, in the annotation of kubectl apply.
func identityAlone(kind string) toolscache.TransformFunc {
	return func(object any) (any, error) {
		full, ok := object.(metav1.Object)
		if !ok {
			return object, nil // a tombstone
		}
		return &metav1.PartialObjectMetadata{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind},
			ObjectMeta: metav1.ObjectMeta{
				Namespace:       full.GetNamespace(),
				Name:            full.GetName(),
				UID:             full.GetUID(),
				ResourceVersion: full.GetResourceVersion(),
			},
		}, nil
	}
}

// withLabels is identityAlone and labels.
func withLabels(kind string) toolscache.TransformFunc {
	return func(object any) (any, error) {
		kept, err := identityAlone(kind)(object)
		if metadata, ok := kept.(*metav1.PartialObjectMetadata); ok {
			if full, ok := object.(metav1.Object); ok {
				metadata.Labels = full.GetLabels()
			}
		}
		return kept, err
	}
}
