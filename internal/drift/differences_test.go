package drift

import (
	"reflect"
	"slices"
	"testing"

	"k8s.io/utils/ptr"

	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

func value(text string) *opencx.Secret { return ptr.To(opencx.NewSecret(text)) }

func TestDifferences(t *testing.T) {
	everything := opencx.ListedContact{
		Email: ptr.To("jane@example.com"), Phone: ptr.To("+12025550123"), Name: ptr.To("Jane Doe"),
		CustomData: opencx.NewCustomData(map[string]string{"plan": "enterprise", "region": "eu"}),
	}
	for name, tt := range map[string]struct {
		declared opencx.Contact
		listed   opencx.ListedContact
		want     []string
	}{
		"nothing is declared and nothing listed": {},
		"nothing is declared":                    {listed: everything},
		"empty custom data is declared":          {opencx.Contact{CustomData: map[string]opencx.Secret{}}, everything, nil},
		"what is never listed is declared": {
			opencx.Contact{HTTPActionOverrides: &opencx.HTTPActionOverrides{Headers: map[string]opencx.Secret{"X-Tenant": *value("acme")}}}, everything, nil,
		},
		"all is the same": {
			opencx.Contact{
				Email: value("jane@example.com"), Phone: value("+12025550123"), Name: value("Jane Doe"),
				CustomData: map[string]opencx.Secret{"plan": *value("enterprise"), "region": *value("eu")},
			}, everything, nil,
		},
		"one key is declared and the same": {opencx.Contact{CustomData: map[string]opencx.Secret{"plan": *value("enterprise")}}, everything, nil},
		"all differs": {
			opencx.Contact{
				Email: value("john@example.com"), Phone: value("+12025550124"), Name: value("John Doe"),
				CustomData: map[string]opencx.Secret{"tier": *value("1"), "region": *value("us"), "plan": *value("free")},
			}, everything, []string{"email", "phone", "name", "customData.plan", "customData.region", "customData.tier"},
		},
		"one key differs":               {opencx.Contact{CustomData: map[string]opencx.Secret{"plan": *value("enterprise"), "region": *value("us")}}, everything, []string{"customData.region"}},
		"all is declared empty":         {opencx.Contact{Email: value(""), Phone: value(""), Name: value(""), CustomData: map[string]opencx.Secret{"plan": *value("")}}, everything, []string{"email", "phone", "name", "customData.plan"}},
		"all is empty and not listed":   {opencx.Contact{Email: value(""), Phone: value(""), Name: value(""), CustomData: map[string]opencx.Secret{"plan": *value("")}}, opencx.ListedContact{}, nil},
		"all is empty and listed empty": {opencx.Contact{Email: value(""), Phone: value(""), Name: value("")}, opencx.ListedContact{Email: ptr.To(""), Phone: ptr.To(""), Name: ptr.To("")}, nil},
		"all is declared and nothing listed": {
			opencx.Contact{Email: value("jane@example.com"), Phone: value("-"), Name: value("Jane"), CustomData: map[string]opencx.Secret{"plan": *value(" ")}},
			opencx.ListedContact{}, []string{"email", "phone", "name", "customData.plan"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Differences(tt.declared, tt.listed); !slices.Equal(got, tt.want) {
				t.Errorf("differences: %q, want %q", got, tt.want)
			}
		})
	}
}

// A field that was forgotten would be told to be verified.
func TestEachFieldThatOpenCXListsIsCompared(t *testing.T) {
	neverListed := []string{"HTTPActionOverrides", "Private"}
	fields := reflect.TypeFor[opencx.Contact]()
	for i := range fields.NumField() {
		var declared opencx.Contact
		switch field := reflect.ValueOf(&declared).Elem().Field(i).Addr().Interface().(type) {
		case **opencx.Secret:
			*field = value("x")
		case *map[string]opencx.Secret:
			*field = map[string]opencx.Secret{"x": *value("x")}
		}
		name := fields.Field(i).Name
		if differs := len(Differences(declared, opencx.ListedContact{})) > 0; differs == slices.Contains(neverListed, name) {
			t.Errorf("%s: that OpenCX has no value of it makes a difference: %t", name, differs)
		}
	}
}

// forms are ways to write a value, and whether they make a difference.
type forms []struct {
	name, declared, listed string
	differ                 bool
}

func (f forms) check(t *testing.T, contact func(declared, listed string) (opencx.Contact, opencx.ListedContact)) {
	for _, tt := range f {
		t.Run(tt.name, func(t *testing.T) {
			if got := Differences(contact(tt.declared, tt.listed)); (len(got) > 0) != tt.differ {
				t.Errorf("%q and %q: differences %q", tt.declared, tt.listed, got)
			}
			if got := Differences(contact(tt.listed, tt.declared)); (len(got) > 0) != tt.differ {
				t.Errorf("%q and %q: differences %q", tt.listed, tt.declared, got)
			}
		})
	}
}

func TestFormsOfAnEmail(t *testing.T) {
	forms{
		{"another case", "Jane.Doe@Example.COM", "jane.doe@example.com", false},
		{"white space around it", "jane@example.com", " jane@example.com\n", false},
		{"white space in it", "jane@example.com", "ja ne@example.com", true},
		{"another address", "jane@example.com", "jane@example.org", true},
		{"a tag", "jane@example.com", "jane+shop@example.com", true},
	}.check(t, func(declared, listed string) (opencx.Contact, opencx.ListedContact) {
		return opencx.Contact{Email: value(declared)}, opencx.ListedContact{Email: &listed}
	})
}

func TestFormsOfAPhone(t *testing.T) {
	forms{
		{"spacing", "+1 202 555 0123", "+12025550123", false},
		{"spacing that does not break", "+1\u00a0202\u202f555\u20110123", "+12025550123", false},
		{"punctuation", "+1 (202) 555-0123", "+1.202.555/0123", false},
		{"marks of direction around it", "\u202a+12025550123\u202c", "+12025550123", false},
		{"a + in brackets", "(+1) 202 555 0123", "+12025550123", false},
		{"no +", "12025550123", "+12025550123", true},
		{"a + later", "1202555+0123", "12025550123", false},
		{"00 in place of +", "0012025550123", "+12025550123", true},
		{"another number", "+12025550123", "+12025550124", true},
		{"digits in another order", "+12025550123", "+12025550132", true},
		{"an extension", "+1 202 555 0123 x4", "+1 202 555 0123", true},
		{"an extension that is written closer", "+1 202 555 0123 x4", "+12025550123x4", false},
		{"letters for digits", "1-202-FLOWERS", "1-202-PLUMBER", true},
		{"digits of another script", "١٢٣", "٤٥٦", true},
		{"a text", "unknown", " unknown ", false},
		{"another text", "unknown", "none", true},
		{"another punctuation of a text", "n/a", "na", true},
		{"a text and a number", "unknown", "+12025550123", true},
		{"a + alone", "+", "", true},
		{"nothing but space", " ", "", false},
	}.check(t, func(declared, listed string) (opencx.Contact, opencx.ListedContact) {
		return opencx.Contact{Phone: value(declared)}, opencx.ListedContact{Phone: &listed}
	})
}

func TestFormsOfAName(t *testing.T) {
	forms{
		{"white space around it", "Jane Doe", "\tJane Doe ", false},
		{"more white space in it", "Jane Doe", "Jane  Doe", true},
		{"another case", "Jane Doe", "jane doe", true},
		{"an accent as a character of its own", "Zo\u00eb", "Zoe\u0308", true},
	}.check(t, func(declared, listed string) (opencx.Contact, opencx.ListedContact) {
		return opencx.Contact{Name: value(declared)}, opencx.ListedContact{Name: &listed}
	})
}

func TestFormsOfCustomData(t *testing.T) {
	forms{
		{"the same", " Enterprise ", " Enterprise ", false},
		{"white space around it", "enterprise", "enterprise ", true},
		{"another case", "enterprise", "Enterprise", true},
		{"an accent as a character of its own", "Zo\u00eb", "Zoe\u0308", true},
	}.check(t, func(declared, listed string) (opencx.Contact, opencx.ListedContact) {
		return opencx.Contact{CustomData: map[string]opencx.Secret{"plan": *value(declared)}}, opencx.ListedContact{CustomData: opencx.NewCustomData(map[string]string{"plan": listed})}
	})
}
