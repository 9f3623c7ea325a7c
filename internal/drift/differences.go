package drift

import (
	"maps"
	"slices"
	"strings"
	"unicode"

	"k8s.io/utils/ptr"

	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// Differences returns the names of the fields in which OpenCX has something else than is
// declared, as they stand in the manifest: "email", "phone", "name", then
// "customData.plan" by key. What is not declared makes no difference, nor does a form
// that OpenCX may give a value: the case of an email, the spacing and punctuation of a
// phone, white space around one of these or a name. Nothing is the same as empty.
func Differences(declared opencx.Contact, listed opencx.ListedContact) []string {
	var names []string
	for _, field := range []struct {
		name     string
		declared *opencx.Secret
		listed   *string
		normal   func(string) string
	}{
		{"email", declared.Email, listed.Email, normalEmail},
		{"phone", declared.Phone, listed.Phone, normalPhone},
		{"name", declared.Name, listed.Name, strings.TrimSpace},
	} {
		if field.declared != nil && !field.declared.Matches(ptr.Deref(field.listed, ""), field.normal) {
			names = append(names, field.name)
		}
	}
	has := listed.CustomData.Texts(func(name string) bool { _, wanted := declared.CustomData[name]; return wanted })
	for _, key := range slices.Sorted(maps.Keys(declared.CustomData)) {
		if !declared.CustomData[key].Matches(has[key], nil) {
			names = append(names, "customData."+key)
		}
	}
	return names
}

func normalEmail(text string) string { return strings.ToLower(strings.TrimSpace(text)) }

// normalPhone leaves out spacing and punctuation, but for a + before all digits: it
// makes another number of them. Letters stay, which may be an extension or stand for
// digits. A text without digits is no number, and stays as it is.
func normalPhone(text string) string {
	first := strings.IndexFunc(text, unicode.IsDigit)
	if first < 0 {
		return strings.TrimSpace(text)
	}
	number := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text)
	if strings.Contains(text[:first], "+") {
		return "+" + number
	}
	return number
}
