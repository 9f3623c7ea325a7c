package controller

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
)

// swept are the contacts that the sweeps of drift are for.
type swept struct {
	r *ContactReconciler
	// wake has a contact looked at, behind all that people have edited.
	wake func(types.NamespacedName)
}

// Plan implements drift.Contacts.
func (s swept) Plan(ctx context.Context, name types.NamespacedName, began, full time.Time) (plan drift.Plan, err error) {
	ahead := s.r.memory.ahead()
	var contacts v1alpha1.OpenCXContactList
	if err := s.r.cache.List(ctx, &contacts, client.MatchingFields{organization.Index: name.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return plan, fmt.Errorf("listing the contacts of a sweep: %w", err)
	}
	unlisted := func(since time.Time) {
		plan.Unlisted = true
		if !since.Before(full.Truncate(time.Second)) && since.After(plan.Newest) {
			plan.Newest = since
		}
	}
	accepted := func(at time.Time) {
		plan.Contacts = true
		if plan.Oldest.IsZero() || at.Before(plan.Oldest) {
			plan.Oldest = at
		}
	}
	may := map[string]bool{}
	for i := range contacts.Items {
		contact := &contacts.Items[i]
		if _, asked := may[contact.Namespace]; !asked {
			if may[contact.Namespace], err = s.r.organizations.MayUse(ctx, name, contact.Namespace); err != nil {
				return plan, err
			}
		}
		told, is := &contact.Status, stateOf(&contact.Status)
		// The cache may not know yet what the last sweep came to.
		lags := ahead[client.ObjectKeyFromObject(contact)].newerThan(contact)
		seen := is.drift == v1alpha1.VerifiedReason || wantsRepair(is.drift) || lags
		switch {
		case !may[contact.Namespace], policyOf(contact) == v1alpha1.DriftIgnore, is.reason == v1alpha1.DuplicateReason:
		case isIntroduced(contact, told):
			plan.Contacts = true
			if !seen {
				unlisted(notReadySince(contact))
			} else if len(desired.Objects(&contact.Spec)) > 0 { // which perhaps changed while nobody looked
				plan.Unlisted = true
			}
		case told.LastSyncTime != nil && told.Organization == name.String():
			accepted(told.LastSyncTime.Time)
			// What is not listed as changed since has perhaps not changed.
			since := told.LastSyncTime.Time
			if drifted := meta.FindStatusCondition(told.Conditions, v1alpha1.DriftedCondition); drifted != nil && drifted.LastTransitionTime.After(since) {
				since = drifted.LastTransitionTime.Time
			}
			if !seen && told.AppliedHash != "" && since.Before(began.Add(-s.r.Drift.Settling)) {
				unlisted(since)
			}
		case told.LastVerifiedTime != nil:
			accepted(told.LastVerifiedTime.Time)
		}
	}
	return plan, nil
}

// Compare implements drift.Contacts.
func (s swept) Compare(ctx context.Context, name types.NamespacedName, listed opencx.ListedContact, listing func() drift.Listing) error {
	claimants, err := s.r.owners.Claimants(ctx, ownership.NewClaim(name, listed.ID))
	if err != nil {
		return fmt.Errorf("finding the contact that OpenCX lists: %w", err)
	}
	for _, contact := range claimants {
		switch may, err := s.r.organizations.MayUse(ctx, name, contact.Namespace); {
		case err != nil:
			return err
		case !may:
			continue
		}
		s.r.memory.list(contact, listing())
		s.wake(client.ObjectKeyFromObject(contact))
	}
	return nil
}
