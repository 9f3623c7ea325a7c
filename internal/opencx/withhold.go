package opencx

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxText is how much of a text from outside is shown, in bytes; maxRead how much of
// it is looked at. What is shown may end in the midst of a value, of which more follows.
const maxText, maxRead = 500, 4 << 10

// run is how many letters and digits of a value in a row no text may repeat.
const run = 8

// withheld is shown instead of a text.
const withheld = "its text is withheld, because it repeats a value from a Secret"

// clean makes a text from outside fit to be shown: without control characters, cut to
// maxText, and withheld whole when it repeats one of the private values.
func clean(text string, private []Secret) string {
	text = cut(evenSpace(strings.ToValidUTF8(text, "")), maxRead)
	if repeats(text, private) {
		return withheld
	}
	if len(text) <= maxText {
		return text
	}
	return cut(text, maxText) + "…"
}

// cut returns at most most bytes of a text, and no half character.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// evenSpace puts one space where there is space, or what cannot be seen.
func evenSpace(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r) || unicode.In(r, unicode.Cf)
	}), " ")
}

// repeats says that a text has a run of letters and digits in common with a value, or
// has all of a shorter one. However both are written does not matter: with escapes or
// without, in base64 or hex, in capitals or not, with what else between the letters.
// A text that can be read in too many ways is taken for one that does, and so is every text
// when it would take maxWork and more to look for all of the values: a quarter of a second.
func repeats(text string, values []Secret) bool {
	forms, ok := decodings(text)
	if !ok {
		return true
	}
	folded := make([]string, len(forms))
	runs := map[string]bool{}
	for i, form := range forms {
		folded[i] = fold(form)
		for part := range runsOf(folded[i]) {
			runs[part] = true
		}
	}
	work, once := 0, sizeOf(forms)>>10+1 // to look through all forms for one text
	for _, value := range values {
		for _, form := range meanings(value.value) {
			letters := fold(form)
			work += max(once, len(letters))
			if work > maxWork || isIn(form, letters, forms, folded, runs) {
				return true
			}
		}
	}
	return false
}

// maxWork is how many letters are looked for, each by the run that begins with it.
const maxWork = 512 << 10

// isIn says that a text that is a value, or the letters of it, is in another.
func isIn(value, letters string, forms, folded []string, runs map[string]bool) bool {
	has := func(part string) func(string) bool {
		return func(text string) bool { return strings.Contains(text, part) }
	}
	switch {
	case letters == "": // nothing but signs
		value = evenSpace(value) // as in the texts
		return value != "" && slices.ContainsFunc(forms, has(value))
	case utf8.RuneCountInString(letters) < run:
		return slices.ContainsFunc(folded, has(letters))
	}
	for part := range runsOf(letters) {
		if runs[part] {
			return true
		}
	}
	return false
}

// runsOf yields every run of a text.
func runsOf(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var starts []int // of the last characters
		for i := range text {
			if len(starts) == run {
				if !yield(text[starts[0]:i]) {
					return
				}
				starts = append(starts[:0], starts[1:]...)
			}
			starts = append(starts, i)
		}
		if len(starts) == run {
			yield(text[starts[0]:])
		}
	}
}

// fold keeps the letters and digits of a text: without accents, in one form of those
// that mean the same (Unicode's NFKD), and all in the same case.
func fold(text string) string {
	text = norm.NFKD.String(cases.Fold().String(norm.NFKD.String(strings.ToValidUTF8(text, ""))))
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return r
		}
		return -1
	}, text)
}
