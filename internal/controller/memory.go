package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
)

// memory is what this process knows of contacts. Some of it is ahead of the
// cache: which version its last status write made, and a status that could not
// be written. Without it, a cache that lags behind would show a contact as unsent
// that was sent a moment ago, and every such look would cost a request. (A client of
// controller-runtime that reads its own writes does not know of a write that failed,
// nor of one that brought back metadata alone.) Nothing is kept of a contact of which the
// cache tells all, as it does of most.
type memory struct {
	mu       sync.Mutex
	contacts map[types.NamespacedName]remembered
}

type remembered struct {
	uid             types.UID
	resourceVersion string
	unsaved         *v1alpha1.OpenCXContactStatus
	// doubtful says that something was sent which no status tells of, because another
	// process had written one meanwhile.
	doubtful bool

	sent sent
	// attemptEnded is when the last request ended.
	attemptEnded time.Time
	// listing is what OpenCX lists of the contact and is not compared yet; seenUpdate is
	// when what was compared last had changed in OpenCX, and seenHash what it was compared
	// with.
	listing    *drift.Listing
	seenUpdate time.Time
	seenHash   string
	// lost says that the connection of the last attempt was closed before it.
	lost bool

	unsentSince time.Time // zero while OpenCX has what is declared
	change      string    // that was noticed and is not accepted yet
	noticedAt   time.Time // zero when there is none
}

func newMemory() *memory { return &memory{contacts: map[types.NamespacedName]remembered{}} }

// of is what is remembered of the contact of that name, or of one that had it before. It is
// to be asked before the cache: what that tells meanwhile is forgotten.
func (m *memory) of(name types.NamespacedName) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.contacts[name]
}

// ahead is what is remembered of those that were written, and of which the cache may not
// know that yet. It is to be asked before the cache too.
func (m *memory) ahead() map[types.NamespacedName]remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	ahead := map[types.NamespacedName]remembered{}
	for name, r := range m.contacts {
		if r.resourceVersion != "" {
			ahead[name] = r
		}
	}
	return ahead
}

// update changes what is remembered of contact, and not of another one that had
// its name before.
func (m *memory) update(contact *v1alpha1.OpenCXContact, change func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := client.ObjectKeyFromObject(contact)
	r := m.contacts[name]
	if r.uid != contact.UID {
		r.drops()
		r = remembered{uid: contact.UID}
	}
	change(&r)
	m.keep(name, r)
}

// keep keeps what says anything.
func (m *memory) keep(name types.NamespacedName, r remembered) {
	if r == (remembered{uid: r.uid}) {
		delete(m.contacts, name)
		return
	}
	m.contacts[name] = r
}

// cached forgets of contact, which was read from the cache, what that tells by now.
func (m *memory) cached(contact *v1alpha1.OpenCXContact) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := client.ObjectKeyFromObject(contact)
	r, known := m.contacts[name]
	if !known || r.uid != contact.UID || r.newerThan(contact) {
		return
	}
	r.resourceVersion = ""
	// What was listed before is compared with the precise time, and what will be with that
	// in status.
	if last := contact.Status.LastAttemptTime; last != nil && r.listing == nil && !r.attemptEnded.Truncate(time.Second).After(last.Time) {
		r.attemptEnded = time.Time{}
	}
	m.keep(name, r)
}

// drops gives up what is not compared yet.
func (r *remembered) drops() {
	if r.listing != nil {
		r.listing.Done()
	}
	r.listing = nil
}

// list remembers what OpenCX lists of a contact until it is compared.
func (m *memory) list(contact *v1alpha1.OpenCXContact, listing drift.Listing) {
	m.update(contact, func(r *remembered) {
		r.drops()
		r.listing = &listing
	})
}

// compared notes that what OpenCX listed was compared with what has that hash, and what
// follows from it is stored.
func (m *memory) compared(contact *v1alpha1.OpenCXContact, listing *drift.Listing, hash string) {
	m.update(contact, func(r *remembered) {
		r.seenUpdate, r.seenHash = listing.UpdatedAt, hash
		if r.listing == listing {
			r.drops()
		}
	})
}

// passOver gives up comparing what OpenCX listed.
func (m *memory) passOver(contact *v1alpha1.OpenCXContact, listing *drift.Listing) {
	m.update(contact, func(r *remembered) {
		if r.listing == listing {
			r.drops()
		}
	})
}

// newerThan says that contact is older than what was remembered of its name.
func (r remembered) newerThan(contact *v1alpha1.OpenCXContact) bool {
	if r.resourceVersion == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(contact.ResourceVersion, r.resourceVersion)
	return err != nil || order < 0
}

// wrote notes what became of a status write: the version that it made, or, when
// it failed, the status that is still to be written; neither when there was nothing
// to write.
func (m *memory) wrote(contact *v1alpha1.OpenCXContact, resourceVersion string, unsaved *v1alpha1.OpenCXContactStatus) {
	m.update(contact, func(r *remembered) {
		r.unsaved = unsaved
		if resourceVersion != "" {
			r.resourceVersion, r.doubtful = resourceVersion, false
		}
	})
}

func (m *memory) doubt(contact *v1alpha1.OpenCXContact) {
	m.update(contact, func(r *remembered) { r.doubtful = true })
}

// ended notes when the last request of a contact ended, whatever came back.
func (m *memory) ended(contact *v1alpha1.OpenCXContact, at time.Time) {
	m.update(contact, func(r *remembered) { r.attemptEnded = at })
}

func (m *memory) sent(contact *v1alpha1.OpenCXContact, s sent) {
	m.update(contact, func(r *remembered) { r.sent = s })
}

// lost notes whether the connection of an attempt was closed before it, and says
// whether that of the attempt before was.
func (m *memory) lost(contact *v1alpha1.OpenCXContact, lost bool) (before bool) {
	m.update(contact, func(r *remembered) { before, r.lost = r.lost, lost })
	return before
}

// notice remembers since when a contact has a change that OpenCX has not accepted:
// this one, and, which it returns, any.
func (m *memory) notice(f *facts, unsent bool) (unsentSince time.Time) {
	change, now := "", time.Now()
	if unsent || f.wished() {
		change = f.hash + f.wish()
	}
	m.update(f.contact, func(r *remembered) {
		switch {
		case !unsent:
			r.unsentSince = time.Time{}
		case r.unsentSince.IsZero():
			r.unsentSince = now
		}
		switch {
		case change == "": // taken back, or never there
			r.change, r.noticedAt = "", time.Time{}
		case r.change != change:
			r.change, r.noticedAt = change, now
		}
		unsentSince = r.unsentSince
	})
	return unsentSince
}

// settle tells how many seconds the change took that has been accepted, if there
// was one.
func (m *memory) settle(contact *v1alpha1.OpenCXContact, observe func(seconds float64)) {
	m.update(contact, func(r *remembered) {
		if !r.noticedAt.IsZero() {
			observe(time.Since(r.noticedAt).Seconds())
		}
		r.change, r.noticedAt, r.unsentSince = "", time.Time{}, time.Time{}
	})
}

// overtaken forgets what this process knows of a contact that another one has written to,
// but for the version that this made, if it is known: nothing older is worth a look. What
// OpenCX lists of it is still to be compared.
func (m *memory) overtaken(contact *v1alpha1.OpenCXContact, resourceVersion string) {
	m.update(contact, func(r *remembered) {
		*r = remembered{uid: r.uid, resourceVersion: resourceVersion, listing: r.listing}
	})
}

func (m *memory) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.contacts[name]
	r.drops()
	delete(m.contacts, name)
}
