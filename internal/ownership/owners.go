// Package ownership decides which of the contacts that name one contactID is the one
// that is sent, and lets one request of a contactID be under way at a time.
package ownership

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
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

// Index is the index of contacts by what they claim. An index needs many times the size of a
// value for each of them, so claims share values: those of one contactID are among the
// contacts of its value, and Claimants finds them.
const Index = "claim"

// indexValues is how many values Index has: few enough that they do not count, and enough
// that few contacts have to be looked through.
const indexValues = 2048

// seed keeps anybody from finding many contactIDs with one value.
var seed = maphash.MakeSeed()

// IndexValue is the value of Index under which the contacts of c are.
func (c Claim) IndexValue() string {
	return strconv.FormatUint(maphash.Comparable(seed, c)%indexValues, 10)
}

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
	nameFor func(*v1alpha1.OpenCXContact) types.NamespacedName
	allowed func(ctx context.Context, organization types.NamespacedName, namespace string) (bool, error)
	wake    func(types.NamespacedName)

	mu      sync.Mutex
	byClaim map[Claim]*owner
	byName  map[types.NamespacedName]*owner
	vacant  map[Claim]vacated
}

// owner is that of one claim. There may be as many as contacts, so both maps share it.
type owner struct {
	name  types.NamespacedName
	claim Claim
	rank  rank
}

type vacated struct {
	namespace string
	until     time.Time
}

// NewOwners returns Owners that know nobody yet. cache must have the index. nameFor is the
// organization that a contact belongs to, and allowed says whether contacts of a namespace
// may use one. wake has a contact looked at; it must neither block nor call Owners.
func NewOwners(cache client.Reader, nameFor func(*v1alpha1.OpenCXContact) types.NamespacedName,
	allowed func(ctx context.Context, organization types.NamespacedName, namespace string) (bool, error), wake func(types.NamespacedName)) *Owners {
	return &Owners{
		cache: cache, nameFor: nameFor, allowed: allowed, wake: wake,
		byClaim: map[Claim]*owner{}, byName: map[types.NamespacedName]*owner{}, vacant: map[Claim]vacated{},
	}
}

// Judge says what contact is to c. One that may not use the organization owns
// nothing.
func (o *Owners) Judge(ctx context.Context, contact *v1alpha1.OpenCXContact, c Claim, allowed bool) (Title, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := client.ObjectKeyFromObject(contact)
	if before := o.byName[name]; before != nil && (before.claim != c || !allowed) {
		if err := o.release(ctx, before); err != nil { // it has moved, or is shut out
			return Title{}, err
		}
	}
	if !allowed {
		return Title{}, nil
	}
	own := rankOf(contact, c)
	current := o.byClaim[c]
	if current == nil || current.name != name || current.rank.compare(own) < 0 {
		var err error
		if current, err = o.current(ctx, c, name); err != nil {
			return Title{}, err
		}
	}
	if current != nil && current.name != name && current.rank.compare(own) < 0 {
		return Title{}, nil
	}
	if v := o.vacant[c]; v.namespace != name.Namespace && time.Now().Before(v.until) {
		return Title{VacantUntil: v.until}, nil
	}
	if current != nil && current.name != name {
		o.wake(current.name) // it has to say so
	}
	o.set(owner{name, c, own})
	return Title{Owns: true}, nil
}

func (o *Owners) set(to owner) {
	if to.rank.accepted() {
		delete(o.vacant, to.claim) // until then, one that was applied again is no older than others
	}
	before := o.byClaim[to.claim]
	if before != nil && before.name == to.name {
		*before = to
		return
	}
	if before != nil {
		delete(o.byName, before.name)
	}
	o.byClaim[to.claim], o.byName[to.name] = &to, &to
}

// current returns the owner of c, nil when there is none, and another one when the last has
// gone or lost its rank. That one is woken, unless it is the one that is asking; where none
// was known, each is looked at anyway.
func (o *Owners) current(ctx context.Context, c Claim, asking types.NamespacedName) (*owner, error) {
	known := o.byClaim[c]
	if known != nil {
		contact := &v1alpha1.OpenCXContact{}
		err := o.cache.Get(ctx, known.name, contact, client.UnsafeDisableDeepCopy)
		switch {
		case client.IgnoreNotFound(err) != nil:
			return nil, fmt.Errorf("reading the owner of a contactID: %w", err)
		case err != nil, contact.UID != known.rank.uid, !contact.DeletionTimestamp.IsZero():
			o.vacate(known)
		default:
			if now := rankOf(contact, c); now.compare(known.rank) <= 0 {
				known.rank = now
				return known, nil
			}
			delete(o.byClaim, c)
			delete(o.byName, known.name)
		}
	}
	best, err := o.best(ctx, c)
	if err != nil || best == nil {
		return nil, err
	}
	if before := o.byName[best.name]; before != nil && before.claim != c {
		if err := o.release(ctx, before); err != nil { // it has moved, and was not looked at yet
			return nil, err
		}
	}
	o.byClaim[c], o.byName[best.name] = best, best
	if known != nil && best.name != asking {
		o.wake(best.name)
	}
	return best, nil
}

// vacate notes that an owner went.
func (o *Owners) vacate(gone *owner) {
	c := gone.claim
	delete(o.byClaim, c)
	delete(o.byName, gone.name)
	o.vacant[c] = vacated{gone.name.Namespace, time.Now().Add(vacancy)}
	// Whoever follows may have been told that the contactID is not vacant, by the one
	// that is gone now.
	time.AfterFunc(vacancy, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if v, still := o.vacant[c]; still && !time.Now().Before(v.until) {
			delete(o.vacant, c)
			if best, err := o.best(context.Background(), c); err == nil && best != nil {
				o.wake(best.name)
			}
		}
	})
}

// best compares all who claim c and may follow now; it is nil when there is nobody.
func (o *Owners) best(ctx context.Context, c Claim) (best *owner, err error) {
	namespace := ""
	if v := o.vacant[c]; time.Now().Before(v.until) {
		namespace = v.namespace
	}
	claimants, err := o.Claimants(ctx, c)
	if err != nil {
		return nil, err
	}
	may := map[string]bool{}
	for _, contact := range claimants {
		if !contact.DeletionTimestamp.IsZero() || namespace != "" && contact.Namespace != namespace {
			continue
		}
		if _, asked := may[contact.Namespace]; !asked {
			if may[contact.Namespace], err = o.allowed(ctx, c.Organization, contact.Namespace); err != nil {
				return nil, err
			}
		}
		if own := rankOf(contact, c); may[contact.Namespace] && (best == nil || own.compare(best.rank) < 0) {
			best = &owner{client.ObjectKeyFromObject(contact), c, own}
		}
	}
	return best, nil
}

// Claimants returns the contacts that claim c. They belong to the cache.
func (o *Owners) Claimants(ctx context.Context, c Claim) (claimants []*v1alpha1.OpenCXContact, err error) {
	var contacts v1alpha1.OpenCXContactList
	if err := o.cache.List(ctx, &contacts, client.MatchingFields{Index: c.IndexValue()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the contacts of a contactID: %w", err)
	}
	for i := range contacts.Items {
		if contact := &contacts.Items[i]; ClaimOf(contact, o.nameFor(contact)) == c {
			claimants = append(claimants, contact)
		}
	}
	return claimants, nil
}

// IsContested says whether the status of another contact than the owner, of that
// name, still says that it is the one that was accepted in the organization. What one
// says that has just moved there is about another organization: an owner that waited
// for it could be made to wait for ever, by one whose status cannot be written.
func (o *Owners) IsContested(ctx context.Context, c Claim, name types.NamespacedName) (bool, error) {
	claimants, err := o.Claimants(ctx, c)
	if err != nil {
		return false, err
	}
	for _, other := range claimants {
		if other.Status.AppliedHash == "" || other.Status.Organization != c.Organization.String() || client.ObjectKeyFromObject(other) == name || !other.DeletionTimestamp.IsZero() {
			continue
		}
		if may, err := o.allowed(ctx, c.Organization, other.Namespace); may || err != nil {
			return may, err
		}
	}
	return false, nil
}

// release gives what an owner that has moved or is shut out had to the next.
func (o *Owners) release(ctx context.Context, before *owner) error {
	o.vacate(before)
	best, err := o.best(ctx, before.claim)
	if best != nil {
		o.wake(best.name)
	}
	return err
}

// Gone notes that a contact is gone.
func (o *Owners) Gone(ctx context.Context, name types.NamespacedName) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if owned := o.byName[name]; owned != nil {
		contact := &v1alpha1.OpenCXContact{}
		if err := o.cache.Get(ctx, name, contact, client.UnsafeDisableDeepCopy); err == nil && contact.DeletionTimestamp.IsZero() {
			return nil // created again meanwhile; current sees that
		} else if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading contact: %w", err)
		}
		return o.release(ctx, owned)
	}
	return nil
}

// WakeOwner has the owner of c looked at: another contact has said that it yields.
func (o *Owners) WakeOwner(c Claim) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if current := o.byClaim[c]; current != nil {
		o.wake(current.name)
	}
}
