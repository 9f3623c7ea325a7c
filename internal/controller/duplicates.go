package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// contactIDIndex finds contacts by their contactID.
const contactIDIndex = "spec.contactID"

// siblings returns the other contacts that claim the same contactID, the oldest
// first, without those that are being deleted.
func (r *ContactReconciler) siblings(ctx context.Context, contact *v1alpha1.OpenCXContact) ([]v1alpha1.OpenCXContact, error) {
	var list v1alpha1.OpenCXContactList
	if err := r.Client.List(ctx, &list, client.MatchingFields{contactIDIndex: contact.Spec.ContactID}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing contacts of the same contactID: %w", err)
	}
	siblings := slices.DeleteFunc(list.Items, func(other v1alpha1.OpenCXContact) bool {
		return other.UID == contact.UID || !other.DeletionTimestamp.IsZero()
	})
	slices.SortFunc(siblings, func(a, b v1alpha1.OpenCXContact) int { return byAge(&a, &b) })
	return siblings, nil
}

// byAge orders contacts by their creation, and those of one second by UID.
func byAge(a, b *v1alpha1.OpenCXContact) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
}

// olderClaim returns the oldest contact that claims contact's contactID with an
// API key of the same content, nil when contact is that one itself. Keys are read
// only when there is something to compare.
func (r *ContactReconciler) olderClaim(ctx context.Context, contact *v1alpha1.OpenCXContact) (*v1alpha1.OpenCXContact, error) {
	siblings, err := r.siblings(ctx, contact)
	if err != nil {
		return nil, err
	}
	older := slices.DeleteFunc(siblings, func(other v1alpha1.OpenCXContact) bool { return byAge(&other, contact) > 0 })
	if len(older) == 0 {
		return nil, nil
	}
	key, _, err := r.Credentials.read(ctx, contact)
	if err != nil {
		return nil, ignoreInputError(err) // it cannot be sent anyway
	}
	for i := range older {
		other, _, err := r.Credentials.read(ctx, &older[i])
		if ignoreInputError(err) != nil {
			return nil, err
		}
		if err == nil && other.Fingerprint(r.keySeed) == key.Fingerprint(r.keySeed) {
			return &older[i], nil
		}
	}
	return nil, nil
}

func ignoreInputError(err error) error {
	if _, is := errors.AsType[*inputError](err); is {
		return nil
	}
	return err
}

// siblingsOf returns who may have become a duplicate, or ceased to be one, by a
// change of contact.
func (r *ContactReconciler) siblingsOf(ctx context.Context, contact client.Object) []reconcile.Request {
	siblings, err := r.siblings(ctx, contact.(*v1alpha1.OpenCXContact))
	if err != nil {
		log.FromContext(ctx).Error(err, "Looking for duplicates of a changed contact")
		return nil
	}
	requests := make([]reconcile.Request, len(siblings))
	for i := range siblings {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&siblings[i])
	}
	return requests
}
