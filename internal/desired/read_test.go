package desired

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

func TestSourcesFillTheContact(t *testing.T) {
	value := func(s string) *opencx.Secret { return ptr.To(opencx.NewSecret(s)) }
	all := func(name, s string) map[string]opencx.Secret { return map[string]opencx.Secret{name: *value(s)} }
	want := opencx.Contact{
		Email: value("jane@example.com"), Phone: value("+12025550123"), Name: value("Jane"),
		CustomData: map[string]opencx.Secret{"plan": *value("enterprise"), "tier": *value("1")},
		HTTPActionOverrides: &opencx.HTTPActionOverrides{
			QueryParams: all("q", "from q"), PathParams: all("p", "from p"), BodyParams: all("b", "from b"),
			Headers: map[string]opencx.Secret{"X-Tenant": *value("acme"), "Authorization": *value("Bearer abc")},
		},
		// What comes from Secrets, and nothing that comes from elsewhere.
		Private: []opencx.Secret{*value("jane@example.com"), *value("+12025550123"), *value("from q"), *value("from p"), *value("from b"), *value("Bearer abc")},
	}.Payload()
	live := objects{
		"Secret jane":     {"email": "jane@example.com\n", "phone": "+12025550123", "q": "from q", "p": "from p", "b": "from b", "bearer": "Bearer abc\r\n"},
		"ConfigMap names": {"jane": "Jane"}, "ConfigMap tiers": {"jane": "1"},
	}
	spec, reads := everySource(), 0
	got, versions, err := Read(t.Context(), counted{live, &reads}, "shop", &spec)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the payload is another one, error %v", err)
	}
	if reads != 3 {
		t.Errorf("%d reads of 3 objects", reads)
	}
	if want := (Versions{{SecretKind, "jane"}: {"uid of jane", "7"}, {ConfigMapKind, "names"}: {"uid of names", "7"}, {ConfigMapKind, "tiers"}: {"uid of tiers", "7"}}); !reflect.DeepEqual(versions, want) {
		t.Errorf("versions: %v, want %v", versions, want)
	}
}

func TestOnlyWhatIsListedIsRead(t *testing.T) {
	value := func(s string) *opencx.Secret { return ptr.To(opencx.NewSecret(s)) }
	other := v1alpha1.HTTPActionOverrides{Headers: map[string]string{"X": "a\nb"}, BodyParamsFrom: map[string]v1alpha1.ValueSource{"b": *secretRef("tokens", "b")}}
	live := objects{
		"Secret jane":     {"email": "jane@example.com\n", "phone": "+12025550123"},
		"ConfigMap names": {"jane": "Jane"}, "ConfigMap tiers": {"jane": "1"},
	}
	everything := everySource()
	everything.HTTPActionOverrides.HeadersFrom["Authorization"] = *secretRef("tokens", "bearer")
	for name, tt := range map[string]struct {
		spec     v1alpha1.OpenCXContactSpec
		want     opencx.Contact
		versions Versions
	}{
		"nothing": {},
		"plain values": {
			v1alpha1.OpenCXContactSpec{Email: ptr.To("jane@example.com"), Phone: ptr.To(""), CustomData: map[string]string{}},
			opencx.Contact{Email: value("jane@example.com"), Phone: value(""), CustomData: map[string]opencx.Secret{}}, nil,
		},
		"sources, also of what is not listed": {
			everything,
			opencx.Contact{
				Email: value("jane@example.com"), Phone: value("+12025550123"), Name: value("Jane"),
				CustomData: map[string]opencx.Secret{"plan": *value("enterprise"), "tier": *value("1")},
				Private:    []opencx.Secret{*value("jane@example.com"), *value("+12025550123")},
			},
			Versions{{SecretKind, "jane"}: {"uid of jane", "7"}, {ConfigMapKind, "names"}: {"uid of names", "7"}, {ConfigMapKind, "tiers"}: {"uid of tiers", "7"}},
		},
		"a source that is missing and may be": {
			v1alpha1.OpenCXContactSpec{NameFrom: optional(secretRef("none", "a")), HTTPActionOverrides: &other},
			opencx.Contact{}, Versions{{SecretKind, "none"}: {}},
		},
		"overrides that cannot be sent": {v1alpha1.OpenCXContactSpec{HTTPActionOverrides: &other}, opencx.Contact{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			reads := 0
			got, versions, err := ReadListed(t.Context(), counted{live, &reads}, "shop", &tt.spec)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("the contact is another one, error %v", err)
			}
			if !reflect.DeepEqual(versions, tt.versions) || reads != len(tt.versions) {
				t.Errorf("versions: %v after %d reads, want %v", versions, reads, tt.versions)
			}
		})
	}
}

func TestWhatIsListedHasTheSameBounds(t *testing.T) {
	for want, spec := range map[string]*v1alpha1.OpenCXContactSpec{
		"spec.email is not an address that OpenCX accepts, like jane.doe@example.com: correct it": {Email: ptr.To("jane")},
		`spec.nameFrom: Secret "jane" does not exist: create it with the value under "k"`:         from("nameFrom"),
		`spec.customDataFrom.a: Secret "jane" does not exist: create it with the value under "k"`: from("customDataFrom.a"),
	} {
		contact, versions, err := ReadListed(t.Context(), objects{}, "shop", spec)
		if problem, is := errors.AsType[*ValueError](err); !is || problem.Error() != want {
			t.Errorf("error = %v, want %q", err, want)
		}
		if versions != nil || !reflect.DeepEqual(contact, opencx.Contact{}) {
			t.Errorf("%s: something is returned with the error", want)
		}
	}
}

func optional(source *v1alpha1.ValueSource) *v1alpha1.ValueSource {
	source.SecretKeyRef.Optional = true
	return source
}

func TestAValueThatIsLeftOutIsAbsent(t *testing.T) {
	source := *optional(secretRef("jane", "a"))
	spec := v1alpha1.OpenCXContactSpec{NameFrom: &source, CustomDataFrom: map[string]v1alpha1.ValueSource{"a": source}, HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{}}
	for name, live := range map[string]objects{"no Secret": {}, "no key": {"Secret jane": {}}} {
		got, _, err := Read(t.Context(), live, "shop", &spec)
		if want := (opencx.Contact{HTTPActionOverrides: &opencx.HTTPActionOverrides{}}).Payload(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, error %v", name, got, err)
		}
	}
}

// from declares one value of the named field with a source in Secret jane.
func from(field string) *v1alpha1.OpenCXContactSpec {
	source := secretRef("jane", "k")
	switch field {
	case "emailFrom":
		return &v1alpha1.OpenCXContactSpec{EmailFrom: source}
	case "phoneFrom":
		return &v1alpha1.OpenCXContactSpec{PhoneFrom: source}
	case "nameFrom":
		return &v1alpha1.OpenCXContactSpec{NameFrom: source}
	case "customDataFrom.a":
		return &v1alpha1.OpenCXContactSpec{CustomDataFrom: map[string]v1alpha1.ValueSource{"a": *source}}
	}
	return &v1alpha1.OpenCXContactSpec{HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{HeadersFrom: map[string]v1alpha1.ValueSource{"X": *source}}}
}

const headersFrom = "httpActionOverrides.headersFrom.X"

func TestValues(t *testing.T) {
	for name, tt := range map[string]struct {
		field, data, want string // the error, "" when the value is fine
	}{
		"text":                         {"nameFrom", "Jane", ""},
		"nothing":                      {"nameFrom", "", ""},
		"several lines":                {"customDataFrom.a", "a\nb\n", ""},
		"no UTF-8":                     {"nameFrom", "\xff", `spec.nameFrom: key "k" of Secret "jane" is not UTF-8 text`},
		"an address":                   {"emailFrom", "jane@example.com\n", ""},
		"no address":                   {"emailFrom", "J@localhost", "is not an address"},
		"an address with a dot first":  {"emailFrom", ".jane@example.com", "is not an address"},
		"an address with two dots":     {"emailFrom", "jane..doe@example.com", "is not an address"},
		"an address with two newlines": {"emailFrom", "jane@example.com\n\n", "is not an address"},
		"an address of 320 characters": {"emailFrom", strings.Repeat("a", 308) + "@example.com", ""},
		"an address of 321 characters": {"emailFrom", strings.Repeat("a", 309) + "@example.com", "has more than 320 characters, the most that is sent of it"},
		"a phone of 64 characters":     {"phoneFrom", strings.Repeat("é", 64), ""},
		"a phone of 65 characters":     {"phoneFrom", strings.Repeat("é", 65), `spec.phoneFrom: key "k" of Secret "jane" has more than 64 characters`},
		"a name of 1024 characters":    {"nameFrom", strings.Repeat("é", 1024) + "\r\n", ""},
		"a name of 1025 characters":    {"nameFrom", strings.Repeat("é", 1025), "has more than 1024 characters"},
		"a value of 16384 characters":  {"customDataFrom.a", strings.Repeat("😀", 16384) + "\r\n", ""},
		"a value of 16385 characters":  {"customDataFrom.a", strings.Repeat("😀", 16385), `spec.customDataFrom.a: key "k" of Secret "jane" has more than 16384 characters`},
		"a value of a megabyte":        {headersFrom, strings.Repeat("x", 1<<20), "has more than 16384 characters"},
		"U+0000 in a name":             {"nameFrom", "Ja\x00ne", "has the character U+0000, which OpenCX cannot store"},
		"a header":                     {headersFrom, "Bearer\tabc", ""},
		"a header of two lines":        {headersFrom, "a\r\nb", `spec.httpActionOverrides.headersFrom.X: key "k" of Secret "jane" has a control character`},
		"a header with NUL":            {headersFrom, "a\x00", "has the character U+0000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Read(t.Context(), objects{"Secret jane": {"k": tt.data}}, "shop", from(tt.field))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if (tt.want == "") != (err == nil) || !strings.Contains(got, tt.want) || tt.data != "" && strings.Contains(got, tt.data) {
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	for want, live := range map[string]objects{
		`spec.nameFrom: Secret "jane" does not exist: create it with the value under "k"`: {},
		`spec.nameFrom: Secret "jane" has no key "k": add it, or name another one`:        {"Secret jane": {"other": ""}},
	} {
		_, _, err := Read(t.Context(), live, "shop", from("nameFrom"))
		if problem, is := errors.AsType[*ValueError](err); !is || !problem.Missing || problem.Error() != want {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
}

func TestPlainValuesHaveTheSameBounds(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for want, spec := range map[string]v1alpha1.OpenCXContactSpec{
		"spec.email is not an address that OpenCX accepts, like jane.doe@example.com: correct it":             {Email: ptr.To("jane")},
		"spec.phone has more than 64 characters, the most that is sent of it: correct it":                     {Phone: ptr.To(long(65))},
		"spec.name has the character U+0000, which OpenCX cannot store: correct it":                           {Name: ptr.To("a\x00")},
		"spec.customData.a has more than 16384 characters, the most that is sent of it: correct it":           {CustomData: map[string]string{"a": long(16385)}},
		`spec.customData."a\x00" has the character U+0000 in its name, which OpenCX cannot store: correct it`: {CustomData: map[string]string{"a\x00": ""}},
		`spec.customData."` + long(256) + `" has a name of more than 256 characters: correct it`:              {CustomData: map[string]string{long(257): ""}},
		"spec.customData.c makes spec.customData longer than 40960 characters with all its names and values, the most that is sent of it: correct it": {
			CustomData: map[string]string{"a": long(16384), "b": long(16384), "c": long(40960 - 2*16384 - 2)}},
		"spec.httpActionOverrides.headers.X has a control character, such as a line break, which no header can carry: correct it": {
			HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{Headers: map[string]string{"X": "a\nb", "Z": "a\nb"}}},
	} {
		_, _, err := Read(t.Context(), nil, "shop", &spec)
		if problem, is := errors.AsType[*ValueError](err); !is || problem.Missing || problem.Error() != want {
			t.Errorf("error = %v, want %q", err, want)
		}
	}
}

func TestAMapAndItsSourcesAreBoundedTogether(t *testing.T) {
	spec := v1alpha1.OpenCXContactSpec{
		CustomData:     map[string]string{"a": strings.Repeat("x", 16384), "b": strings.Repeat("x", 16384)},
		CustomDataFrom: map[string]v1alpha1.ValueSource{"c": *secretRef("jane", "k")},
	}
	most := strings.Repeat("x", 40960-2*16384-3)
	if _, _, err := Read(t.Context(), objects{"Secret jane": {"k": most}}, "shop", &spec); err != nil {
		t.Error(err)
	}
	_, _, err := Read(t.Context(), objects{"Secret jane": {"k": most + "x"}}, "shop", &spec)
	const want = `spec.customDataFrom.c: key "k" of Secret "jane" makes spec.customData longer than 40960 characters with all its names and values, the most that is sent of it: correct it`
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %q", err, want)
	}
}

func TestTheWholeContactIsBounded(t *testing.T) {
	fill := func(character string) map[string]string {
		value := strings.Repeat(character, 16384)
		return map[string]string{"a": value, "b": value}
	}
	spec := v1alpha1.OpenCXContactSpec{CustomData: fill("é"), HTTPActionOverrides: &v1alpha1.HTTPActionOverrides{
		QueryParams: fill("é"), PathParams: fill("é"), BodyParams: fill("é"),
	}}
	_, _, err := Read(t.Context(), nil, "shop", &spec)
	// Eight values of 32 KiB, and 160 bytes around them.
	const want = "spec has 262304 bytes as JSON, and at most 262144 are sent: shorten spec.customData, the longest part of it"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %q", err, want)
	}
	delete(spec.CustomData, "b")
	if _, _, err := Read(t.Context(), nil, "shop", &spec); err != nil {
		t.Error(err)
	}
}

func TestSomeObjectsAreReadForAContactAndNotMany(t *testing.T) {
	for n, want := range map[int]string{
		32: "",
		33: "spec takes values from 33 Secrets and ConfigMaps, and at most 32 are read for a contact: keep its values in fewer of them",
	} {
		spec, reads := v1alpha1.OpenCXContactSpec{CustomDataFrom: map[string]v1alpha1.ValueSource{}}, 0
		for i := range n {
			source := *configMapRef(fmt.Sprintf("names-%d", i), "k")
			source.ConfigMapKeyRef.Optional = true
			spec.CustomDataFrom[fmt.Sprint(i)] = source
			spec.CustomDataFrom[fmt.Sprint(i, " again")] = source
		}
		_, _, err := Read(t.Context(), counted{objects{}, &reads}, "shop", &spec)
		if got := fmt.Sprint(err); want != "" && got != want || want == "" && err != nil {
			t.Errorf("%d objects: error = %v, want %q", n, err, want)
		}
		if want == "" && reads != n || want != "" && reads != 0 {
			t.Errorf("%d objects: %d reads", n, reads)
		}
	}
}

// counted counts what is read.
type counted struct {
	objects
	reads *int
}

// Get implements client.Reader.
func (c counted) Get(ctx context.Context, name client.ObjectKey, object client.Object, options ...client.GetOption) error {
	*c.reads++
	return c.objects.Get(ctx, name, object, options...)
}

func FuzzValue(f *testing.F) {
	for _, data := range []string{"", "jane@example.com\n", "\xff\xfe", "a\x00b", "Bearer abc\r\n", strings.Repeat("x", 1<<10)} {
		for _, field := range []string{"emailFrom", "nameFrom", "customDataFrom.a", headersFrom} {
			f.Add(field, data)
		}
	}
	f.Fuzz(func(t *testing.T, field, data string) {
		contact, _, err := Read(t.Context(), objects{"Secret jane": {"k": data}}, "shop", from(field))
		if err == nil {
			if size := contact.Size(); size > maxBody || size < len(opencx.TrimNewline(data)) {
				t.Errorf("%d bytes are sent", size)
			}
			return
		}
		if got := err.Error(); !strings.Contains(got, `From`) || !strings.Contains(got, `key "k" of Secret "jane" `) || !strings.HasSuffix(got, ": correct it") {
			t.Errorf("error = %q", got)
		}
		if len(data) > 30 && strings.Contains(err.Error(), data) {
			t.Errorf("the error shows the value")
		}
	})
}
