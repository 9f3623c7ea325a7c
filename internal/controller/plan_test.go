package controller

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/ownership"
)

// lone is a cache with one contact, and every organization.
type lone struct {
	client.Client
	contact v1alpha1.OpenCXContact
	learns  func() // just after the contact was listed
}

func (l lone) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	into.SetNamespace(name.Namespace)
	into.SetName(name.Name)
	return nil
}

func (l lone) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	into.(*v1alpha1.OpenCXContactList).Items = []v1alpha1.OpenCXContact{l.contact}
	l.learns()
	return nil
}

// planFor is what a sweep would be for with that contact alone.
func planFor(t *testing.T, contact v1alpha1.OpenCXContact, began, full time.Time) drift.Plan {
	t.Helper()
	return planWith(t, newMemory(), lone{contact: contact, learns: func() {}}, began, full)
}

func planWith(t *testing.T, remembers *memory, cache lone, began, full time.Time) drift.Plan {
	t.Helper()
	s := swept{r: &ContactReconciler{cache: cache, memory: remembers, organizations: organization.New(organization.Options{Cache: cache})}}
	s.r.Drift = drift.DefaultTiming
	plan, err := s.Plan(t.Context(), types.NamespacedName{Namespace: "shop", Name: "default"}, began, full)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestAContactOfTheSecondInWhichASweepOfAllBeganIsLookedForAgain(t *testing.T) {
	full := time.Date(2026, 1, 1, 12, 0, 0, int(300*time.Millisecond), time.UTC)
	contact := v1alpha1.OpenCXContact{}
	contact.Namespace, contact.Spec.DriftPolicy = "shop", v1alpha1.DriftReport
	for at, want := range map[time.Duration]bool{0: true, -time.Second: false, time.Second: true} {
		contact.CreationTimestamp = metav1.NewTime(full.Truncate(time.Second).Add(at)) // which has whole seconds
		if plan := planFor(t, contact, full, full); !plan.Unlisted || plan.Newest.IsZero() == want {
			t.Errorf("created %s after: %+v; is newer: want %t", at, plan, want)
		}
	}
}

func TestAContactThatIsIgnoredNoMoreIsLookedFor(t *testing.T) {
	then := time.Now().Add(-time.Hour).Truncate(time.Second)
	contact := v1alpha1.OpenCXContact{}
	contact.Namespace, contact.Spec.DriftPolicy = "shop", v1alpha1.DriftReport
	contact.Status = v1alpha1.OpenCXContactStatus{
		Organization: "shop/default", AppliedHash: "v1:1", AttemptedHash: "v1:1", LastSyncTime: &metav1.Time{Time: then},
		Conditions: []metav1.Condition{{Type: v1alpha1.DriftedCondition, Status: metav1.ConditionUnknown, Reason: v1alpha1.IgnoredReason, LastTransitionTime: metav1.NewTime(then)}},
	}
	f := facts{contact: &contact, status: contact.Status, state: stateOf(&contact.Status), title: ownership.Title{Owns: true}, hash: "v1:1"}
	f.organization.Name = types.NamespacedName{Namespace: "shop", Name: "default"}
	now := time.Now()
	contact.Status, _ = report(f, decide(f, now), result{}, now)
	full := then.Add(time.Minute) // for the sake of others, while it was ignored
	if plan := planFor(t, contact, now.Add(time.Hour), full); plan.Newest.Before(now.Add(-2 * time.Second)) {
		t.Errorf("%+v, so that it is looked for in a day", plan)
	}
}

func TestWhatIsOnlyVerifiedIsLookedForSinceThen(t *testing.T) {
	contact := v1alpha1.OpenCXContact{}
	contact.Namespace = "shop"
	contact.Status.AppliedHash, contact.Status.LastVerifiedTime = "v1:1", new(metav1.Now())
	if plan := planFor(t, contact, time.Time{}, time.Time{}); !plan.Oldest.Equal(contact.Status.LastVerifiedTime.Time) {
		t.Errorf("the oldest is of %s", plan.Oldest)
	}
}

func TestWhatSweepsOfAllContactsLookFor(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for name, tt := range map[string]struct {
		drift string
		wrote string // the version that the last status write made
		want  bool
	}{
		"not looked at since it was accepted":        {v1alpha1.NotVerifiedReason, "7", true},
		"not looked at since it was repaired":        {v1alpha1.RepairedReason, "7", true},
		"accepted while nobody was to look":          {"", "7", true},
		"looked at":                                  {v1alpha1.VerifiedReason, "7", false},
		"known to differ":                            {v1alpha1.FieldsDifferReason, "7", false},
		"looked at, which the cache does not know":   {v1alpha1.NotVerifiedReason, "8", false},
		"not ignored any more, and about to be sent": {v1alpha1.IgnoredReason, "7", false},
	} {
		contact := v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: "u", ResourceVersion: "7"}}
		contact.Status = v1alpha1.OpenCXContactStatus{Organization: "shop/default", AppliedHash: "v1:1", AttemptedHash: "v1:1", LastSyncTime: &metav1.Time{Time: now.Add(-time.Hour)}}
		if tt.drift != "" {
			contact.Status.Conditions = []metav1.Condition{{Type: v1alpha1.DriftedCondition, Reason: tt.drift, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))}}
		}
		written := contact
		written.ResourceVersion = tt.wrote
		for _, learns := range []bool{false, true} {
			remembers := newMemory()
			remembers.wrote(&contact, tt.wrote, nil)
			cache := lone{contact: contact, learns: func() {
				if learns {
					remembers.cached(&written)
				}
			}}
			if plan := planWith(t, remembers, cache, now, time.Time{}); !plan.Contacts || plan.Unlisted != tt.want {
				t.Errorf("%s, which the cache comes to know %t: %+v; looked for: want %t", name, learns, plan, tt.want)
			}
		}
	}
}

// Others would hold up the sweep, and see of a contact that is not theirs how it differs.
func TestWhatOpenCXListsIsComparedWithContactsThatMayUseTheOrganization(t *testing.T) {
	name := types.NamespacedName{Namespace: "shop", Name: "default"}
	for namespace, want := range map[string]int{"shop": 1, "mallory": 0} {
		contact := v1alpha1.OpenCXContact{}
		contact.Namespace, contact.Name, contact.UID = namespace, "jane", "uid"
		contact.Spec.ContactID = "jane"
		contact.Spec.OrganizationRef = &v1alpha1.OrganizationReference{Namespace: name.Namespace, Name: name.Name}
		cache := lone{contact: contact, learns: func() {}}
		known := organization.New(organization.Options{Cache: cache})
		r := &ContactReconciler{cache: cache, memory: newMemory(), organizations: known, owners: ownership.NewOwners(cache, known.NameFor, known.MayUse, nil)}
		listings, woken := 0, 0
		s := swept{r: r, wake: func(types.NamespacedName) { woken++ }}
		err := s.Compare(t.Context(), name, opencx.ListedContact{ID: "jane"}, func() drift.Listing {
			listings++
			return drift.Listing{Done: func() {}}
		})
		if err != nil || listings != want || woken != want {
			t.Errorf("a contact in %s: error = %v, %d listings, %d woken; want %d", namespace, err, listings, woken, want)
		}
	}
}
