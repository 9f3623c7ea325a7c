package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// memory is what this process knows of contacts. Some of it is ahead of the
// cache: which version its last status write made, and a status that could not
// be written. Without it, a cache that lags behind would show a contact as unsent
// that was sent a moment ago, and every such look would cost a request.
type memory struct {
	mu       sync.Mutex
	contacts map[types.NamespacedName]remembered
}

type remembered struct {
	uid             types.UID
	resourceVersion string
	unsaved         *v1alpha1.OpenCXContactStatus

	attempt attempt // the last one

	change    string    // that was noticed and is not accepted yet
	noticedAt time.Time // zero when there is none
}

// attempt is what a request carried. Zero when this process has made none.
type attempt struct {
	hash       string
	digest     opencx.Fingerprint
	keyVersion string
}

func (m *memory) of(contact *v1alpha1.OpenCXContact) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.contacts[client.ObjectKeyFromObject(contact)]
	if r.uid != contact.UID {
		return remembered{}
	}
	return r
}

// update changes what is remembered of contact, and not of another one that had
// its name before.
func (m *memory) update(contact *v1alpha1.OpenCXContact, change func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.contacts == nil {
		m.contacts = map[types.NamespacedName]remembered{}
	}
	name := client.ObjectKeyFromObject(contact)
	r := m.contacts[name]
	if r.uid != contact.UID {
		r = remembered{uid: contact.UID}
	}
	change(&r)
	m.contacts[name] = r
}

// newerThan says that contact is older than what was remembered of it.
func (r remembered) newerThan(contact *v1alpha1.OpenCXContact) bool {
	if r.resourceVersion == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(contact.ResourceVersion, r.resourceVersion)
	return err != nil || order < 0
}

// wrote notes what became of a status write: the version that it made, or, when
// it failed, the status that is still to be written.
func (m *memory) wrote(contact *v1alpha1.OpenCXContact, resourceVersion string, unsaved *v1alpha1.OpenCXContactStatus) {
	m.update(contact, func(r *remembered) {
		r.unsaved = unsaved
		if unsaved == nil {
			r.resourceVersion = resourceVersion
		}
	})
}

func (m *memory) attempted(contact *v1alpha1.OpenCXContact, a attempt) {
	m.update(contact, func(r *remembered) { r.attempt = a })
}

// notice remembers since when contact has a change that OpenCX has not accepted.
func (m *memory) notice(contact *v1alpha1.OpenCXContact, change string, now time.Time) {
	m.update(contact, func(r *remembered) {
		if r.change != change {
			r.change, r.noticedAt = change, now
		}
	})
}

// settle tells how many seconds the change took that has been accepted, if there
// was one.
func (m *memory) settle(contact *v1alpha1.OpenCXContact, observe func(seconds float64)) {
	m.update(contact, func(r *remembered) {
		if !r.noticedAt.IsZero() {
			observe(time.Since(r.noticedAt).Seconds())
		}
		r.change, r.noticedAt = "", time.Time{}
	})
}

func (m *memory) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.contacts, name)
}
