package organization

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

func TestTheCacheKeepsNothingOfAnObjectButItsIdentity(t *testing.T) {
	identity := metav1.ObjectMeta{Namespace: "shop", Name: "opencx", UID: "a", ResourceVersion: "7"}
	withItsLabels := identity
	withItsLabels.Labels = map[string]string{"a": "b"}
	for kind, tt := range map[string]struct {
		transform toolscache.TransformFunc
		want      metav1.ObjectMeta
	}{
		"Secret":    {identityAlone("Secret"), identity},
		"ConfigMap": {identityAlone("ConfigMap"), identity},
		"Namespace": {withLabels("Namespace"), withItsLabels}, // organizations select by them
	} {
		full := &metav1.PartialObjectMetadata{ObjectMeta: identity}
		full.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "the data once more"}
		full.Labels = map[string]string{"a": "b"}
		full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
		got, err := tt.transform(full)
		want := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}, ObjectMeta: tt.want}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("of a %s the cache keeps %+v, %v", kind, got, err)
		}
		tombstone := toolscache.DeletedFinalStateUnknown{Key: "shop/opencx"}
		if got, err := tt.transform(tombstone); err != nil || got != tombstone {
			t.Errorf("of a %s that went unseen the cache makes %+v, %v", kind, got, err)
		}
	}
}

func TestTheCacheKeepsAnOrganizationWithoutBookkeeping(t *testing.T) {
	full := &v1alpha1.OpenCXOrganization{}
	full.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "the spec once more", "a": "b"}
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	full.Spec.APIKeySecretRef.Name = "opencx-api-key"
	want := &v1alpha1.OpenCXOrganization{}
	want.Annotations = map[string]string{"a": "b"}
	want.Spec.APIKeySecretRef.Name = "opencx-api-key"
	got, err := withoutBookkeeping(full)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the cache keeps %+v, %v", got, err)
	}
}

func TestTheCacheKeepsOfAContactWhatIsDecidedOn(t *testing.T) {
	at := metav1.Unix(1_800_000_000, 0)
	want := &v1alpha1.OpenCXContact{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "jane-doe", UID: "a", ResourceVersion: "7", Generation: 3, CreationTimestamp: at, DeletionTimestamp: &at,
			Annotations: map[string]string{v1alpha1.ReconcileAtAnnotation: "now"},
		},
		Spec: v1alpha1.OpenCXContactSpec{
			OrganizationRef: &v1alpha1.OrganizationReference{Name: "acme", Namespace: "crm"},
			ContactID:       "jane", Email: new("jane@example.com"), CustomData: map[string]string{"plan": "enterprise"},
		},
		Status: v1alpha1.OpenCXContactStatus{
			ObservedGeneration: 3, LastSyncTime: &at, AppliedHash: "v1:1", AttemptedHash: "v1:1 7", Organization: "crm/acme",
			Conditions: []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.SyncedReason, Message: "accepted", LastTransitionTime: at}},
		},
	}
	full := want.DeepCopy()
	full.TypeMeta = metav1.TypeMeta{APIVersion: "contacts.open.cx/v1alpha1", Kind: "OpenCXContact"}
	full.Labels = map[string]string{"app.kubernetes.io/name": "shop"}
	full.Annotations["argocd.argoproj.io/tracking-id"] = "shop"
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "argocd-controller"}}
	full.Finalizers = []string{"example.com/keep"}
	full.OwnerReferences = []metav1.OwnerReference{{Name: "shop"}}
	for _, times := range []string{"once", "twice"} { // as when the API server is listed anew
		got, err := whatIsDecidedOn(full)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the cache keeps %+v, %v", times, got, err)
		}
	}
	tombstone := toolscache.DeletedFinalStateUnknown{Key: "shop/jane-doe"}
	if got, err := whatIsDecidedOn(tombstone); err != nil || got != tombstone {
		t.Errorf("of one that went unseen the cache makes %+v, %v", got, err)
	}
}

func TestTheCacheKeepsNoAnnotationsOfAContactThatNobodyAskedFor(t *testing.T) {
	full := &v1alpha1.OpenCXContact{}
	full.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "shop"}
	if got, err := whatIsDecidedOn(full); err != nil || full.Annotations != nil {
		t.Errorf("the cache keeps %+v, %v", got, err)
	}
}

func TestTheCacheKeepsTheCharactersThatCountOfAnAnnotation(t *testing.T) {
	const counts = 256
	for _, character := range []string{"a", "é", "€", "😀"} {
		wish := strings.Repeat(character, 10_000)
		full := &v1alpha1.OpenCXContact{}
		full.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: wish}
		if _, err := whatIsDecidedOn(full); err != nil {
			t.Fatal(err)
		}
		got := full.Annotations[v1alpha1.ReconcileAtAnnotation]
		if len(got) > 4*counts || !strings.HasPrefix(got, strings.Repeat(character, counts)) {
			t.Errorf("%d bytes are kept of %q and so on, want at least %d characters and at most %d bytes", len(got), character, counts, 4*counts)
		}
	}
}

func TestContactsShareWhatTheyHaveInCommon(t *testing.T) {
	contact := func() *v1alpha1.OpenCXContact {
		c := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: strings.Clone("shop")}}
		c.Status.AttemptedHash, c.Status.AppliedHash = strings.Clone("v1:1 7"), strings.Clone("v1:1")
		c.Status.Conditions = []metav1.Condition{{Message: strings.Clone("accepted")}}
		if _, err := whatIsDecidedOn(c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	a, b := contact(), contact()
	for name, pair := range map[string][2]string{
		"namespaces":          {a.Namespace, b.Namespace},
		"messages":            {a.Status.Conditions[0].Message, b.Status.Conditions[0].Message},
		"hashes of a contact": {a.Status.AppliedHash, a.Status.AttemptedHash},
	} {
		if unsafe.StringData(pair[0]) != unsafe.StringData(pair[1]) {
			t.Errorf("two %s are two in memory", name)
		}
	}
}

func TestTheScopeIsTheNamespacesOfContactsAndThatOfTheDefaultOrganization(t *testing.T) {
	def := types.NamespacedName{Namespace: "opencx-system", Name: "default"}
	for name, tt := range map[string]struct {
		namespaces            []string
		namespace             string
		hasContacts, hasHolds bool
	}{
		"all namespaces":                            {nil, "shop", true, true},
		"one that is watched":                       {[]string{"shop", "crm"}, "crm", true, true},
		"one that is not":                           {[]string{"shop"}, "crm", false, false},
		"that of the default organization":          {[]string{"shop"}, "opencx-system", false, true},
		"that of the default organization, watched": {[]string{"opencx-system"}, "opencx-system", true, true},
	} {
		s := Scope{Namespaces: tt.namespaces}
		if got := s.HasContacts(tt.namespace); got != tt.hasContacts {
			t.Errorf("%s: contacts %t, want %t", name, got, tt.hasContacts)
		}
		if got := s.holds(tt.namespace, def); got != tt.hasHolds {
			t.Errorf("%s: organizations %t, want %t", name, got, tt.hasHolds)
		}
	}
}

func TestAScopeHasANameThatStatusCanHold(t *testing.T) {
	selector := func(text string) labels.Selector {
		parsed, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	long := Scope{Namespaces: []string{strings.Repeat("a", longestScope)}}
	for want, scope := range map[string]Scope{
		"":                                {DefaultAPIKeySecret: "key"},
		"namespaces shop,support":         {Namespaces: []string{"support", "shop", "shop"}},
		"labels a=b,shard in (a,b)":       {Contacts: selector("shard in (b,a),a=b")},
		"namespaces shop; labels shard=a": {Namespaces: []string{"shop"}, Contacts: selector("shard=a")},
		fmt.Sprintf("%x", sha256.Sum256([]byte("namespaces "+long.Namespaces[0]))): long,
	} {
		if got := scope.String(); got != want {
			t.Errorf("it is %q, want %q", got, want)
		}
	}
}

func TestOneSecretIsWatchedWhereThereAreNoContacts(t *testing.T) {
	def := types.NamespacedName{Namespace: "opencx-system", Name: "default"}
	for name, tt := range map[string]struct {
		scope Scope
		want  string // the namespaces whose Secrets are watched, and which
	}{
		"a namespace apart":           {Scope{Namespaces: []string{"shop"}, DefaultAPIKeySecret: "key"}, "map[opencx-system:metadata.name=key shop:]"},
		"one with contacts":           {Scope{Namespaces: []string{"shop", "opencx-system"}, DefaultAPIKeySecret: "key"}, "map[opencx-system: shop:]"},
		"one apart, and no such name": {Scope{Namespaces: []string{"shop"}}, "map[opencx-system: shop:]"},
		"the whole cluster":           {Scope{DefaultAPIKeySecret: "key"}, "map[]"},
	} {
		got := map[string]map[string]string{}
		for object, by := range CacheOptions(tt.scope, def).ByObject {
			watched := map[string]string{}
			for namespace, config := range by.Namespaces {
				watched[namespace] = ""
				if config.FieldSelector != nil {
					watched[namespace] = config.FieldSelector.String()
				}
			}
			got[fmt.Sprintf("%T", object)] = watched
		}
		if secrets := fmt.Sprint(got["*v1.Secret"]); secrets != tt.want {
			t.Errorf("%s: Secrets of %s are watched, want %s", name, secrets, tt.want)
		}
		// There may be several organizations, which use other keys of that Secret.
		if organizations := fmt.Sprint(got["*v1alpha1.OpenCXOrganization"]); strings.Contains(organizations, "metadata.name") {
			t.Errorf("%s: not all organizations are watched: %s", name, organizations)
		}
	}
}
