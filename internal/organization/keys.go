package organization

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// DefaultAPIKeyField is the key in a Secret's data that holds the API key when
// none is named.
const DefaultAPIKeyField = "apiKey"

// readTimeout bounds the reading of one Secret, which others wait for. One that failed is
// read again after slowRead, and when it hung for as long, so is any other.
const readTimeout, slowRead = 5 * time.Second, time.Second

// keys are the API keys in memory: one of each organization, good for the version of
// its Secret that the cache shows.
type keys struct {
	mu   sync.Mutex
	held map[types.NamespacedName]*heldKey
	// readings are what was read of their Secrets.
	readings readings
	turn     int // counts contents, in the order in which organizations came to them
	// A read has hung, and failed with unread: until unreadUntil nothing is read.
	unreadUntil time.Time
	unread      error
}

// heldKey is an organization's API key, as it is in one version of its Secret.
type heldKey struct {
	from    source
	version string
	key     opencx.APIKey
	turn    int
	problem *status.Problem // why the key cannot be used
	// proven says that OpenCX has taken it.
	proven bool
	// compared says that no other organization holds the same key, or that problem
	// says that one does.
	compared bool
}

// source is a key of a Secret.
type source struct {
	uid   types.UID
	field string
}

// toContacts tells the problem to contacts, whose readers need not know which Secret
// the organization uses.
func toContacts(p *status.Problem, organization types.NamespacedName) *status.Problem {
	if p == nil {
		return nil
	}
	reason, message := p.Reason, "The API key of OpenCXOrganization %s cannot be used: see the status of that"
	switch {
	case p.Missing:
		message = "OpenCXOrganization %s has no API key yet: see the status of that"
	case reason == v1alpha1.DuplicateKeyReason:
		reason = v1alpha1.APIKeyInvalidReason
	}
	return &status.Problem{Reason: reason, Message: fmt.Sprintf(message, organization), Missing: p.Missing}
}

// Key is an organization's API key. Its version is that of its Secret.
type Key struct {
	opencx.APIKey
	budget.Key
	// Problem is why the key cannot be used, as contacts are told.
	Problem *status.Problem
}

// Key returns the API key of the organization of that name. It is read when the one
// in memory is of another version of its Secret than the cache knows.
func (o *Organizations) Key(ctx context.Context, name types.NamespacedName) (Key, error) {
	own, err := o.key(ctx, name)
	known := budget.Key{Version: own.version, Content: own.key.Fingerprint(o.seed), Proven: own.proven}
	return Key{own.key, known, toContacts(own.problem, name)}, err
}

func (o *Organizations) key(ctx context.Context, name types.NamespacedName) (heldKey, error) {
	own, changed, err := o.lookUp(ctx, name)
	if o.DuplicateChanged != nil {
		for _, other := range changed {
			o.DuplicateChanged(other)
		}
	}
	return own, err
}

// lookUp returns an organization's key, and of which organizations it has learnt that
// their key is that of another, or no longer is: they may have told otherwise.
func (o *Organizations) lookUp(ctx context.Context, name types.NamespacedName) (key heldKey, changed []types.NamespacedName, err error) {
	o.keys.mu.Lock()
	defer o.keys.mu.Unlock()
	found, err := o.Get(ctx, name)
	if err != nil {
		return heldKey{}, nil, err
	}
	if found == nil {
		return heldKey{problem: &status.Problem{Reason: v1alpha1.APIKeyNotFoundReason, Message: "The organization is gone", Missing: true}}, nil, nil
	}
	own, err := o.hold(ctx, found)
	if err == nil && !own.compared {
		changed, err = o.compare(ctx, found)
		own = o.keys.held[name] // which may be a later version by now
	}
	if err != nil {
		return heldKey{}, changed, err
	}
	own.proven = own.proven || own.turn == 0 && found.Status.LastSyncTime != nil // before this process looked
	return *own, changed, nil
}

// KeyProven notes that OpenCX has taken a request with that version of an organization's
// key.
func (o *Organizations) KeyProven(name types.NamespacedName, version string) {
	o.keys.mu.Lock()
	defer o.keys.mu.Unlock()
	if held := o.keys.held[name]; held != nil && held.version == version {
		held.proven = true
	}
}

// ForgetKey forgets the key of an organization that is gone.
func (o *Organizations) ForgetKey(name types.NamespacedName) {
	o.keys.mu.Lock()
	defer o.keys.mu.Unlock()
	o.keys.readings.drop(name)
	if _, held := o.keys.held[name]; held { // not one that tenants invent
		delete(o.keys.held, name)
		o.keys.changed()
	}
}

// hold returns an organization's key, which it reads unless it is in memory.
func (o *Organizations) hold(ctx context.Context, organization *v1alpha1.OpenCXOrganization) (*heldKey, error) {
	name := client.ObjectKeyFromObject(organization)
	if only := o.Scope.onlySecret(name.Namespace); only != "" && organization.Spec.APIKeySecretRef.Name != only {
		return o.keys.outOfReach(name, only), nil
	}
	secret, err := o.secretOf(ctx, organization)
	if err != nil {
		return nil, err
	}
	from := source{secret.UID, fieldOf(organization)}
	before := o.keys.held[name]
	if before != nil && before.from == from && !isNewer(secret.ResourceVersion, before.version) {
		return before, nil
	}
	own, err := o.readKey(ctx, organization, from, secret.ResourceVersion)
	if err != nil {
		return nil, err
	}
	o.keys.held[name] = own
	switch {
	case before != nil && before.key == own.key && own.problem == nil && (before.problem == nil || before.isDuplicate()):
		// Somebody has labelled the Secret, which may be that of many organizations.
		own.turn, own.proven, own.problem, own.compared = before.turn, before.proven, before.problem, before.compared
		return own, nil
	case before != nil || organization.Status.ObservedGeneration < 0:
		// It came to this content while this process looked; the others have theirs
		// from before.
		o.keys.turn++
		own.turn = o.keys.turn
	}
	o.keys.changed()
	return own, nil
}

// outOfReach is the key of an organization that is in a Secret which is not looked at. To
// read it would be forbidden time and again.
func (k *keys) outOfReach(name types.NamespacedName, only string) *heldKey {
	if before := k.held[name]; before == nil || before.from != (source{}) {
		k.held[name] = &heldKey{problem: &status.Problem{Reason: v1alpha1.APIKeyNotFoundReason,
			Message: fmt.Sprintf("spec.apiKeySecretRef: the operator reads no Secret of this namespace but %q: name that one, or have its --default-api-key-secret and its Role name another", only)}}
		k.changed()
	}
	return k.held[name]
}

// readKey returns a key as it is in that version of a Secret, or in a later one, which it
// reads unless it was read for another organization.
func (o *Organizations) readKey(ctx context.Context, organization *v1alpha1.OpenCXOrganization, from source, version string) (*heldKey, error) {
	known := o.names(organization)
	if !known.knows(from, version) {
		if err := o.readSecret(ctx, known); err != nil {
			return nil, err
		}
	}
	found := known.fields[from.field]
	return &heldKey{from: source{known.uid, from.field}, version: known.version, key: found.key, problem: found.problem}, nil
}

// names notes which key of which Secret an organization names, and returns what is known
// of that Secret.
func (o *Organizations) names(organization *v1alpha1.OpenCXOrganization) *reading {
	return o.keys.readings.use(client.ObjectKeyFromObject(organization), secretNameOf(organization), fieldOf(organization))
}

func secretNameOf(organization *v1alpha1.OpenCXOrganization) types.NamespacedName {
	return types.NamespacedName{Namespace: organization.Namespace, Name: organization.Spec.APIKeySecretRef.Name}
}

func fieldOf(organization *v1alpha1.OpenCXOrganization) string {
	return cmp.Or(organization.Spec.APIKeySecretRef.Key, DefaultAPIKeyField)
}

// readSecret reads a Secret from the API server. A failure is believed for a moment, because
// each request of any organization may ask for it; that of a slow read for all Secrets, and
// for as long as it took, so that those who need a key do not hang one after the other.
func (o *Organizations) readSecret(ctx context.Context, into *reading) error {
	began := time.Now()
	switch {
	case began.Before(o.keys.unreadUntil):
		return o.keys.unread
	case began.Before(into.unreadUntil):
		return into.unread
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	secret := &corev1.Secret{}
	err := o.Live.Get(ctx, into.secret, secret)
	switch {
	case apierrors.IsNotFound(err):
		secret = nil
	case err != nil:
		err = fmt.Errorf("reading Secret %s: %w", into.secret, err)
		into.unread, into.unreadUntil = err, time.Now().Add(slowRead)
		if took := time.Since(began); took >= slowRead {
			o.keys.unread, o.keys.unreadUntil = err, time.Now().Add(took)
		}
		return err
	}
	into.set(secret)
	return nil
}

// isNewer says whether a version of an object is newer than another one of the same.
// An object that does not exist has the version "".
func isNewer(version, than string) bool {
	if version == "" || than == "" {
		return version != than
	}
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err != nil || order > 0
}

// secretOf returns what the cache knows of an organization's Secret: nothing but its
// identity, and that only when it exists.
func (o *Organizations) secretOf(ctx context.Context, organization *v1alpha1.OpenCXOrganization) (*metav1.PartialObjectMetadata, error) {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	name := secretNameOf(organization)
	if err := o.Cache.Get(ctx, name, metadata, client.UnsafeDisableDeepCopy); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading the version of Secret %s: %w", name, err)
	}
	return metadata, nil
}
