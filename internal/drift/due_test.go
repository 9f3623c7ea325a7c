package drift

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

// plans are contacts of which nothing is known but what a sweep would be for.
type plans struct{ is Plan }

// Plan implements Contacts.
func (p plans) Plan(context.Context, types.NamespacedName, time.Time, time.Time) (Plan, error) {
	return p.is, nil
}

// Compare implements Contacts.
func (plans) Compare(context.Context, types.NamespacedName, opencx.ListedContact, func() Listing) error {
	return nil
}

func TestASweepOfAllContactsKeepsItsPause(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Now().Truncate(time.Second)
	for name, tt := range map[string]struct {
		interval time.Duration
		ago      time.Duration // the last sweep of all
		rest     time.Duration // after it, by what it cost
		newest   time.Duration // ago, of what no sweep of all has looked for; 0 for nothing
		restart  bool
		want     time.Duration // until the next sweep
		full     bool
	}{
		"after a day":                             {interval: day, ago: time.Hour, want: 23 * time.Hour, full: true},
		"after an interval that is longer":        {interval: 2 * day, ago: time.Minute, want: 2*day - time.Minute, full: true},
		"the same after a restart":                {interval: 2 * day, ago: time.Minute, restart: true, want: 2*day - time.Minute, full: true},
		"not before what it cost":                 {interval: day, ago: time.Minute, rest: 3 * day, want: day},
		"nor for a new one":                       {interval: day, ago: time.Hour, rest: 3 * day, newest: time.Minute, want: day},
		"a new one":                               {interval: time.Hour, ago: 2 * time.Hour, newest: time.Minute, want: 10*time.Second - time.Minute, full: true},
		"a new one, by a clock that was ahead":    {interval: time.Hour, ago: 2 * time.Hour, newest: -2 * day, full: true},
		"the last one, by a clock that was ahead": {interval: day, ago: -2 * day, restart: true, full: true},
	} {
		plan := Plan{Contacts: true, Oldest: now, Unlisted: true}
		if tt.newest != 0 {
			plan.Newest = now.Add(-tt.newest)
		}
		s := New(Options{Timing: DefaultTiming, Contacts: plans{plan}, Organizations: organization.New(organization.Options{Share: 1})})
		o, full, seen := &v1alpha1.OpenCXOrganization{}, now.Add(-tt.ago), &sight{}
		o.Status.Sweep = &v1alpha1.SweepStatus{LastTime: &metav1.Time{Time: now}, LastFullTime: &metav1.Time{Time: full}}
		if !tt.restart {
			seen.fullBegan, seen.fullEnded, seen.fullRest = full, full, tt.rest
		}
		at, isFull, _, err := s.due(t.Context(), o, seen, tt.interval, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := at.Sub(now); got != tt.want || isFull != tt.full {
			t.Errorf("%s: in %s, full %t; want %s, %t", name, got, isFull, tt.want, tt.full)
		}
	}
}

func TestTheWatermarkIsBelievedOfWhoComparedTheSameContacts(t *testing.T) {
	some := func(selector string) organization.Scope {
		parsed, err := labels.Parse(selector)
		if err != nil {
			t.Fatal(err)
		}
		return organization.Scope{Contacts: parsed}
	}
	all, watermark := organization.Scope{}, metav1.Now().Rfc3339Copy()
	anew := watermark.Add(-time.Hour - DefaultTiming.Overlap)
	for name, tt := range map[string]struct {
		before, now organization.Scope
		share       float64
		want        time.Time
	}{
		"all":                   {all, all, 1, watermark.Time},
		"all, of half a limit":  {all, all, 0.5, watermark.Time},
		"the same shard":        {some("shard=a"), some("shard=a"), 0.5, watermark.Time},
		"the same namespaces":   {organization.Scope{Namespaces: []string{"a", "b"}}, organization.Scope{Namespaces: []string{"b", "a"}}, 1, watermark.Time},
		"some before, now all":  {some("shard=a"), all, 1, anew},
		"all before, now some":  {all, some("shard=a"), 1, anew},
		"another shard":         {some("shard=b"), some("shard=a"), 0.5, anew},
		"fewer namespaces then": {organization.Scope{Namespaces: []string{"a"}}, organization.Scope{Namespaces: []string{"a", "b"}}, 1, anew},
	} {
		process := func(scope organization.Scope) *Sweeper {
			return New(Options{
				Timing: DefaultTiming, Told: func(types.NamespacedName) {},
				Organizations: organization.New(organization.Options{Share: tt.share, Scope: scope}),
			})
		}
		o, before, s := &v1alpha1.OpenCXOrganization{}, process(tt.before), process(tt.now)
		seen := &sight{pass: &pass{watermark: watermark.Time}}
		before.end(o, seen)
		defer before.forget(types.NamespacedName{}) // what it has counted
		o.Status.Sweep = seen.told.Sweep
		p := s.begin(o, Plan{Contacts: true, Oldest: watermark.Add(-time.Hour)}, false)
		if !p.after.Equal(tt.want) || p.full {
			t.Errorf("%s: it begins at %s, want %s", name, p.after, tt.want)
		}
	}
}
