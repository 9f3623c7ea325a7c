package organization

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

func TestAnOrganizationMayLowerTheLimitAndNotRaiseIt(t *testing.T) {
	flag := budget.Limit{Requests: 100, Window: time.Minute}
	for name, tt := range map[string]struct {
		declared *v1alpha1.RateLimit
		want     budget.Limit
		raises   bool
	}{
		"none":                                 {nil, flag, false},
		"the same":                             {rate(100, time.Minute), flag, false},
		"fewer":                                {rate(10, time.Minute), budget.Limit{Requests: 10, Window: time.Minute}, false},
		"more":                                 {rate(101, time.Minute), flag, true},
		"as many in a longer window":           {rate(100, time.Hour), budget.Limit{Requests: 100, Window: time.Hour}, false},
		"a longer one than the CRD admits now": {rate(100, 24*time.Hour), budget.Limit{Requests: 100, Window: 24 * time.Hour}, false},
		"more in a longer window, at once":     {rate(6000, time.Hour), flag, true},
		"as many a second, in seconds":         {rate(1, time.Second), budget.Limit{Requests: 1, Window: time.Second}, false},
		"more a second, in seconds":            {rate(2, time.Second), flag, true},
		"half as many in half of the window":   {rate(50, 30*time.Second), budget.Limit{Requests: 50, Window: 30 * time.Second}, false},
		"two windows of which one can hold":    {rate(50, 40*time.Second), budget.Limit{Requests: 50, Window: 40 * time.Second}, false},
		"two windows that hold more together":  {rate(51, 40*time.Second), flag, true},
	} {
		o := New(Options{Limit: flag, Share: 1})
		declared := &v1alpha1.OpenCXOrganization{}
		declared.Spec.RateLimit = tt.declared
		if got, raises := o.limitOf(declared); got != tt.want || raises != tt.raises {
			t.Errorf("%s: %s, raises %t; want %s, %t", name, got, raises, tt.want, tt.raises)
		}
	}
}

func TestAnInstanceUsesItsShareOfALimit(t *testing.T) {
	for name, tt := range map[string]struct {
		declared *v1alpha1.RateLimit
		share    float64
		want     budget.Limit
		raises   bool
	}{
		"all of the flag's":                  {nil, 1, budget.Limit{Requests: 100, Window: time.Minute}, false},
		"half of the flag's":                 {nil, 0.5, budget.Limit{Requests: 50, Window: time.Minute}, false},
		"half of a lower one":                {rate(60, time.Minute), 0.5, budget.Limit{Requests: 30, Window: time.Minute}, false},
		"half of one that may not be raised": {rate(200, time.Minute), 0.5, budget.Limit{Requests: 50, Window: time.Minute}, true},
		// What matters is that the whole of it is no more than the flag's.
		"half of the same":    {rate(100, time.Minute), 0.5, budget.Limit{Requests: 50, Window: time.Minute}, false},
		"less than a request": {rate(1, time.Second), 0.1, budget.Limit{Requests: 1, Window: 10 * time.Second}, false},
	} {
		o := New(Options{Limit: budget.Limit{Requests: 100, Window: time.Minute}, Share: tt.share})
		declared := &v1alpha1.OpenCXOrganization{}
		declared.Spec.RateLimit = tt.declared
		if got, raises := o.limitOf(declared); got != tt.want || raises != tt.raises {
			t.Errorf("%s: %s, raises %t; want %s, %t", name, got, raises, tt.want, tt.raises)
		}
	}
}

func rate(requests int32, window time.Duration) *v1alpha1.RateLimit {
	return &v1alpha1.RateLimit{Requests: requests, Window: metav1.Duration{Duration: window}}
}

func TestAContactBelongsToOneOrganization(t *testing.T) {
	o := New(Options{Default: types.NamespacedName{Namespace: "opencx-system", Name: "default"}})
	for name, tt := range map[string]struct {
		ref  *v1alpha1.OrganizationReference
		want string
	}{
		"none named":                  {nil, "opencx-system/default"},
		"one of its own namespace":    {&v1alpha1.OrganizationReference{Name: "acme"}, "shop/acme"},
		"one of another namespace":    {&v1alpha1.OrganizationReference{Name: "acme", Namespace: "crm"}, "crm/acme"},
		"one called like the default": {&v1alpha1.OrganizationReference{Name: "default"}, "shop/default"},
	} {
		contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
		contact.Spec.OrganizationRef = tt.ref
		got := o.NameFor(contact)
		if got.String() != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		if back := ParseName(got.String()); back != got {
			t.Errorf("%s: %s is read back as %s", name, got, back)
		}
	}
}

func TestTheResyncIntervalIsTheOrganizationsOwnWhenItSetsOne(t *testing.T) {
	o := New(Options{ResyncInterval: 24 * time.Hour})
	for name, tt := range map[string]struct {
		own  *metav1.Duration
		want time.Duration
	}{
		"none":     {nil, 24 * time.Hour},
		"one":      {&metav1.Duration{Duration: time.Hour}, time.Hour},
		"shortest": {&metav1.Duration{Duration: 5 * time.Minute}, 5 * time.Minute},
		"never":    {&metav1.Duration{}, 0},
		// Stored before the CRD refused them.
		"too short": {&metav1.Duration{Duration: time.Second}, 5 * time.Minute},
		"negative":  {&metav1.Duration{Duration: -time.Hour}, 0},
	} {
		declared := &v1alpha1.OpenCXOrganization{}
		declared.Spec.ResyncInterval = tt.own
		if got := o.resyncIntervalOf(declared); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// namespaces is a cache with the labels of namespaces.
type namespaces map[string]map[string]string

var errNotReady = errors.New("the cache is not ready")

// Get implements client.Reader.
func (n namespaces) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	if n == nil {
		return errNotReady
	}
	labels, found := n[name.Name]
	if !found {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, name.Name)
	}
	into.SetLabels(labels)
	return nil
}

// List implements client.Reader.
func (namespaces) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func TestWhoseContactsMayUseAnOrganization(t *testing.T) {
	known := namespaces{
		"crm": {}, "shop": {"team": "sales", "tier": "2"}, "lab": {"team": "research"}, "bare": {},
	}
	all := []string{"crm", "shop", "lab", "bare", "unknown"}
	in := func(key string, values ...v1alpha1.LabelValue) []v1alpha1.NamespaceSelectorRequirement {
		return []v1alpha1.NamespaceSelectorRequirement{{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}}
	}
	selector := func(s v1alpha1.NamespaceSelector) *v1alpha1.AllowedNamespaces {
		return &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &s}
	}
	sales := map[string]v1alpha1.LabelValue{"team": "sales"}
	for name, tt := range map[string]struct {
		allowed *v1alpha1.AllowedNamespaces
		blind   bool
		want    []string
	}{
		"nothing said":                  {nil, false, []string{"crm"}},
		"an empty object":               {&v1alpha1.AllowedNamespaces{}, false, []string{"crm"}},
		"Same":                          {&v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSame}, false, []string{"crm"}},
		"All":                           {&v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, false, all},
		"All, without a look at labels": {&v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromAll}, true, all},
		"a label":                       {selector(v1alpha1.NamespaceSelector{MatchLabels: sales}), false, []string{"crm", "shop"}},
		"a label that cannot be read":   {selector(v1alpha1.NamespaceSelector{MatchLabels: sales}), true, []string{"crm"}},
		"a label that nobody has":       {selector(v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "hr"}}), false, []string{"crm"}},
		"In":                            {selector(v1alpha1.NamespaceSelector{MatchExpressions: in("team", "sales", "research")}), false, []string{"crm", "shop", "lab"}},
		"NotIn, which needs no label": {selector(v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{
			{Key: "team", Operator: metav1.LabelSelectorOpNotIn, Values: []v1alpha1.LabelValue{"sales"}}}}), false, []string{"crm", "lab", "bare"}},
		"Exists": {selector(v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{
			{Key: "team", Operator: metav1.LabelSelectorOpExists}}}), false, []string{"crm", "shop", "lab"}},
		"DoesNotExist": {selector(v1alpha1.NamespaceSelector{MatchExpressions: []v1alpha1.NamespaceSelectorRequirement{
			{Key: "team", Operator: metav1.LabelSelectorOpDoesNotExist}}}), false, []string{"crm", "bare"}},
		"a label and an expression": {selector(v1alpha1.NamespaceSelector{
			MatchLabels: sales, MatchExpressions: in("tier", "1")}), false, []string{"crm"}},
		"what no selector can be": {selector(v1alpha1.NamespaceSelector{MatchExpressions: in("team")}), false, []string{"crm"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := New(Options{Cache: known, ReadsNamespaces: !tt.blind})
			organization := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "crm"}}
			organization.Spec.AllowedNamespaces = tt.allowed
			var got []string
			for _, namespace := range all {
				if may, err := o.allows(t.Context(), organization, namespace); err != nil {
					t.Fatal(err)
				} else if may {
					got = append(got, namespace)
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("allowed are %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("allowed are %v, want %v", got, tt.want)
				}
			}
		})
	}
	o := New(Options{Cache: namespaces(nil), ReadsNamespaces: true})
	organization := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "crm"}}
	organization.Spec.AllowedNamespaces = selector(v1alpha1.NamespaceSelector{MatchLabels: sales})
	if may, err := o.allows(t.Context(), organization, "shop"); may || !errors.Is(err, errNotReady) {
		t.Errorf("while labels cannot be read: %t, %v", may, err)
	}
}

func TestWhoCameFirstToAKey(t *testing.T) {
	organization := func(uid types.UID, second int64, saysDuplicate bool) *v1alpha1.OpenCXOrganization {
		o := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{UID: uid, CreationTimestamp: metav1.Unix(second, 0)}}
		reason := v1alpha1.UsableReason
		if saysDuplicate {
			reason = v1alpha1.DuplicateKeyReason
		}
		o.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ReadyCondition, Reason: reason}}
		return o
	}
	for name, tt := range map[string]struct {
		first, second         *v1alpha1.OpenCXOrganization
		firstTurn, secondTurn int
	}{
		"the older one":                                    {organization("b", 1, false), organization("a", 2, false), 0, 0},
		"of the same age, the lesser UID":                  {organization("a", 1, false), organization("b", 1, false), 0, 0},
		"the one that had it before this process":          {organization("b", 2, false), organization("a", 1, false), 0, 1},
		"the one that this process saw come to it before":  {organization("b", 2, true), organization("a", 1, false), 1, 2},
		"not the one whose status says that it came later": {organization("b", 2, false), organization("a", 1, true), 0, 0},
		"the older one of two that say so":                 {organization("b", 1, true), organization("a", 2, true), 0, 0},
	} {
		if !cameFirst(tt.first, tt.firstTurn, tt.second, tt.secondTurn) {
			t.Errorf("%s did not", name)
		}
		if cameFirst(tt.second, tt.secondTurn, tt.first, tt.firstTurn) {
			t.Errorf("beside %s, the other one did too", name)
		}
	}
}

func TestContactsAreToldNoMoreOfAKeyThanWhatToLookAt(t *testing.T) {
	acme := types.NamespacedName{Namespace: "crm", Name: "acme"}
	for name, tt := range map[string]struct{ problem, want *status.Problem }{
		"nothing is wrong": {nil, nil},
		"a missing key": {
			&status.Problem{Reason: "APIKeyNotFound", Message: `Secret "opencx" does not exist`, Missing: true},
			&status.Problem{Reason: "APIKeyNotFound", Message: "OpenCXOrganization crm/acme has no API key yet: see the status of that", Missing: true}},
		"an unusable key": {
			&status.Problem{Reason: "APIKeyInvalid", Message: `key "apiKey" of Secret "opencx": it is empty`},
			&status.Problem{Reason: "APIKeyInvalid", Message: "The API key of OpenCXOrganization crm/acme cannot be used: see the status of that"}},
		"the key of another organization": {
			&status.Problem{Reason: "DuplicateKey", Message: "Another OpenCXOrganization had the same API key before"},
			&status.Problem{Reason: "APIKeyInvalid", Message: "The API key of OpenCXOrganization crm/acme cannot be used: see the status of that"}},
	} {
		got := toContacts(tt.problem, acme)
		if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
