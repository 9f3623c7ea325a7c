package opencx

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// levels is how often one escape inside another is undone, and maxForms how many ways to
// read a text are looked at, of together maxFormsSize bytes: one with more was made to have
// them.
const levels, maxForms, maxFormsSize = 2, 500, 256 << 10

var (
	jsonEscapes = regexp.MustCompile(`(?:\\u[0-9a-fA-F]{4})+|\\x[0-9a-fA-F]{2}|\\["'\\/bfnrt]`)
	urlEscapes  = regexp.MustCompile(`(?:%[0-9a-fA-F]{2})+`)
	base64Words = regexp.MustCompile(`[A-Za-z0-9+/_-]{2,}`)
	hexWords    = regexp.MustCompile(`[0-9a-fA-F]{2,}`)
	// scheme stands before a token in an Authorization header (RFC 9110, section 11.4).
	scheme = regexp.MustCompile(`(?i)^\s*(?:basic|bearer|token|apikey|api-key|digest|negotiate)\s+(\S.*)$`)
)

// decodings are the ways to read a text: as it is, and without what may be encodings:
// escapes of JSON, URLs and HTML, and base64 and hex, which may begin anywhere in it. ok
// is false when there are more than are looked at.
func decodings(text string) (all []string, ok bool) {
	all = unescape(text)
	decoded, size := all, sizeOf(all)
	for range 2 { // base64 or hex, of what may be either once more
		var next []string
		for _, form := range decoded {
			for _, inner := range undense(form) {
				more := unescape(inner)
				next, size = append(next, more...), size+sizeOf(more)
			}
			if len(all)+len(next) > maxForms || size > maxFormsSize {
				return nil, false
			}
		}
		all = append(all, next...)
		decoded = next
	}
	return all, true
}

func sizeOf(texts []string) (size int) {
	for _, text := range texts {
		size += len(text)
	}
	return size
}

// meanings are the texts that a value may stand for: itself, without its escapes, the
// token of an Authorization header, and what it is the base64 of.
func meanings(value string) []string {
	all := unescape(value)
	token := strings.TrimSpace(value)
	if parts := scheme.FindStringSubmatch(value); parts != nil {
		token = strings.TrimSpace(parts[1])
		all = append(all, token)
	}
	for part := range strings.SplitSeq(token, ".") { // as of a JSON Web Token
		decoded, err := base64.RawStdEncoding.DecodeString(standard(strings.TrimRight(part, "=")))
		text := strings.ToValidUTF8(string(decoded), "")
		// Most tokens can be decoded, to what is no text, of which a letter or two are left.
		isText := len(text) == len(decoded) && strings.IndexFunc(text, unicode.IsControl) < 0
		if err == nil && (isText || utf8.RuneCountInString(fold(text)) >= run) {
			all = append(all, text)
		}
	}
	return all
}

// unescape returns a text and what it is without escapes of JSON, URLs and HTML, in
// any order of one inside another.
func unescape(text string) []string {
	all := []string{text}
	level := all
	for range levels {
		var next []string
		for _, form := range level {
			for _, plain := range []string{
				jsonEscapes.ReplaceAllStringFunc(form, unescapeJSON),
				urlEscapes.ReplaceAllStringFunc(form, func(escapes string) string { return fromHex(strings.ReplaceAll(escapes, "%", "")) }),
				html.UnescapeString(form),
			} {
				if !slices.Contains(all, plain) {
					all, next = append(all, plain), append(next, plain)
				}
			}
		}
		level = next
	}
	return all
}

func unescapeJSON(escape string) string {
	if digits, is := strings.CutPrefix(escape, `\x`); is { // as in JavaScript and Python
		return fromHex(digits)
	}
	var text string
	if json.Unmarshal([]byte(`"`+escape+`"`), &text) != nil {
		return "" // \', which JSON does not know
	}
	return text
}

func fromHex(digits string) string {
	text, _ := hex.DecodeString(digits[:len(digits)/2*2]) // there is nothing else in it
	return string(text)
}

// undense undoes base64 and hex. Either may be broken into lines, and begin at any
// character of a word: all that begin alike are in one text.
func undense(text string) []string {
	text = strings.Join(strings.Fields(text), "")
	var all [6]strings.Builder
	for _, word := range base64Words.FindAllString(text, -1) {
		for offset := range min(4, len(word)-1) {
			part := word[offset:]
			if len(part)%4 == 1 {
				part = part[:len(part)-1]
			}
			decoded, _ := base64.RawStdEncoding.DecodeString(standard(part)) // as much of it as there is
			_, _ = all[offset].Write(append(decoded, ' '))
		}
	}
	for _, digits := range hexWords.FindAllString(text, -1) {
		for offset := range 2 {
			_, _ = all[4+offset].WriteString(fromHex(digits[offset:]) + " ")
		}
	}
	var texts []string
	for i := range all {
		if all[i].Len() > 0 {
			texts = append(texts, all[i].String())
		}
	}
	return texts
}

// standard writes base64 of URLs (RFC 4648, section 5) like any other.
func standard(text string) string {
	return strings.NewReplacer("-", "+", "_", "/").Replace(text)
}
