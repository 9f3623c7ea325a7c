package controller

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// memory is what this process knows of contacts before its cache does: which
// version its last status write made, and a status that could not be written.
// Without it, a cache that lags behind would show a contact as unsent that was
// sent a moment ago, and every such look would cost a request.
type memory struct {
	mu       sync.Mutex
	contacts map[types.NamespacedName]remembered
}

type remembered struct {
	uid             types.UID
	resourceVersion string
	unsaved         *v1alpha1.OpenCXContactStatus
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

// newerThan says that contact is older than what was remembered of it.
func (r remembered) newerThan(contact *v1alpha1.OpenCXContact) bool {
	if r.resourceVersion == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(contact.ResourceVersion, r.resourceVersion)
	return err != nil || order < 0
}

func (m *memory) keep(contact *v1alpha1.OpenCXContact, resourceVersion string, unsaved *v1alpha1.OpenCXContactStatus) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.contacts == nil {
		m.contacts = map[types.NamespacedName]remembered{}
	}
	m.contacts[client.ObjectKeyFromObject(contact)] = remembered{uid: contact.UID, resourceVersion: resourceVersion, unsaved: unsaved}
}

func (m *memory) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.contacts, name)
}
