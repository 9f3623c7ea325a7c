package desired

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

const (
	testID         = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
	testAPI        = "https://api.open.cx"
	testCredential = "shop/opencx/apiKey"
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
			"v1:080965ebafbad2a222f61d91d15fa85d8280dab440b0de979634630bc6c8a583",
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
			"v1:91997f65b3487ac0726fac1f1f1b129a78b7649fe635661ed4cb0bd0270435a3",
		},
		"everything declared empty": {
			v1alpha1.OpenCXContactSpec{
				Phone: ptr.To(""), Name: ptr.To(""), CustomData: map[string]string{},
				HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{
					QueryParams: map[string]string{}, PathParams: map[string]string{},
					BodyParams: map[string]string{}, Headers: map[string]string{},
				},
			},
			"v1:8862ad7bdf2e23d5ac0b96bb4893c5b706348c18a2bfbf5c0eb46a32d5067df5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Hash(testID, Contact(tt.spec), testAPI, testCredential)
			if err != nil || got != tt.want {
				t.Errorf("Hash() = %q, %v, want %q", got, err, tt.want)
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
	see := func(name, id string, spec v1alpha1.OpenCXContactSpec, api, credential string) {
		hash, err := Hash(id, Contact(spec), api, credential)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[hash]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[hash] = name
	}
	for name, spec := range specs {
		see(name, testID, spec, testAPI, testCredential)
	}
	see("another id", "other", specs["nothing"], testAPI, testCredential)
	see("another API", testID, specs["nothing"], "https://other.example.com", testCredential)
	see("another credential", testID, specs["nothing"], testAPI, "shop/opencx/other")
}

func TestWhatOnlyConcernsTheOperatorLeavesTheHashAlone(t *testing.T) {
	plain, _ := Hash(testID, Contact(v1alpha1.OpenCXContactSpec{}), testAPI, testCredential)
	suspended, _ := Hash(testID, Contact(v1alpha1.OpenCXContactSpec{Suspend: true}), testAPI, testCredential)
	if plain != suspended {
		t.Errorf("suspend changes the hash from %s to %s", plain, suspended)
	}
}
