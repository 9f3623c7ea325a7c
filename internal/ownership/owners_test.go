package ownership

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

var (
	acme  = types.NamespacedName{Namespace: "crm", Name: "acme"}
	other = types.NamespacedName{Namespace: "crm", Name: "other"}
	jane  = Claim{acme, "jane"}
)

// cluster is a cache of contacts, all of organization acme, and Owners that read it.
type cluster struct {
	owners   *Owners
	contacts []*v1alpha1.OpenCXContact
	closedTo []string // namespaces that may not use the organization
	fails    error
	lists    int
	woken    []types.NamespacedName
}

func newCluster(contacts ...*v1alpha1.OpenCXContact) *cluster {
	c := &cluster{contacts: contacts}
	c.owners = NewOwners(c, func(*v1alpha1.OpenCXContact) types.NamespacedName { return acme }, c.allowed, func(name types.NamespacedName) { c.woken = append(c.woken, name) })
	return c
}

func (c *cluster) allowed(_ context.Context, _ types.NamespacedName, namespace string) (bool, error) {
	return !slices.Contains(c.closedTo, namespace), c.fails
}

// Get implements client.Reader.
func (c *cluster) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	for _, contact := range c.contacts {
		if client.ObjectKeyFromObject(contact) == name && c.fails == nil {
			contact.DeepCopyInto(into.(*v1alpha1.OpenCXContact))
			return nil
		}
	}
	if c.fails != nil {
		return c.fails
	}
	return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
}

// List implements client.Reader.
func (c *cluster) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	full := &client.ListOptions{}
	full.ApplyOptions(options)
	index := full.FieldSelector.Requirements()[0]
	c.lists++
	for _, contact := range c.contacts {
		if index.Field == Index && ClaimOf(contact, acme).IndexValue() == index.Value {
			list := into.(*v1alpha1.OpenCXContactList)
			list.Items = append(list.Items, *contact)
		}
	}
	return c.fails
}

// judge says what the contact of that name is to jane.
func (c *cluster) judge(t *testing.T, name string) Title {
	t.Helper()
	for _, contact := range c.contacts {
		if contact.Namespace+"/"+contact.Name == name {
			title, err := c.owners.Judge(t.Context(), contact, jane, !slices.Contains(c.closedTo, contact.Namespace))
			if err != nil {
				t.Fatal(err)
			}
			return title
		}
	}
	t.Fatalf("there is no %s", name)
	return Title{}
}

func (c *cluster) expect(t *testing.T, name string, want Title) {
	t.Helper()
	if got := c.judge(t, name); got != want {
		t.Errorf("%s is %+v, want %+v", name, got, want)
	}
}

// expectWoken compares who was woken since it was last asked.
func (c *cluster) expectWoken(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for _, name := range c.woken {
		got = append(got, name.String())
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("woken are %v, want %v", got, want)
	}
	c.woken = nil
}

// remove deletes a contact, as the cache and then the operator see it.
func (c *cluster) remove(t *testing.T, name types.NamespacedName) {
	t.Helper()
	c.contacts = slices.DeleteFunc(c.contacts, func(contact *v1alpha1.OpenCXContact) bool { return client.ObjectKeyFromObject(contact) == name })
	if err := c.owners.Gone(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// claimant is a contact that names jane and was created that many seconds late.
func claimant(namespace, name string, late int, changes ...func(*v1alpha1.OpenCXContact)) *v1alpha1.OpenCXContact {
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name),
		CreationTimestamp: metav1.NewTime(epoch.Add(time.Duration(late) * time.Second)),
	}}
	contact.Spec.ContactID = "jane"
	for _, change := range changes {
		change(contact)
	}
	return contact
}

func suspended(c *v1alpha1.OpenCXContact) { c.Spec.Suspend = true }
func applied(c *v1alpha1.OpenCXContact)   { c.Status.AppliedHash = "v1:x" }
func going(c *v1alpha1.OpenCXContact)     { c.DeletionTimestamp = &metav1.Time{Time: epoch} }

func acceptedIn(organization types.NamespacedName) func(*v1alpha1.OpenCXContact) {
	return func(c *v1alpha1.OpenCXContact) { c.Status.Organization = organization.String() }
}

func TestAClaimIsTheSameHoweverTheContactIDIsWritten(t *testing.T) {
	const uuid = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
	for name, tt := range map[string]struct {
		a, b string
		same bool
	}{
		"as it is":                         {"jane", "jane", true},
		"another one":                      {"jane", "john", false},
		"in capitals":                      {"jane", "JANE", true},
		"a UUID in capitals":               {uuid, "3C90C3CC-0D44-4B50-8888-8DD25736052A", true},
		"a UUID without hyphens":           {uuid, "3c90c3cc0d444b5088888dd25736052a", true},
		"a UUID with hyphens elsewhere":    {uuid, "3C90-C3CC0D444B5088888DD25736052A", true},
		"another UUID":                     {uuid, "3c90c3cc-0d44-4b50-8888-8dd25736052b", false},
		"what is no UUID, with a hyphen":   {"jane-doe", "janedoe", false},
		"too short a UUID, with a hyphen":  {"3c90-c3cc", "3c90c3cc", false},
		"what has a letter too many":       {"3c90c3cc-0d44-4b50-8888-8dd25736052g", "3c90c3cc0d444b5088888dd25736052g", false},
		"what differs in another sign too": {"jane.doe", "jane_doe", false},
	} {
		a, b := claimant("shop", "a", 0), claimant("shop", "b", 0)
		a.Spec.ContactID, b.Spec.ContactID = tt.a, tt.b
		if got := ClaimOf(a, acme) == ClaimOf(b, acme); got != tt.same {
			t.Errorf("%s: %s and %s are the same = %t", name, tt.a, tt.b, got)
		}
		if ClaimOf(a, acme) == ClaimOf(a, other) {
			t.Errorf("%s: two organizations share it", name)
		}
	}
}

func TestClaimsThatShareAValueOfTheIndexAreTwo(t *testing.T) {
	john := claimant("crm", "john", 0, acceptedIn(acme), applied) // who would go before jane
	for i := 0; ; i++ {
		john.Spec.ContactID = fmt.Sprintf("john-%d", i)
		if ClaimOf(john, acme).IndexValue() == jane.IndexValue() {
			break
		}
	}
	c := newCluster(john, claimant("shop", "a", 1))
	c.expect(t, "shop/a", Title{Owns: true})
	if contested, err := c.owners.IsContested(t.Context(), jane, types.NamespacedName{Namespace: "shop", Name: "a"}); contested || err != nil {
		t.Errorf("contested: %t, %v", contested, err)
	}
	claimants, err := c.owners.Claimants(t.Context(), jane)
	if err != nil || len(claimants) != 1 || claimants[0].Name != "a" {
		t.Errorf("jane is claimed by %v, %v", claimants, err)
	}
}

func TestTheOwnerIsTheSameWhoeverIsAskedFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		claimants []*v1alpha1.OpenCXContact
		closedTo  []string
		want      string // "" for nobody
	}{
		"alone":                           {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 0)}, nil, "shop/a"},
		"the older one":                   {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 2), claimant("crm", "b", 1), claimant("shop", "c", 3)}, nil, "crm/b"},
		"of the same age, the lesser UID": {[]*v1alpha1.OpenCXContact{claimant("shop", "b", 0), claimant("shop", "a", 0), claimant("shop", "c", 0)}, nil, "shop/a"},
		"accepted before an older one":    {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 0), claimant("shop", "b", 1, acceptedIn(acme)), claimant("shop", "c", 2)}, nil, "shop/b"},
		"accepted elsewhere, which counts for nothing":     {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 0), claimant("shop", "b", 1, acceptedIn(other))}, nil, "shop/a"},
		"the older of two accepted":                        {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 1, acceptedIn(acme)), claimant("shop", "b", 0, acceptedIn(acme))}, nil, "shop/b"},
		"not suspended before an older one that is":        {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 0, suspended), claimant("shop", "b", 1)}, nil, "shop/b"},
		"the older of two suspended":                       {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 0, suspended), claimant("shop", "b", 1, suspended)}, nil, "shop/a"},
		"accepted and suspended before one that never was": {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 0), claimant("shop", "b", 1, acceptedIn(acme), suspended)}, nil, "shop/b"},
		"of two accepted the one that is not suspended":    {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 0, acceptedIn(acme), suspended), claimant("shop", "b", 1, acceptedIn(acme))}, nil, "shop/b"},
		"not one that is going":                            {[]*v1alpha1.OpenCXContact{claimant("shop", "a", 0, going), claimant("shop", "b", 1)}, nil, "shop/b"},
		"not one that may not use the organization":        {[]*v1alpha1.OpenCXContact{claimant("crm", "a", 0, acceptedIn(acme)), claimant("shop", "b", 1)}, []string{"crm"}, "shop/b"},
		"nobody when none may":                             {[]*v1alpha1.OpenCXContact{claimant("crm", "a", 0), claimant("shop", "b", 1)}, []string{"crm", "shop"}, ""},
	} {
		for first := range tt.claimants {
			t.Run(fmt.Sprintf("%s, %d first", name, first), func(t *testing.T) {
				c := newCluster(tt.claimants...)
				c.closedTo = tt.closedTo
				for i := range 2 * len(tt.claimants) { // all of them, and once more
					asked := tt.claimants[(first+i)%len(tt.claimants)]
					if !asked.DeletionTimestamp.IsZero() {
						continue // it is not looked at any more
					}
					name := asked.Namespace + "/" + asked.Name
					c.expect(t, name, Title{Owns: name == tt.want})
				}
				c.expectWoken(t)
			})
		}
	}
}

func TestTheOwnerChangesWithItsRank(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(first, second *v1alpha1.OpenCXContact)
		passes bool
	}{
		"nothing has changed":                              {func(_, _ *v1alpha1.OpenCXContact) {}, false},
		"the first was suspended before it was accepted":   {func(first, _ *v1alpha1.OpenCXContact) { suspended(first) }, true},
		"the first was accepted and then suspended":        {func(first, _ *v1alpha1.OpenCXContact) { acceptedIn(acme)(first); suspended(first) }, false},
		"the second was accepted, as before it moved here": {func(_, second *v1alpha1.OpenCXContact) { acceptedIn(acme)(second) }, true},
		"both were accepted":                               {func(first, second *v1alpha1.OpenCXContact) { acceptedIn(acme)(first); acceptedIn(acme)(second) }, false},
		"the first has another UID: it was created again": {func(first, _ *v1alpha1.OpenCXContact) {
			first.UID = "again"
			first.CreationTimestamp.Time = epoch.Add(time.Hour)
		}, true},
		"the second is older than it was, which nobody can be": {func(_, second *v1alpha1.OpenCXContact) { second.CreationTimestamp.Time = epoch.Add(-time.Hour) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := claimant("shop", "first", 0), claimant("shop", "second", 1)
			c := newCluster(first, second)
			c.expect(t, "shop/first", Title{Owns: true})
			c.expect(t, "shop/second", Title{})
			tt.change(first, second)
			c.expect(t, "shop/second", Title{Owns: tt.passes})
			c.expect(t, "shop/first", Title{Owns: !tt.passes})
		})
	}
}

func TestAnOwnerThatIsOvertakenIsWokenToSaySo(t *testing.T) {
	older, younger := claimant("shop", "older", 0, suspended), claimant("shop", "younger", 1)
	c := newCluster(older, younger)
	c.expect(t, "shop/younger", Title{Owns: true})
	older.Spec.Suspend = false // before the younger one was accepted
	c.expect(t, "shop/older", Title{Owns: true})
	c.expectWoken(t, "shop/younger")
	c.expect(t, "shop/younger", Title{})
}

func TestAnOwnerIsContestedWhileAnotherStatusSaysThatItWasAccepted(t *testing.T) {
	for name, tt := range map[string]struct {
		second   *v1alpha1.OpenCXContact
		closedTo []string
		want     bool
	}{
		"it does":                                 {claimant("crm", "b", 1, acceptedIn(acme), applied), nil, true},
		"it says so of another organization":      {claimant("crm", "b", 1, applied), nil, false},
		"it says nothing":                         {claimant("crm", "b", 1), nil, false},
		"it is going, and so says nothing more":   {claimant("crm", "b", 1, acceptedIn(acme), applied, going), nil, false},
		"it cannot say so: it is shut out":        {claimant("crm", "b", 1, acceptedIn(acme), applied), []string{"crm"}, false},
		"it is of another contactID by this time": {claimant("crm", "b", 1, acceptedIn(acme), applied, func(c *v1alpha1.OpenCXContact) { c.Spec.ContactID = "john" }), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(claimant("shop", "a", 0, acceptedIn(acme), applied), tt.second)
			c.closedTo = tt.closedTo
			got, err := c.owners.IsContested(t.Context(), jane, types.NamespacedName{Namespace: "shop", Name: "a"})
			if err != nil || got != tt.want {
				t.Errorf("contested: %t, %v; want %t", got, err, tt.want)
			}
		})
	}
}

func TestAfterAnOwnerOnlyItsNamespaceFollowsForTwoMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := claimant("shop", "owner", 0, acceptedIn(acme))
		c := newCluster(owner, claimant("crm", "stranger", 1), claimant("crm", "late", 2))
		c.expect(t, "shop/owner", Title{Owns: true})
		c.remove(t, client.ObjectKeyFromObject(owner))
		c.expectWoken(t)
		until := time.Now().Add(2 * time.Minute)
		c.expect(t, "crm/stranger", Title{VacantUntil: until})
		c.expect(t, "crm/late", Title{VacantUntil: until})

		time.Sleep(2*time.Minute - time.Second)
		synctest.Wait()
		c.expectWoken(t)
		c.expect(t, "crm/stranger", Title{VacantUntil: until})

		time.Sleep(time.Second)
		synctest.Wait()
		c.expectWoken(t, "crm/stranger")
		c.expect(t, "crm/late", Title{})
		c.expect(t, "crm/stranger", Title{Owns: true})
	})
}

func TestWhoIsAppliedAgainKeepsTheContactID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := claimant("shop", "owner", 0, acceptedIn(acme))
		c := newCluster(owner, claimant("crm", "stranger", 1))
		c.expect(t, "shop/owner", Title{Owns: true})
		c.remove(t, client.ObjectKeyFromObject(owner))
		until := time.Now().Add(2 * time.Minute)
		c.expect(t, "crm/stranger", Title{VacantUntil: until})

		time.Sleep(time.Minute)
		again := claimant("shop", "owner", 60)
		again.UID = "another"
		c.contacts = append(c.contacts, again)
		c.expect(t, "shop/owner", Title{Owns: true})
		// The other one is older, and this one waits for its turn.
		c.expect(t, "crm/stranger", Title{VacantUntil: until})
		c.expect(t, "shop/owner", Title{Owns: true})

		acceptedIn(acme)(again)
		c.expect(t, "shop/owner", Title{Owns: true})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		c.expect(t, "crm/stranger", Title{})
		c.expect(t, "shop/owner", Title{Owns: true})
	})
}

func TestWhoFollowsInTheSameNamespaceIsWokenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := claimant("shop", "owner", 0)
		c := newCluster(owner, claimant("crm", "stranger", 1), claimant("shop", "sibling", 2))
		c.expect(t, "shop/owner", Title{Owns: true})
		c.remove(t, client.ObjectKeyFromObject(owner))
		c.expectWoken(t, "shop/sibling")
		c.expect(t, "shop/sibling", Title{Owns: true})
	})
}

func TestAnOwnerThatMovesOrIsShutOutIsFollowed(t *testing.T) {
	for name, leave := range map[string]func(*testing.T, *cluster, *v1alpha1.OpenCXContact){
		"it names another organization": func(t *testing.T, c *cluster, owner *v1alpha1.OpenCXContact) {
			c.contacts = c.contacts[1:] // by the index of this organization
			if title, err := c.owners.Judge(t.Context(), owner, ClaimOf(owner, other), true); err != nil || !title.Owns {
				t.Errorf("there it is %+v, %v", title, err)
			}
		},
		"it may not use the organization any more": func(t *testing.T, c *cluster, _ *v1alpha1.OpenCXContact) {
			c.closedTo = []string{"crm"}
			c.expect(t, "crm/owner", Title{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				owner := claimant("crm", "owner", 0, acceptedIn(acme))
				c := newCluster(owner, claimant("shop", "next", 1))
				c.expect(t, "crm/owner", Title{Owns: true})
				leave(t, c, owner)
				c.expect(t, "shop/next", Title{VacantUntil: time.Now().Add(2 * time.Minute)})
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				c.expectWoken(t, "shop/next")
				c.expect(t, "shop/next", Title{Owns: true})
			})
		})
	}
}

func TestAContactThatWasCreatedAgainIsNotGone(t *testing.T) {
	owner := claimant("shop", "owner", 0)
	c := newCluster(owner, claimant("shop", "sibling", 1))
	c.expect(t, "shop/owner", Title{Owns: true})
	if err := c.owners.Gone(t.Context(), client.ObjectKeyFromObject(owner)); err != nil {
		t.Fatal(err)
	}
	c.expectWoken(t)
	c.expect(t, "shop/owner", Title{Owns: true})
	if err := c.owners.Gone(t.Context(), types.NamespacedName{Namespace: "shop", Name: "sibling"}); err != nil {
		t.Fatal(err)
	}
	c.expectWoken(t) // it owned nothing
}

func TestTheOwnerIsWokenForWhoeverYields(t *testing.T) {
	c := newCluster(claimant("shop", "owner", 0), claimant("shop", "sibling", 1))
	c.owners.WakeOwner(jane)
	c.expectWoken(t) // nobody has asked yet
	c.expect(t, "shop/sibling", Title{})
	c.owners.WakeOwner(jane)
	c.expectWoken(t, "shop/owner")
}

func TestFindingTheOwnerDoesNotCompareEveryoneWithEveryone(t *testing.T) {
	c := newCluster()
	for i := range 100 {
		c.contacts = append(c.contacts, claimant("shop", fmt.Sprint(i), i))
	}
	for i := range 100 {
		c.expect(t, fmt.Sprintf("shop/%d", i), Title{Owns: i == 0})
	}
	if c.lists != 1 {
		t.Errorf("the cache was listed %d times, want once", c.lists)
	}
}

func TestACacheThatCannotBeReadMakesNobodyTheOwner(t *testing.T) {
	owner, sibling := claimant("shop", "owner", 0), claimant("shop", "sibling", 1)
	c := newCluster(owner, sibling)
	c.fails = errors.New("the cache is not ready")
	for _, prepare := range []func(){func() {}, func() {
		c.fails = nil
		c.expect(t, "shop/owner", Title{Owns: true})
		c.fails = errors.New("the cache is not ready")
	}} {
		prepare()
		if title, err := c.owners.Judge(t.Context(), sibling, jane, true); !errors.Is(err, c.fails) || title.Owns {
			t.Errorf("the contact is %+v, %v", title, err)
		}
	}
	if err := c.owners.Gone(t.Context(), client.ObjectKeyFromObject(owner)); !errors.Is(err, c.fails) {
		t.Errorf("error = %v", err)
	}
	c.fails = nil
	c.expect(t, "shop/owner", Title{Owns: true})
	c.expect(t, "shop/sibling", Title{})
}

func TestWhoeverFollowsAnOwnerThatLostItsRankIsWoken(t *testing.T) {
	older, younger := claimant("shop", "older", 0), claimant("shop", "younger", 1)
	c := newCluster(older, younger)
	c.expect(t, "shop/older", Title{Owns: true})
	c.expect(t, "shop/younger", Title{})
	older.Spec.Suspend = true
	c.expect(t, "shop/older", Title{})
	c.expectWoken(t, "shop/younger")
	c.expect(t, "shop/younger", Title{Owns: true})
}

func TestAnOwnerThatMovedIsFollowedThoughItIsFoundElsewhereFirst(t *testing.T) {
	moves, follows, other := claimant("shop", "moves", 0), claimant("shop", "follows", 1), claimant("shop", "other", 2)
	c := newCluster(moves, follows, other)
	other.Spec.ContactID = "john"
	c.expect(t, "shop/moves", Title{Owns: true})
	moves.Spec.ContactID = "john" // not looked at yet
	if title, err := c.owners.Judge(t.Context(), other, ClaimOf(other, acme), true); err != nil || title.Owns {
		t.Errorf("the younger one is %+v, error %v", title, err)
	}
	c.expectWoken(t, "shop/follows")
}
