package desired

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// Source is a value of a contact that is kept in a Secret or ConfigMap.
type Source struct {
	// Path is the field of spec that names it, such as emailFrom or
	// httpActionOverrides.headersFrom.Authorization.
	Path     string
	Object   Object
	Key      string
	Optional bool
}

// Object is a Secret or ConfigMap in the contact's namespace.
type Object struct{ Kind, Name string }

// The kinds of Object.
const (
	SecretKind    = "Secret"
	ConfigMapKind = "ConfigMap"
)

// String is like `Secret "opencx"`.
func (o Object) String() string { return fmt.Sprintf("%s %q", o.Kind, o.Name) }

// Version identifies what an Object held at some time; zero when it did not
// exist.
type Version struct{ UID, ResourceVersion string }

// Sources returns the sources of spec, by path.
func Sources(spec v1alpha1.OpenCXContactSpec) []Source {
	var sources []Source
	add := func(path string, from *v1alpha1.ValueSource) {
		switch {
		case from == nil:
		case from.SecretKeyRef != nil:
			ref := from.SecretKeyRef
			sources = append(sources, Source{path, Object{SecretKind, ref.Name}, ref.Key, ref.Optional})
		case from.ConfigMapKeyRef != nil:
			ref := from.ConfigMapKeyRef
			sources = append(sources, Source{path, Object{ConfigMapKind, ref.Name}, ref.Key, ref.Optional})
		}
	}
	addAll := func(path string, from map[string]v1alpha1.ValueSource) {
		for name, source := range from {
			add(path+"."+name, &source)
		}
	}
	add("emailFrom", spec.EmailFrom)
	add("phoneFrom", spec.PhoneFrom)
	add("nameFrom", spec.NameFrom)
	addAll("customDataFrom", spec.CustomDataFrom)
	if o := spec.HTTPActionOverrides; o != nil {
		addAll("httpActionOverrides.queryParamsFrom", o.QueryParamsFrom)
		addAll("httpActionOverrides.pathParamsFrom", o.PathParamsFrom)
		addAll("httpActionOverrides.bodyParamsFrom", o.BodyParamsFrom)
		addAll("httpActionOverrides.headersFrom", o.HeadersFrom)
	}
	slices.SortFunc(sources, func(a, b Source) int { return cmp.Compare(a.Path, b.Path) })
	return sources
}

// Value returns what the object of source holds under its key, data, without one
// newline at its end. The error says what is wrong with it and never contains it.
func Value(source Source, data []byte) (opencx.Secret, error) {
	text := opencx.TrimNewline(string(data))
	fault := ""
	switch {
	case !utf8.ValidString(text):
		fault = "is not UTF-8 text, which is all that OpenCX takes"
	case source.Path == "emailFrom" && !validEmail(text):
		fault = "is not an address that OpenCX accepts, like jane.doe@example.com"
	case strings.HasPrefix(source.Path, "httpActionOverrides.headersFrom.") && !validHeader(text):
		fault = "has a control character, such as a line break, which no header can carry"
	default:
		return opencx.NewSecret(text), nil
	}
	return opencx.Secret{}, fmt.Errorf("%s: key %q of %s %s: correct it", source.Path, source.Key, source.Object, fault)
}

// maxEmail is the most characters of an address, as in the CRD.
const maxEmail = 320

// emailBody and the conditions beside it are the CRD's rules of spec.email.
var emailBody = regexp.MustCompile(`^[A-Za-z0-9_'+\-.]*[A-Za-z0-9_+\-]@([A-Za-z0-9][A-Za-z0-9\-]*[.])+[A-Za-z]{2,}$`)

func validEmail(text string) bool {
	return len(text) <= maxEmail && emailBody.MatchString(text) && !strings.HasPrefix(text, ".") && !strings.Contains(text, "..")
}

// validHeader says whether a header can carry value: RFC 9110, section 5.5,
// allows a tab and no other control character.
func validHeader(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r == 0x7f) })
}

// CheckHeaders says which plain header of spec cannot be carried. The error never
// contains its value.
func CheckHeaders(spec v1alpha1.OpenCXContactSpec) error {
	if spec.HTTPActionOverrides == nil {
		return nil
	}
	for name, value := range spec.HTTPActionOverrides.Headers {
		if !validHeader(value) {
			return fmt.Errorf("httpActionOverrides.headers.%s: the value has a control character, such as a line break, which no header can carry: correct it", name)
		}
	}
	return nil
}
