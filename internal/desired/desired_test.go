package desired

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

const (
	testID           = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
	testAPI          = "https://api.open.cx"
	testOrganization = "crm/acme"
)

// The hashes are written out because they live in the status of every contact
// of every cluster: a change here sends each of them once more.
func TestHashesStayTheSameAcrossVersions(t *testing.T) {
	for name, tt := range map[string]struct {
		spec v1alpha1.OpenCXContactSpec
		want string
	}{
		"nothing declared": {
			v1alpha1.OpenCXContactSpec{},
			"v1:8003c59cac3ed9736c34a63a6b2b05f5aafe7cd56fb58d56fa1a52206dbeeace",
		},
		"everything declared": {
			v1alpha1.OpenCXContactSpec{
				Email: ptr.To("jane@example.com"), Phone: ptr.To("+12025550123"), Name: ptr.To("Jane <Doe>"),
				CustomData: map[string]string{"plan": "enterprise", "region": "eu"},
				HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{
					QueryParams: map[string]string{"a": "1"}, PathParams: map[string]string{"b": "2"},
					BodyParams: map[string]string{"c": "3"}, Headers: map[string]string{"X-Tenant": "acme"},
				},
			},
			"v1:b24ad07596f1db7d325201aa49f942e2fe38c42059155763f3f0f0e1ce83da17",
		},
		"everything declared empty": {
			v1alpha1.OpenCXContactSpec{
				Phone: ptr.To(""), Name: ptr.To(""), CustomData: map[string]string{},
				HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{
					QueryParams: map[string]string{}, PathParams: map[string]string{},
					BodyParams: map[string]string{}, Headers: map[string]string{},
				},
			},
			"v1:f2a5255ab86d51056c35086f5a6d2a7f250c39ddb27a43b3258cb08a4e22054c",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hash(testID, tt.spec, testAPI, testOrganization); got != tt.want {
				t.Errorf("hash = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEveryDifferenceThatOpenCXCanSeeChangesTheHash(t *testing.T) {
	empty := map[string]string{}
	specs := map[string]v1alpha1.OpenCXContactSpec{
		"nothing":            {},
		"a name":             {Name: ptr.To("a")},
		"an empty name":      {Name: ptr.To("")},
		"an empty phone":     {Phone: ptr.To("")},
		"a phone":            {Phone: ptr.To("a")},
		"an email":           {Email: ptr.To("a")},
		"empty custom data":  {CustomData: empty},
		"custom data":        {CustomData: map[string]string{"a": "a"}},
		"empty overrides":    {HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{}},
		"empty headers":      {HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{Headers: empty}},
		"empty query params": {HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{QueryParams: empty}},
		"empty path params":  {HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{PathParams: empty}},
		"empty body params":  {HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{BodyParams: empty}},
	}
	seen := map[string]string{}
	see := func(name, id string, spec v1alpha1.OpenCXContactSpec, api, organization string) {
		hash := hash(id, spec, api, organization)
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[hash] = name
	}
	for name, spec := range specs {
		see(name, testID, spec, testAPI, testOrganization)
	}
	see("another id", "other", specs["nothing"], testAPI, testOrganization)
	see("another API", testID, specs["nothing"], "https://other.example.com", testOrganization)
	see("another organization", testID, specs["nothing"], testAPI, "crm/other")
}

func TestWhatOnlyConcernsTheOperatorLeavesTheHashAlone(t *testing.T) {
	plain := hash(testID, v1alpha1.OpenCXContactSpec{}, testAPI, testOrganization)
	suspended := hash(testID, v1alpha1.OpenCXContactSpec{Suspend: true}, testAPI, testOrganization)
	if plain != suspended {
		t.Errorf("suspend changes the hash from %s to %s", plain, suspended)
	}
}

func hash(id string, spec v1alpha1.OpenCXContactSpec, api, organization string) string {
	spec.ContactID = id
	return Hash(&spec, nil, To{api, organization})
}

func secretRef(name, key string) *v1alpha1.ValueSource {
	return &v1alpha1.ValueSource{SecretKeyRef: &v1alpha1.KeySelector{Name: name, Key: key}}
}

func configMapRef(name, key string) *v1alpha1.ValueSource {
	return &v1alpha1.ValueSource{ConfigMapKeyRef: &v1alpha1.KeySelector{Name: name, Key: key}}
}

// everySource takes each value from a source.
func everySource() v1alpha1.OpenCXContactSpec {
	return v1alpha1.OpenCXContactSpec{
		ContactID: testID,
		EmailFrom: secretRef("jane", "email"), PhoneFrom: secretRef("jane", "phone"), NameFrom: configMapRef("names", "jane"),
		CustomData: map[string]string{"plan": "enterprise"}, CustomDataFrom: map[string]v1alpha1.ValueSource{"tier": *configMapRef("tiers", "jane")},
		HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{
			QueryParamsFrom: map[string]v1alpha1.ValueSource{"q": *secretRef("jane", "q")},
			PathParamsFrom:  map[string]v1alpha1.ValueSource{"p": *secretRef("jane", "p")},
			BodyParamsFrom:  map[string]v1alpha1.ValueSource{"b": *secretRef("jane", "b")},
			Headers:         map[string]string{"X-Tenant": "acme"},
			HeadersFrom:     map[string]v1alpha1.ValueSource{"Authorization": *secretRef("jane", "bearer")},
		},
	}
}

// objects are what there is in the API server, as "Kind name": data.
type objects map[string]map[string]string

// Get implements client.Reader.
func (o objects) Get(_ context.Context, name client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	var data map[string]string
	var found bool
	switch object := object.(type) {
	case *corev1.Secret:
		data, found = o["Secret "+name.Name]
		object.Data = map[string][]byte{}
		for key, value := range data {
			object.Data[key] = []byte(value)
		}
	case *corev1.ConfigMap:
		data, found = o["ConfigMap "+name.Name]
		object.Data = data
	}
	if !found {
		return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
	}
	object.SetUID("uid of " + types.UID(name.Name))
	object.SetResourceVersion("7")
	return nil
}

// List implements client.Reader.
func (objects) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("nothing is listed")
}

func TestEachObjectIsNamedOnce(t *testing.T) {
	spec := everySource()
	got := fmt.Sprint(Objects(&spec))
	if want := `[Secret "jane" ConfigMap "names" ConfigMap "tiers"]`; got != want {
		t.Errorf("objects: %s, want %s", got, want)
	}
}

func TestTheHashKnowsSourcesByTheirVersionAlone(t *testing.T) {
	spec := everySource()
	jane := Object{SecretKind, "jane"}
	hashes := map[string]string{}
	for name, versions := range map[string]Versions{
		"nothing exists":  nil,
		"the Secret":      {jane: {"uid", "1"}},
		"a newer version": {jane: {"uid", "2"}},
		"created again":   {jane: {"another uid", "2"}},
		"of another kind": {Object{ConfigMapKind, "jane"}: {"uid", "1"}, {ConfigMapKind, "names"}: {"uid", "1"}},
	} {
		hash := Hash(&spec, versions, To{testAPI, testOrganization})
		if other, ok := hashes[hash]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		hashes[hash] = name
	}
	const want = "v1:75055ad1f641e00ba3d0ce13f31d17b3e5f2f231dd5dd9861d68fb3de54a5557"
	if hash := Hash(&spec, Versions{jane: {"uid", "1"}}, To{testAPI, testOrganization}); hash != want {
		t.Errorf("hash = %q, want %q", hash, want)
	}
}

// A field of the API that is not in fields would be reported as accepted without ever
// being sent.
func TestEveryFieldOfTheManifestIsInTheHash(t *testing.T) {
	notSent := []string{"OrganizationRef", "ContactID", "ResyncInterval", "DriftPolicy", "Suspend", "HTTPActionOverrides"}
	empty := Hash(&v1alpha1.OpenCXContactSpec{}, nil, To{})
	check := func(name string, field reflect.Value, spec *v1alpha1.OpenCXContactSpec) {
		t.Helper()
		field.Set(sample(field.Type()))
		if Hash(spec, nil, To{}) == empty {
			t.Errorf("%s changes no hash", name)
		}
		field.SetZero()
	}
	spec := &v1alpha1.OpenCXContactSpec{}
	for i, fields := 0, reflect.TypeOf(*spec); i < fields.NumField(); i++ {
		if name := fields.Field(i).Name; !slices.Contains(notSent, name) {
			check(name, reflect.ValueOf(spec).Elem().Field(i), spec)
		}
	}
	spec.HTTPActionOverrides = &v1alpha1.HTTPActionOverrides{}
	empty = Hash(spec, nil, To{})
	for i, fields := 0, reflect.TypeOf(*spec.HTTPActionOverrides); i < fields.NumField(); i++ {
		check(fields.Field(i).Name, reflect.ValueOf(spec.HTTPActionOverrides).Elem().Field(i), spec)
	}
}

// sample is a value of a field's type that declares something.
func sample(of reflect.Type) reflect.Value {
	switch of {
	case reflect.TypeFor[*string]():
		return reflect.ValueOf(ptr.To("a"))
	case reflect.TypeFor[map[string]string]():
		return reflect.ValueOf(map[string]string{"a": "a"})
	case reflect.TypeFor[*v1alpha1.ValueSource]():
		return reflect.ValueOf(secretRef("a", "a"))
	default:
		return reflect.ValueOf(map[string]v1alpha1.ValueSource{"a": *secretRef("a", "a")})
	}
}
