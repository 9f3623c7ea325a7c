package opencx

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is how much of a text from outside is shown, in bytes.
const maxText = 500

// minMaskable is the length, in bytes, from which a sent value can be replaced
// in a text. A shorter one would be found in innocent words, so a text that
// contains it is not shown at all.
const minMaskable = 4

// masker makes texts from outside safe to show.
type masker struct {
	replace *strings.Replacer
	short   []string
}

// newMasker returns a masker for everything that one request sends.
func newMasker(key APIKey, contact Contact) masker {
	var m masker
	var long []string
	for _, value := range append(contact.values(), key.value) {
		for _, form := range forms(value) {
			switch {
			case form == "":
			case len(form) < minMaskable:
				m.short = append(m.short, form)
			default:
				long = append(long, form)
			}
		}
	}
	// A value may contain another one: the longest is replaced first.
	slices.SortFunc(long, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	long = slices.Compact(long)
	pairs := make([]string, 0, 2*len(long))
	for _, form := range long {
		pairs = append(pairs, form, masked)
	}
	m.replace = strings.NewReplacer(pairs...)
	return m
}

// forms returns the ways in which a text may echo a value: as it is, escaped
// for JSON or a URL, with other space or none around it, or one word of it, as with the
// token in "Bearer token".
func forms(value string) []string {
	quoted, _ := json.Marshal(value) // a string always marshals
	all := []string{
		value,
		strings.TrimSpace(value),
		evenSpace(value),
		strings.ToValidUTF8(value, ""),
		string(quoted[1 : len(quoted)-1]),
		url.QueryEscape(value),
		url.PathEscape(value),
	}
	for _, word := range strings.Fields(value) {
		if len(word) >= minMaskable {
			all = append(all, word)
		}
	}
	return all
}

// clean returns text without control characters and sent values, cut to
// maxText; "" when it contains a value too short to be replaced. Values are
// looked for before and after the space between words is made even, which could
// join them.
func (m masker) clean(text string) string {
	text = m.replace.Replace(strings.ToValidUTF8(text, ""))
	if m.hasShort(text) {
		return ""
	}
	text = m.replace.Replace(evenSpace(text))
	if m.hasShort(text) {
		return ""
	}
	if len(text) <= maxText {
		return text
	}
	cut := maxText
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func (m masker) hasShort(text string) bool {
	return slices.ContainsFunc(m.short, func(value string) bool { return strings.Contains(text, value) })
}

// evenSpace puts one space where there is space, or what cannot be seen.
func evenSpace(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || unicode.In(r, unicode.Cf)
	}), " ")
}
