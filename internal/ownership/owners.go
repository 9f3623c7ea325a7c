// Package ownership decides which of the contacts that name one contactID is the one
// that is sent, and lets one request of a contactID be under way at a time.
package ownership

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// Claim is a contactID of an organization.
type Claim struct {
	Organization types.NamespacedName
	ContactID    string // without what makes no difference
}

// ClaimOf returns what a contact claims. Case makes no difference, and neither do
// the hyphens of a UUID.
func ClaimOf(contact *v1alpha1.OpenCXContact, organization types.NamespacedName) Claim {
	return NewClaim(organization, contact.Spec.ContactID)
}

// NewClaim is the claim of whoever names that contactID of an organization.
func NewClaim(organization types.NamespacedName, contactID string) Claim {
	id := strings.ToLower(contactID)
	if compact := strings.ReplaceAll(id, "-", ""); len(compact) == 32 && strings.Trim(compact, "0123456789abcdef") == "" {
		id = compact
	}
	return Claim{organization, id}
}

// String is the claim as a key of an index.
func (c Claim) String() string { return c.Organization.String() + " " + c.ContactID }

// Index is the index of contacts by the text of what they claim.
const Index = "claim"

// vacancy is for how long nobody of another namespace follows an owner that went: a
// contact that is deleted and applied again is no offer to others.
const vacancy = 2 * time.Minute

// rank orders the contacts that claim one contactID.
type rank struct {
	// order is 0 or 1 for one that was accepted in the organization before, and 2 or 3
	// for another; the even number is for one that is not suspended.
	order   int
	created int64 // Unix time, in seconds
	uid     types.UID
}

func rankOf(contact *v1alpha1.OpenCXContact, c Claim) rank {
	r := rank{created: contact.CreationTimestamp.Unix(), uid: contact.UID}
	if contact.Status.Organization != c.Organization.String() {
		r.order += 2
	}
	if contact.Spec.Suspend {
		r.order++
	}
	return r
}

// accepted says that the contact was accepted in the organization before.
func (r rank) accepted() bool { return r.order < 2 }

// compare is negative when r goes before other: one that was accepted before, then
// one that is not suspended, then the older one.
func (r rank) compare(other rank) int {
	return cmp.Or(cmp.Compare(r.order, other.order), cmp.Compare(r.created, other.created), cmp.Compare(r.uid, other.uid))
}

// Title is what a contact is to its contactID.
type Title struct {
	Owns bool
	// VacantUntil is until when nobody of this namespace may follow an owner that
	// went; zero when another contact is the owner.
	VacantUntil time.Time
}

// Owners remembers who owns which contactID. That comes from the cache alone, and
// all claimants are compared only when an owner has gone or lost its rank; otherwise
// a claimant is compared with the owner.
type Owners struct {
	cache   client.Reader
	allowed func(ctx context.Context, organization types.NamespacedName, namespace string) (bool, error)
	wake    func(types.NamespacedName)

	mu      sync.Mutex
	byClaim map[Claim]owner
	claims  map[types.NamespacedName]Claim // of the owners
	vacant  map[Claim]vacated
}

type owner struct {
	name types.NamespacedName
	rank rank
}

type vacated struct {
	namespace string
	until     time.Time
}

// NewOwners returns Owners that know nobody yet. cache must have the indexes. allowed
// says whether contacts of a namespace may use an organization. wake has a contact
// looked at; it must neither block nor call Owners.
func NewOwners(cache client.Reader, allowed func(ctx context.Context, organization types.NamespacedName, namespace string) (bool, error), wake func(types.NamespacedName)) *Owners {
	return &Owners{
		cache: cache, allowed: allowed, wake: wake,
		byClaim: map[Claim]owner{}, claims: map[types.NamespacedName]Claim{}, vacant: map[Claim]vacated{},
	}
}

// Judge says what contact is to c. One that may not use the organization owns
// nothing.
func (o *Owners) Judge(ctx context.Context, contact *v1alpha1.OpenCXContact, c Claim, allowed bool) (Title, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := client.ObjectKeyFromObject(contact)
	if before, owned := o.claims[name]; owned && (before != c || !allowed) {
		if err := o.release(ctx, before); err != nil { // it has moved, or is shut out
			return Title{}, err
		}
	}
	if !allowed {
		return Title{}, nil
	}
	own := rankOf(contact, c)
	current, found := o.byClaim[c]
	if !found || current.name != name || current.rank.compare(own) < 0 {
		var err error
		if current, found, err = o.current(ctx, c, name); err != nil {
			return Title{}, err
		}
	}
	if found && current.name != name && current.rank.compare(own) < 0 {
		return Title{}, nil
	}
	if v := o.vacant[c]; v.namespace != name.Namespace && time.Now().Before(v.until) {
		return Title{VacantUntil: v.until}, nil
	}
	if found && current.name != name {
		o.wake(current.name) // it has to say so
	}
	o.set(c, owner{name, own})
	return Title{Owns: true}, nil
}

func (o *Owners) set(c Claim, to owner) {
	delete(o.claims, o.byClaim[c].name)
	if to.rank.accepted() {
		delete(o.vacant, c) // until then, one that was applied again is no older than others
	}
	o.byClaim[c], o.claims[to.name] = to, c
}

// current returns the owner of c, which is another one when the last has gone or
// lost its rank. That one is woken, unless it is the one that is asking; where none was
// known, each is looked at anyway.
func (o *Owners) current(ctx context.Context, c Claim, asking types.NamespacedName) (owner, bool, error) {
	known, lost := o.byClaim[c]
	if lost {
		contact := &v1alpha1.OpenCXContact{}
		err := o.cache.Get(ctx, known.name, contact, client.UnsafeDisableDeepCopy)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return owner{}, false, fmt.Errorf("reading the owner of a contactID: %w", err)
		case err != nil, contact.UID != known.rank.uid, !contact.DeletionTimestamp.IsZero():
			o.vacate(c)
		default:
			if now := rankOf(contact, c); now.compare(known.rank) <= 0 {
				known.rank = now
				o.byClaim[c] = known
				return known, true, nil
			}
			delete(o.byClaim, c)
			delete(o.claims, known.name)
		}
	}
	best, found, err := o.best(ctx, c)
	if err != nil || !found {
		return owner{}, false, err
	}
	if before, owned := o.claims[best.name]; owned && before != c {
		if err := o.release(ctx, before); err != nil { // it has moved, and was not looked at yet
			return owner{}, false, err
		}
	}
	o.byClaim[c], o.claims[best.name] = best, c
	if lost && best.name != asking {
		o.wake(best.name)
	}
	return best, true, nil
}

// vacate notes that the owner of c went.
func (o *Owners) vacate(c Claim) {
	gone := o.byClaim[c].name
	delete(o.byClaim, c)
	delete(o.claims, gone)
	o.vacant[c] = vacated{gone.Namespace, time.Now().Add(vacancy)}
	// Whoever follows may have been told that the contactID is not vacant, by the one
	// that is gone now.
	time.AfterFunc(vacancy, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if v, still := o.vacant[c]; still && !time.Now().Before(v.until) {
			delete(o.vacant, c)
			if best, found, err := o.best(context.Background(), c); err == nil && found {
				o.wake(best.name)
			}
		}
	})
}

// best compares all who claim c and may follow now.
func (o *Owners) best(ctx context.Context, c Claim) (best owner, found bool, err error) {
	namespace := ""
	if v := o.vacant[c]; time.Now().Before(v.until) {
		namespace = v.namespace
	}
	var claimants v1alpha1.OpenCXContactList
	if err := o.cache.List(ctx, &claimants, client.MatchingFields{Index: c.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return owner{}, false, fmt.Errorf("listing the contacts of a contactID: %w", err)
	}
	may := map[string]bool{}
	for i := range claimants.Items {
		contact := &claimants.Items[i]
		if !contact.DeletionTimestamp.IsZero() || namespace != "" && contact.Namespace != namespace {
			continue
		}
		if _, asked := may[contact.Namespace]; !asked {
			if may[contact.Namespace], err = o.allowed(ctx, c.Organization, contact.Namespace); err != nil {
				return owner{}, false, err
			}
		}
		if own := rankOf(contact, c); may[contact.Namespace] && (!found || own.compare(best.rank) < 0) {
			best, found = owner{client.ObjectKeyFromObject(contact), own}, true
		}
	}
	return best, found, nil
}

// IsContested says whether the status of another contact than the owner, of that
// name, still says that it is the one that was accepted in the organization. What one
// says that has just moved there is about another organization: an owner that waited
// for it could be made to wait for ever, by one whose status cannot be written.
func (o *Owners) IsContested(ctx context.Context, c Claim, name types.NamespacedName) (bool, error) {
	var claimants v1alpha1.OpenCXContactList
	if err := o.cache.List(ctx, &claimants, client.MatchingFields{Index: c.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("listing the contacts of a contactID: %w", err)
	}
	for i := range claimants.Items {
		other := &claimants.Items[i]
		if other.Status.AppliedHash == "" || other.Status.Organization != c.Organization.String() || client.ObjectKeyFromObject(other) == name || !other.DeletionTimestamp.IsZero() {
			continue
		}
		if may, err := o.allowed(ctx, c.Organization, other.Namespace); may || err != nil {
			return may, err
		}
	}
	return false, nil
}

// release gives c to the next, because its owner has moved or is shut out.
func (o *Owners) release(ctx context.Context, c Claim) error {
	o.vacate(c)
	best, found, err := o.best(ctx, c)
	if found {
		o.wake(best.name)
	}
	return err
}

// Gone notes that a contact is gone.
func (o *Owners) Gone(ctx context.Context, name types.NamespacedName) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, owned := o.claims[name]; owned {
		contact := &v1alpha1.OpenCXContact{}
		if err := o.cache.Get(ctx, name, contact, client.UnsafeDisableDeepCopy); err == nil && contact.DeletionTimestamp.IsZero() {
			return nil // created again meanwhile; current sees that
		} else if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading contact: %w", err)
		}
		return o.release(ctx, c)
	}
	return nil
}

// WakeOwner has the owner of c looked at: another contact has said that it yields.
func (o *Owners) WakeOwner(c Claim) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if current, found := o.byClaim[c]; found {
		o.wake(current.name)
	}
}
