package desired

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/ptr"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
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
			got, err := hash(testID, tt.spec, testAPI, testCredential)
			if err != nil || got != tt.want {
				t.Errorf("hash = %q, %v, want %q", got, err, tt.want)
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
		hash, err := hash(id, spec, api, credential)
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
	plain, _ := hash(testID, v1alpha1.OpenCXContactSpec{}, testAPI, testCredential)
	suspended, _ := hash(testID, v1alpha1.OpenCXContactSpec{Suspend: true}, testAPI, testCredential)
	if plain != suspended {
		t.Errorf("suspend changes the hash from %s to %s", plain, suspended)
	}
}

func hash(id string, spec v1alpha1.OpenCXContactSpec, api, credential string) (string, error) {
	spec.ContactID = id
	return Hash(spec, nil, api, credential)
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

func TestSourcesAreFoundByPath(t *testing.T) {
	var got []string
	for _, s := range Sources(everySource()) {
		got = append(got, fmt.Sprintf("%s %s %s", s.Path, s.Object, s.Key))
	}
	want := []string{
		`customDataFrom.tier ConfigMap "tiers" jane`, `emailFrom Secret "jane" email`,
		`httpActionOverrides.bodyParamsFrom.b Secret "jane" b`, `httpActionOverrides.headersFrom.Authorization Secret "jane" bearer`,
		`httpActionOverrides.pathParamsFrom.p Secret "jane" p`, `httpActionOverrides.queryParamsFrom.q Secret "jane" q`,
		`nameFrom ConfigMap "names" jane`, `phoneFrom Secret "jane" phone`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("sources:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSourcesFillTheContact(t *testing.T) {
	values := map[string]opencx.Secret{}
	for _, source := range Sources(everySource()) {
		values[source.Path] = opencx.NewSecret("from " + source.Key)
	}
	plain := func(s string) *string { return &s }
	declared := v1alpha1.OpenCXContactSpec{
		Email: plain("from email"), Phone: plain("from phone"), Name: plain("from jane"),
		CustomData: map[string]string{"plan": "enterprise", "tier": "from jane"},
		HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{
			QueryParams: map[string]string{"q": "from q"}, PathParams: map[string]string{"p": "from p"}, BodyParams: map[string]string{"b": "from b"},
			Headers: map[string]string{"X-Tenant": "acme", "Authorization": "from bearer"},
		},
	}
	if got, want := Contact(everySource(), values), Contact(declared, nil); !reflect.DeepEqual(got, want) {
		t.Error("the contact differs from one that declares the same values in plain")
	}
}

func TestAValueThatIsLeftOutIsAbsent(t *testing.T) {
	spec := everySource()
	spec.CustomData = nil
	got, err := Contact(spec, nil).Fingerprint("")
	want, _ := opencx.Contact{HTTPActionOverrides: &opencx.HTTPActionOverrides{Headers: map[string]opencx.Secret{"X-Tenant": opencx.NewSecret("acme")}}}.Fingerprint("")
	if err != nil || got != want {
		t.Errorf("what is sent differs, error %v", err)
	}
}

func TestTheHashKnowsSourcesByTheirVersionAlone(t *testing.T) {
	spec := everySource()
	jane := Object{SecretKind, "jane"}
	hashes := map[string]string{}
	for name, versions := range map[string]map[Object]Version{
		"nothing exists":  nil,
		"the Secret":      {jane: {"uid", "1"}},
		"a newer version": {jane: {"uid", "2"}},
		"created again":   {jane: {"another uid", "2"}},
		"of another kind": {Object{ConfigMapKind, "jane"}: {"uid", "1"}, {ConfigMapKind, "names"}: {"uid", "1"}},
	} {
		hash, err := Hash(spec, versions, testAPI, testCredential)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := hashes[hash]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		hashes[hash] = name
	}
	const want = "v1:86b6c68b21f4cc974d67ed1cf6efec52be016c956a8c8faf5b8c1b0e3f85bb52"
	if hash, _ := Hash(spec, map[Object]Version{jane: {"uid", "1"}}, testAPI, testCredential); hash != want {
		t.Errorf("hash = %q, want %q", hash, want)
	}
}

func TestValues(t *testing.T) {
	for name, tt := range map[string]struct {
		path, data, want string // the error, "" when the value is fine
	}{
		"text":                         {"nameFrom", "Jane", ""},
		"nothing":                      {"nameFrom", "", ""},
		"several lines":                {"customDataFrom.note", "a\nb\n", ""},
		"no UTF-8":                     {"nameFrom", "\xff", "is not UTF-8 text"},
		"an address":                   {"emailFrom", "jane@example.com\n", ""},
		"no address":                   {"emailFrom", "J@localhost", "is not an address"},
		"an address with a dot first":  {"emailFrom", ".jane@example.com", "is not an address"},
		"an address with two dots":     {"emailFrom", "jane..doe@example.com", "is not an address"},
		"an address with two newlines": {"emailFrom", "jane@example.com\n\n", "is not an address"},
		"an address of 321 characters": {"emailFrom", strings.Repeat("a", 309) + "@example.com", "is not an address"},
		"a header":                     {"httpActionOverrides.headersFrom.X", "Bearer\tabc", ""},
		"a header of two lines":        {"httpActionOverrides.headersFrom.X", "a\r\nb", "has a control character"},
		"a header with NUL":            {"httpActionOverrides.headersFrom.X", "a\x00", "has a control character"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Value(Source{tt.path, Object{SecretKind, "jane"}, "k", false}, []byte(tt.data))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if (tt.want == "") != (err == nil) || !strings.Contains(got, tt.want) || tt.data != "" && strings.Contains(got, tt.data) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Value(Source{Path: "nameFrom"}, bytes.Repeat([]byte("é"), 1<<19)); err != nil {
		t.Errorf("a value of 1 MiB: %v", err)
	}
	got, _ := Value(Source{Path: "nameFrom"}, []byte("Jane\r\n"))
	if got != opencx.NewSecret("Jane") {
		t.Error("one newline at the end is not dropped")
	}
}

func FuzzValue(f *testing.F) {
	for _, data := range []string{"", "jane@example.com\n", "\xff\xfe", "a\x00b", "Bearer abc\r\n", strings.Repeat("x", 1<<10)} {
		for _, path := range []string{"emailFrom", "nameFrom", "customDataFrom.a", "httpActionOverrides.headersFrom.A"} {
			f.Add(path, []byte(data))
		}
	}
	f.Fuzz(func(t *testing.T, path string, data []byte) {
		source := Source{Path: path, Object: Object{SecretKind, "jane"}, Key: "k"}
		value, err := Value(source, data)
		if err == nil {
			if _, err := (opencx.Contact{Name: &value}).Fingerprint(""); err != nil {
				t.Errorf("the value cannot be sent: %v", err)
			}
			return
		}
		if want := path + `: key "k" of Secret "jane" `; !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), ": correct it") {
			t.Errorf("error = %q, want it to begin with %q", err, want)
		}
		rest := strings.TrimPrefix(err.Error(), path)
		if text := string(data); len(text) > 30 && strings.Contains(rest, text) {
			t.Errorf("the error shows the value")
		}
	})
}
