package organization

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// CompareKeys has all keys compared again, because an organization has changed. It
// returns which organizations that may concern: those whose key another one had before,
// by their status, or by what this process knows, which status may not say yet.
func (o *Organizations) CompareKeys() (concerns func(*v1alpha1.OpenCXOrganization) bool) {
	o.keys.mu.Lock()
	defer o.keys.mu.Unlock()
	o.keys.changed()
	known := map[types.NamespacedName]bool{}
	for name, held := range o.keys.held {
		known[name] = held.isDuplicate()
	}
	return func(organization *v1alpha1.OpenCXOrganization) bool {
		return known[client.ObjectKeyFromObject(organization)] || saysDuplicate(organization)
	}
}

func (k *heldKey) isDuplicate() bool {
	return k.problem != nil && k.problem.Reason == v1alpha1.DuplicateKeyReason
}

func (k *keys) changed() {
	for _, held := range k.held {
		held.compared = false
	}
}

// holder is an organization and the key that it holds.
type holder struct {
	organization *v1alpha1.OpenCXOrganization
	key          *heldKey
}

// cameFirst says whether h came to its key before other did.
func (h holder) cameFirst(other holder) bool {
	return cameFirst(h.organization, h.key.turn, other.organization, other.key.turn)
}

// compare says of each held key that another organization came to it before, if one did.
// That one goes on; two windows for one quota would exceed it. It looks at all at once,
// so that hundreds of organizations do not each compare themselves with all others.
// A suspended one is in nobody's way; asked is compared though it may be suspended.
// It returns of whom this changes what was said before.
func (o *Organizations) compare(ctx context.Context, asked *v1alpha1.OpenCXOrganization) (changed []types.NamespacedName, err error) {
	var all v1alpha1.OpenCXOrganizationList
	if err := o.Cache.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing organizations: %w", err)
	}
	for i := range all.Items {
		o.names(&all.Items[i]) // so that one read of a Secret serves all
	}
	var holders []holder
	first, unread := map[opencx.APIKey]holder{}, false
	for i := range all.Items {
		other := &all.Items[i]
		active := !other.Spec.Suspend && other.DeletionTimestamp.IsZero()
		if !active && other.UID != asked.UID {
			continue
		}
		held, err := o.hold(ctx, other)
		if err != nil {
			// One organization's Secret stops nobody else; it is compared at the next look. Its
			// own reconciler logs that, and does not do so at each request of others.
			unread = true
			continue
		}
		h := holder{other, held}
		holders = append(holders, h)
		if before, known := first[held.key]; active && (!known || h.cameFirst(before)) {
			first[held.key] = h
		}
	}
	for _, h := range holders {
		unusable := h.key.problem != nil && !h.key.isDuplicate()
		h.key.compared = !unread || unusable
		if unusable {
			continue
		}
		was := h.key.isDuplicate()
		h.key.problem = nil
		if before, known := first[h.key.key]; known && before.cameFirst(h) {
			// Its name is nobody's business who may not see it.
			h.key.problem = &status.Problem{Reason: v1alpha1.DuplicateKeyReason,
				Message: "Another OpenCXOrganization had the same API key before: let contacts name that one, or use another key here"}
		}
		if h.key.isDuplicate() != was {
			changed = append(changed, client.ObjectKeyFromObject(h.organization))
		}
	}
	return changed, nil
}

// cameFirst says whether organization a came to a key before b. What a process did
// not see itself it reads from status, or else from age.
func cameFirst(a *v1alpha1.OpenCXOrganization, turnA int, b *v1alpha1.OpenCXOrganization, turnB int) bool {
	return cmp.Or(
		cmp.Compare(turnA, turnB),
		duplicateLast(a, b),
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		cmp.Compare(a.UID, b.UID),
	) < 0
}

// duplicateLast puts an organization last whose status says that it came later.
func duplicateLast(a, b *v1alpha1.OpenCXOrganization) int {
	switch {
	case saysDuplicate(a) == saysDuplicate(b):
		return 0
	case saysDuplicate(b):
		return -1
	}
	return 1
}

// saysDuplicate says whether an organization's status says that another one had its
// key before.
func saysDuplicate(organization *v1alpha1.OpenCXOrganization) bool {
	ready := meta.FindStatusCondition(organization.Status.Conditions, v1alpha1.ReadyCondition)
	return ready != nil && ready.Reason == v1alpha1.DuplicateKeyReason
}
