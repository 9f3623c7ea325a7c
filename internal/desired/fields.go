package desired

import (
	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// field is one of a contact's fields that hold text: a single value, or a map of
// them. The two have one form here, in which a single value is a map whose only
// key is "".
type field struct {
	// path is where it stands in the manifest, such as spec.email. Its sources stand
	// at path + "From".
	path   string
	single bool
	// plain are the values in the manifest, nil when the field is absent.
	plain func(*v1alpha1.OpenCXContactSpec) map[string]string
	// from are the sources of more values.
	from func(*v1alpha1.OpenCXContactSpec) map[string]v1alpha1.ValueSource
	// send puts values into what OpenCX is sent.
	send func(*opencx.Contact, map[string]opencx.Secret)
	// most is how many characters a value may have, as in the CRD.
	most int
	// fault says what else is wrong with a value, "" when nothing is.
	fault func(value string) string
	// listed says that OpenCX's list of contacts shows it.
	listed bool
}

// fields are all of them, in the order that the hash has had since v1. Sources,
// payload and hash are made from this list alone: a new field is one more entry at
// its end, beside its place on the wire in package opencx.
var fields = []field{
	one("spec.email", maxEmail, emailFault,
		func(s *v1alpha1.OpenCXContactSpec) (*string, *v1alpha1.ValueSource) { return s.Email, s.EmailFrom },
		func(c *opencx.Contact) **opencx.Secret { return &c.Email }),
	one("spec.phone", maxPhone, noFault,
		func(s *v1alpha1.OpenCXContactSpec) (*string, *v1alpha1.ValueSource) { return s.Phone, s.PhoneFrom },
		func(c *opencx.Contact) **opencx.Secret { return &c.Phone }),
	one("spec.name", maxName, noFault,
		func(s *v1alpha1.OpenCXContactSpec) (*string, *v1alpha1.ValueSource) { return s.Name, s.NameFrom },
		func(c *opencx.Contact) **opencx.Secret { return &c.Name }),
	many("spec.customData", noFault,
		func(s *v1alpha1.OpenCXContactSpec) (plain, sources) { return s.CustomData, s.CustomDataFrom },
		func(c *opencx.Contact) *map[string]opencx.Secret { return &c.CustomData }),
	override("queryParams", noFault,
		func(o *v1alpha1.HTTPActionOverrides) (plain, sources) { return o.QueryParams, o.QueryParamsFrom },
		func(o *opencx.HTTPActionOverrides) *map[string]opencx.Secret { return &o.QueryParams }),
	override("pathParams", noFault,
		func(o *v1alpha1.HTTPActionOverrides) (plain, sources) { return o.PathParams, o.PathParamsFrom },
		func(o *opencx.HTTPActionOverrides) *map[string]opencx.Secret { return &o.PathParams }),
	override("bodyParams", noFault,
		func(o *v1alpha1.HTTPActionOverrides) (plain, sources) { return o.BodyParams, o.BodyParamsFrom },
		func(o *opencx.HTTPActionOverrides) *map[string]opencx.Secret { return &o.BodyParams }),
	override("headers", headerFault,
		func(o *v1alpha1.HTTPActionOverrides) (plain, sources) { return o.Headers, o.HeadersFrom },
		func(o *opencx.HTTPActionOverrides) *map[string]opencx.Secret { return &o.Headers }),
}

type (
	plain   = map[string]string
	sources = map[string]v1alpha1.ValueSource
)

// one is a field with a single value.
func one(path string, most int, fault func(string) string, in func(*v1alpha1.OpenCXContactSpec) (*string, *v1alpha1.ValueSource), out func(*opencx.Contact) **opencx.Secret) field {
	return field{
		path: path, single: true, most: most, fault: fault, listed: true,
		plain: func(s *v1alpha1.OpenCXContactSpec) map[string]string {
			if value, _ := in(s); value != nil {
				return map[string]string{"": *value}
			}
			return nil
		},
		from: func(s *v1alpha1.OpenCXContactSpec) map[string]v1alpha1.ValueSource {
			if _, source := in(s); source != nil {
				return map[string]v1alpha1.ValueSource{"": *source}
			}
			return nil
		},
		send: func(c *opencx.Contact, values map[string]opencx.Secret) {
			if value, found := values[""]; found {
				*out(c) = &value
			}
		},
	}
}

// many is a field with a map of values.
func many(path string, fault func(string) string, in func(*v1alpha1.OpenCXContactSpec) (plain, sources), out func(*opencx.Contact) *map[string]opencx.Secret) field {
	return field{
		path: path, most: maxValue, fault: fault, listed: true,
		plain: func(s *v1alpha1.OpenCXContactSpec) map[string]string { values, _ := in(s); return values },
		from:  func(s *v1alpha1.OpenCXContactSpec) map[string]v1alpha1.ValueSource { _, from := in(s); return from },
		send:  func(c *opencx.Contact, values map[string]opencx.Secret) { *out(c) = values },
	}
}

// override is a map below httpActionOverrides, which OpenCX takes and never shows.
func override(name string, fault func(string) string, in func(*v1alpha1.HTTPActionOverrides) (plain, sources), out func(*opencx.HTTPActionOverrides) *map[string]opencx.Secret) field {
	f := many("spec.httpActionOverrides."+name, fault,
		func(s *v1alpha1.OpenCXContactSpec) (plain, sources) {
			if s.HTTPActionOverrides == nil {
				return nil, nil
			}
			return in(s.HTTPActionOverrides)
		},
		func(c *opencx.Contact) *map[string]opencx.Secret {
			if c.HTTPActionOverrides == nil {
				return new(map[string]opencx.Secret) // absent, and so are its values
			}
			return out(c.HTTPActionOverrides)
		})
	f.listed = false
	return f
}

// at is the place of one value of the field; suffix is "From" for a source.
func (f *field) at(suffix, key string) string {
	if f.single {
		return f.path + suffix
	}
	return f.path + suffix + "." + key
}
