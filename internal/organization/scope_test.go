package organization

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

func TestTheCacheKeepsAContactWithoutBookkeeping(t *testing.T) {
	full := &v1alpha1.OpenCXContact{}
	full.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "the spec once more", "a": "b"}
	full.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	full.Spec.ContactID = "jane"
	want := &v1alpha1.OpenCXContact{}
	want.Annotations = map[string]string{"a": "b"}
	want.Spec.ContactID = "jane"
	got, err := withoutBookkeeping(full)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the cache keeps %+v, %v", got, err)
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
