// Package organization knows the OpenCXOrganizations: whom they allow, what they may
// use, and their API keys; and it reports their state.
package organization

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// Organization is what a contact needs to know of its organization.
type Organization struct {
	Name types.NamespacedName
	// Problem is that it does not exist, or is closed to the contact.
	Problem   *status.Problem
	Suspended bool
	Limit     budget.Limit
	// ResyncInterval is for contacts that set none; 0 is never.
	ResyncInterval time.Duration
	// DriftCheckInterval is between two looks at what OpenCX has; 0 is never.
	DriftCheckInterval time.Duration
	// KeyVersion is that of the Secret with the key, as the cache knows it; "" when
	// there is none.
	KeyVersion string
}

// Options are how organizations are found, and what holds for those that do not say.
type Options struct {
	// Cache has organizations, and the metadata of Secrets and Namespaces.
	Cache client.Reader
	// Live reads Secrets from the API server.
	Live client.Reader
	// Default is the organization of contacts that name none.
	Default types.NamespacedName
	// Scope is what is in the cache.
	Scope Scope
	// ReadsNamespaces says that the labels of namespaces may be read.
	ReadsNamespaces bool
	// Limit is the most that an organization may use, of all instances together.
	Limit budget.Limit
	// Share is the part of every limit that this instance may use: more than 0 to 1.
	Share float64
	// ResyncInterval is for organizations that set none; 0 is never.
	ResyncInterval time.Duration
	// DriftCheckInterval is for organizations that set none; 0 is never.
	DriftCheckInterval time.Duration
	// DuplicateChanged is told the name of an organization whose key turned out to be one
	// that another had before, or no longer is. It may be nil.
	DuplicateChanged func(name types.NamespacedName)
}

// Organizations knows the OpenCXOrganizations and holds their API keys. It is safe
// for concurrent use.
type Organizations struct {
	Options
	seed string // of what tells keys apart, worthless outside this process
	keys keys
}

// New returns Organizations that hold no key yet.
func New(options Options) *Organizations {
	return &Organizations{Options: options, seed: rand.Text(), keys: keys{held: map[types.NamespacedName]*heldKey{}, readings: newReadings()}}
}

// Index is the index of contacts by the namespace/name of their organization.
const Index = "organization"

// ParseName reads namespace/name, as String writes it.
func ParseName(s string) types.NamespacedName {
	namespace, name, _ := strings.Cut(s, "/")
	return types.NamespacedName{Namespace: namespace, Name: name}
}

// NameFor returns the name of the organization that a contact belongs to.
func (o *Organizations) NameFor(contact *v1alpha1.OpenCXContact) types.NamespacedName {
	ref := contact.Spec.OrganizationRef
	if ref == nil {
		return o.Default
	}
	return types.NamespacedName{Namespace: cmp.Or(ref.Namespace, contact.Namespace), Name: ref.Name}
}

// Get returns an organization from the cache, nil when there is none.
func (o *Organizations) Get(ctx context.Context, name types.NamespacedName) (*v1alpha1.OpenCXOrganization, error) {
	if !o.Scope.holds(name.Namespace, o.Default) {
		return nil, nil
	}
	found := &v1alpha1.OpenCXOrganization{}
	err := o.Cache.Get(ctx, name, found, client.UnsafeDisableDeepCopy)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading organization: %w", err)
	case !found.DeletionTimestamp.IsZero():
		return nil, nil
	}
	return found, nil
}

// Of returns what a contact needs to know of its organization.
func (o *Organizations) Of(ctx context.Context, contact *v1alpha1.OpenCXContact) (Organization, error) {
	name := o.NameFor(contact)
	found, err := o.Get(ctx, name)
	if err != nil {
		return Organization{}, err
	}
	allowed := false
	if found != nil {
		if allowed, err = o.allows(ctx, found, contact.Namespace); err != nil {
			return Organization{}, err
		}
	}
	if !allowed {
		return Organization{Name: name, Problem: &status.Problem{Reason: v1alpha1.OrganizationNotFoundReason, Message: o.notFound(name, contact.Namespace), Missing: true}}, nil
	}
	secret, err := o.secretOf(ctx, found)
	if err != nil {
		return Organization{}, err
	}
	return Organization{
		Name: name, Suspended: found.Spec.Suspend, KeyVersion: secret.ResourceVersion,
		Limit: o.LimitOf(found), ResyncInterval: o.resyncIntervalOf(found),
		DriftCheckInterval: o.DriftCheckIntervalOf(found),
	}, nil
}

// notFound is what contacts of a namespace are told of an organization that they may not
// use. It is the same of one that does not exist and of one that is closed, which is
// nobody's business.
func (o *Organizations) notFound(name types.NamespacedName, namespace string) string {
	switch {
	case name.Namespace == namespace:
		return fmt.Sprintf("OpenCXOrganization %s does not exist: create it, or name another one in spec.organizationRef, with its namespace if that is not %s", name, namespace)
	case !o.Scope.holds(name.Namespace, o.Default):
		return fmt.Sprintf("The operator does not look at OpenCXOrganizations of namespace %s, so nothing is known of %s: ask who runs the operator to add %[1]s to its --watch-namespaces, or name another one in spec.organizationRef",
			name.Namespace, name)
	}
	return fmt.Sprintf("OpenCXOrganization %s does not exist, or does not allow contacts of namespace %s: ask who keeps namespace %s to create it, or to allow %[2]s in its spec.allowedNamespaces",
		name, namespace, name.Namespace)
}

// WindowOf is the window of the organization of that name, of the operator's limit when
// there is none.
func (o *Organizations) WindowOf(ctx context.Context, name types.NamespacedName) (time.Duration, error) {
	found, err := o.Get(ctx, name)
	if err != nil || found == nil {
		return o.Limit.Window, err
	}
	return o.LimitOf(found).Window, nil
}

// LimitOf returns this instance's part of the limit of an organization.
func (o *Organizations) LimitOf(organization *v1alpha1.OpenCXOrganization) budget.Limit {
	limit, _ := o.limitOf(organization)
	return limit
}

// limitOf returns this instance's part of the limit of an organization. raises says
// that it declares one that would allow more than the operator's, which then applies.
func (o *Organizations) limitOf(organization *v1alpha1.OpenCXOrganization) (limit budget.Limit, raises bool) {
	limit, raises = o.wholeLimitOf(organization)
	return limit.Part(o.Share), raises
}

func (o *Organizations) wholeLimitOf(organization *v1alpha1.OpenCXOrganization) (limit budget.Limit, raises bool) {
	declared := organization.Spec.RateLimit
	if declared == nil || declared.Window.Duration <= 0 { // which the CRD refuses
		return o.Limit, false
	}
	limit = budget.Limit{Requests: int(declared.Requests), Window: declared.Window.Duration}
	if limit.Requests > fitting(o.Limit, limit.Window) {
		return o.Limit, true
	}
	return limit, false
}

// fitting is how many requests in another window keep within a limit: that has as many of
// those windows as one of its own can touch.
func fitting(limit budget.Limit, window time.Duration) int {
	return limit.Requests / int((limit.Window+window-1)/window)
}

func (o *Organizations) resyncIntervalOf(organization *v1alpha1.OpenCXOrganization) time.Duration {
	return ResyncInterval(organization.Spec.ResyncInterval, o.ResyncInterval)
}

// MinResyncInterval is the shortest time, but for never, after which an unchanged
// contact may be sent again.
const MinResyncInterval = 5 * time.Minute

// ResyncInterval is the interval that is declared, or, when none is, otherwise; 0 is
// never. One that was stored before the CRD refused it counts as the shortest.
func ResyncInterval(declared *metav1.Duration, otherwise time.Duration) time.Duration {
	return interval(declared, otherwise, MinResyncInterval)
}

func interval(declared *metav1.Duration, otherwise, shortest time.Duration) time.Duration {
	switch {
	case declared == nil:
		return otherwise
	case declared.Duration <= 0:
		return 0
	}
	return max(declared.Duration, shortest)
}

// MinDriftCheckInterval is the shortest time, but for never, between two looks at what
// OpenCX has that an organization may declare.
const MinDriftCheckInterval = time.Minute

// DriftCheckIntervalOf is between two looks at what OpenCX has; 0 is never.
func (o *Organizations) DriftCheckIntervalOf(organization *v1alpha1.OpenCXOrganization) time.Duration {
	return interval(organization.Spec.DriftCheckInterval, o.DriftCheckInterval, MinDriftCheckInterval)
}

// IsActive says whether an organization, as namespace/name, exists and is not suspended.
// It reads the cache alone.
func (o *Organizations) IsActive(name string) bool {
	found, err := o.Get(context.Background(), ParseName(name))
	return err != nil || found != nil && !found.Spec.Suspend
}

// MayUse says whether contacts of a namespace may use the organization of that name.
func (o *Organizations) MayUse(ctx context.Context, name types.NamespacedName, namespace string) (bool, error) {
	found, err := o.Get(ctx, name)
	if err != nil || found == nil {
		return false, err
	}
	return o.allows(ctx, found, namespace)
}

// allows says whether contacts of a namespace may use organization.
func (o *Organizations) allows(ctx context.Context, organization *v1alpha1.OpenCXOrganization, namespace string) (bool, error) {
	allowed := organization.Spec.AllowedNamespaces
	switch {
	case namespace == organization.Namespace:
		return true, nil
	case allowed == nil:
		return false, nil
	case allowed.From != v1alpha1.NamespacesFromSelector || !o.ReadsNamespaces:
		return allowed.From == v1alpha1.NamespacesFromAll, nil
	}
	selector, err := selectorOf(allowed.Selector)
	if err != nil {
		return false, nil //nolint:nilerr // stored before the rules of the CRD, which refuse it: it matches nothing
	}
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := o.Cache.Get(ctx, types.NamespacedName{Name: namespace}, metadata, client.UnsafeDisableDeepCopy); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return selector.Matches(labels.Set(metadata.Labels)), nil
}

func selectorOf(s *v1alpha1.NamespaceSelector) (labels.Selector, error) {
	full := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for key, value := range s.MatchLabels {
		full.MatchLabels[key] = string(value)
	}
	for _, expression := range s.MatchExpressions {
		requirement := metav1.LabelSelectorRequirement{Key: expression.Key, Operator: expression.Operator}
		for _, value := range expression.Values {
			requirement.Values = append(requirement.Values, string(value))
		}
		full.MatchExpressions = append(full.MatchExpressions, requirement)
	}
	return metav1.LabelSelectorAsSelector(full)
}
