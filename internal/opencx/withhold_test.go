package opencx

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// encodings are the ways in which a backend, a gateway or a page of errors repeats
// what it was sent.
var encodings = []struct {
	name   string
	encode func(string) string
}{
	{"as it is", func(s string) string { return s }},
	{"in lower case", strings.ToLower},
	{"in capitals", strings.ToUpper},
	{"with other signs between", func(s string) string { return strings.Join(strings.Split(s, ""), " - ") }},
	{"in full width", fullWidth},
	{"as JSON", asJSON},
	{"as JSON in JSON", func(s string) string { return asJSON(asJSON(s)) }},
	{"as JSON of code points", func(s string) string { return each(s, asJSON16) }},
	{"as a string of Python", func(s string) string { return eachByte(s, `\x%02x`) }},
	{"in a URL", url.QueryEscape},
	{"in a URL with lower-case hex", func(s string) string { return lowerHex(url.QueryEscape(s)) }},
	{"in a URL twice", func(s string) string { return url.QueryEscape(url.QueryEscape(s)) }},
	{"in a URL, every byte of it", func(s string) string { return eachByte(s, "%%%02x") }},
	{"as HTML", html.EscapeString},
	{"as HTML of code points", func(s string) string { return each(s, func(r rune) string { return fmt.Sprintf("&#x%x;", r) }) }},
	{"as JSON in HTML", func(s string) string { return html.EscapeString(asJSON(s)) }},
	{"in hex", func(s string) string { return hex.EncodeToString([]byte(s)) }},
	{"in hex of capitals", func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }},
	{"in base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
	{"in base64 of a URL", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }},
	{"in base64 of more", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(`{"x":"` + s + `"}`)) }},
	{"in base64 of JSON in a URL", func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(asJSON(s)))) }},
	{"in base64 of several lines", func(s string) string { return lines(base64.StdEncoding.EncodeToString([]byte(s))) }},
	{"in base64 of base64", func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(s))))
	}},
}

func fullWidth(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r + 0xfee0
		}
		return r
	}, s)
}

func each(s string, format func(rune) string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteString(format(r))
	}
	return b.String()
}

func eachByte(s, format string) string {
	var b strings.Builder
	for i := range len(s) {
		_, _ = fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

func lowerHex(s string) string {
	return regexp.MustCompile(`%[0-9A-F]{2}`).ReplaceAllStringFunc(s, strings.ToLower)
}

// asJSON is as json.Marshal does it, which escapes & and < as well.
func asJSON(s string) string {
	quoted, _ := json.Marshal(s)
	return string(quoted[1 : len(quoted)-1])
}

// asJSON16 is a character in UTF-16.
func asJSON16(r rune) string {
	if r < 0x10000 {
		return fmt.Sprintf(`\u%04x`, r)
	}
	r -= 0x10000
	return fmt.Sprintf(`\u%04X\u%04X`, 0xd800+r>>10, 0xdc00+r&0x3ff)
}

func lines(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i += 19 {
		b.WriteString(s[i:min(i+19, len(s))] + "\r\n")
	}
	return b.String()
}

// shows says whether a text that has value in it, encoded, is shown.
func shows(text, value string) bool {
	return clean(text, []Secret{{"another-s3cret"}, {value}}) != withheld
}

func TestNoEncodingOfAValueIsShown(t *testing.T) {
	for _, value := range []string{
		`P&ssw0rd<"quoted">\n`, "jane.doe+x@example.com", "+1 (202) 555-0123", "Bearer s3cr3t/t0ken+x==", "Zoë Ångström", "ключ-от-двери",
		"line one\nline two\tend", "密码是一二三四五六", "A1", "é", "a%41b&amp;c\\u0041d12345", "dXNlcjpwYXNzd29yZA==", "😀 12345678",
	} {
		for _, e := range encodings {
			for _, around := range []string{"%s", `got "%s", which is taken`, "https://api.example.com/?q=%s&x=1", "value=%s;"} {
				if text := fmt.Sprintf(around, e.encode(value)); shows(text, value) {
					t.Errorf("%q shows in %q: %s", value, text, e.name)
				}
			}
		}
	}
}

func TestWhatAValueStandsForIsNotShown(t *testing.T) {
	for name, tt := range map[string]struct{ value, text string }{
		"the token of a header":          {"Bearer abc123", "token abc123 has expired"},
		"the password of a header":       {"Basic amFuZTpodW50ZXI=", "user jane:hunter is locked"},
		"a password in Latin-1":          {"Basic YWRtaW46Y29ycmVjdGhvcnNl6Q==", "user admin:correcthorse is locked"},
		"a claim of a token":             {"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJqYW5lQGV4YW1wbGUuY29tIn0.c2lnbmF0dXJl", "token of jane@example.com"},
		"what has been reformatted":      {"+12025550123", "(202) 555-0123 is no mobile phone"},
		"what was unescaped":             {"s%65cret%2Fvalue", "secret/value is unknown"},
		"what was cut at its end":        {"s3cr3t-t0ken-of-jane", "s3cr3t-t0… is unknown"},
		"what was cut at its beginning":  {"s3cr3t-t0ken-of-jane", "unknown: …ken-of-jane"},
		"a short value among other ones": {"A1", "tiers: A1, B2"},
	} {
		t.Run(name, func(t *testing.T) {
			if shows(tt.text, tt.value) {
				t.Errorf("%q shows in %q", tt.value, tt.text)
			}
		})
	}
}

func TestWhatRepeatsNothingIsShown(t *testing.T) {
	for name, tt := range map[string]struct{ value, text string }{
		"another value":                {"s3cr3t-t0ken-of-jane", "phone must be in international form"},
		"seven letters of it":          {"s3cr3t-t0ken-of-jane", "s3cr3t-t is unknown"},
		"an empty value":               {"", "phone must be in international form"},
		"a value of blanks":            {" \t", "phone must be in international form"},
		"the scheme of its header":     {"Bearer s3cr3t-t0ken", "a Bearer token is needed"},
		"base64 that is not of it":     {"s3cr3t-t0ken", "id c29tZXRoaW5nIGVsc2U="},
		"a text that looks like hex":   {"s3cr3t-t0ken", "id 6a616e652e646f65"},
		"a short value that is absent": {"Q9", "phone must be in international form"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := clean(tt.text, []Secret{{tt.value}}); got != tt.text {
				t.Errorf("%q is shown as %q", tt.text, got)
			}
		})
	}
}

// Whoever writes a text for it can make one that has a great many readings.
func TestATextWithTooManyReadingsIsWithheld(t *testing.T) {
	inBase64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	const escapes = `\u005cu0041 %2541 &amp;#x41; `
	text := strings.Repeat(escapes+inBase64(escapes)+" "+inBase64(inBase64(escapes))+" , ", 5)
	// Every order of undoing these gives another form, and base64 hides them from it.
	const orders = `%25252541 &#37;252541 \x25252541 &#38;#37;2541 \x5cx252541 \x26#38;#38;#65; &#38;#38;#37;41 `
	for _, text := range []string{text, orders + inBase64(orders+inBase64(orders))} {
		if shows(text, "s3cr3t-t0ken") {
			t.Errorf("%q is shown", text)
		}
	}
	if !shows(escapes, "s3cr3t-t0ken") {
		t.Error("a text with few readings is not shown")
	}
}

// To look for the values of a contact takes longer, the more letters they may stand for.
func TestATextIsWithheldWhenToLookForAllValuesWouldTakeLong(t *testing.T) {
	for name, tt := range map[string]struct {
		value string
		times int
		want  bool // that the text is shown
	}{
		"as much as a contact can have": {strings.Repeat("plan ", 3276), 16, true},
		"as much, in base64":            {base64.StdEncoding.EncodeToString([]byte(strings.Repeat("plan ", 2457))), 15, true},
		"many short ones":               {"zzz", 1000, true},
		"ligatures of eighteen letters": {strings.Repeat("\ufdfa", 16384), 5, false},
		"tokens of many parts":          {strings.Repeat("YWJj.", 3276), 16, true},
	} {
		if got := clean("phone must be valid", slices.Repeat([]Secret{{tt.value}}, tt.times)) != withheld; got != tt.want {
			t.Errorf("%s: the text is shown: %t, want %t", name, got, tt.want)
		}
	}
}

// FuzzWithholding looks for a way to show a part of a value of which eight letters or
// digits in a row are left, or all of a shorter one: in every encoding, cut at every
// place.
func FuzzWithholding(f *testing.F) {
	for _, value := range []string{"jane.doe@example.com", "+1 202 555 0123", `a&b<c>"d"\e`, "Bearer s3cr3t-t0ken", "Zoë\nÅngström 1", "A1", "%41%42%43%44%45", `\u0041\u0042`, "&amp;&lt;12345678"} {
		f.Add(value, uint(0), uint(len(value)))
		f.Add(value, uint(1), uint(len(value)-1))
	}
	f.Fuzz(func(t *testing.T, value string, from, to uint) {
		if !utf8.ValidString(value) || len(value) > 200 || from > to || to > uint(len(value)) {
			return
		}
		part := strings.ToValidUTF8(value[from:to], "")
		if letters := fold(part); letters == "" || part != value && utf8.RuneCountInString(letters) < run {
			return
		}
		for _, e := range encodings {
			if text := `got "` + e.encode(part) + `" here`; len(text) < maxText && shows(text, value) {
				t.Errorf("%q of %q shows in %q: %s", part, value, text, e.name)
			}
		}
	})
}

func TestEveryTruncationOfEveryEncodingIsWithheld(t *testing.T) {
	const value = `jane.doe+"ü"@example.com & 12025550123`
	for _, e := range encodings {
		encoded, tried := e.encode(value), 0
		for end := range len(encoded) + 1 {
			if utf8.RuneCountInString(fold(prefixIn(encoded[:end], value, e.encode))) < run {
				continue
			}
			tried++
			if text := "got " + encoded[:end]; shows(text, value) {
				t.Errorf("%q shows: %s, cut at %d", text, e.name, end)
			}
		}
		if tried < 10 && e.name != "in base64 of more" { // which ends otherwise, wherever it is cut
			t.Errorf("%s: only %d truncations tell enough of the value", e.name, tried)
		}
	}
}

// prefixIn is how much of the beginning of value certainly is in a text that begins
// with its encoding.
func prefixIn(text, value string, encode func(string) string) string {
	known := ""
	for end := range len(value) + 1 {
		if part := value[:end]; utf8.ValidString(part) && strings.HasPrefix(text, strings.TrimRight(encode(part), "=\r\n")) {
			known = part
		}
	}
	return known
}

func TestAValueOfNothingButSignsIsNotShown(t *testing.T) {
	for text, want := range map[string]string{"got …→ here": withheld, "got %E2%80%A6%E2%86%92": withheld, "got … here": "got … here"} {
		if got := clean(text, []Secret{{" …→"}}); got != want {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	for _, value := range []string{"!!  ??\t$$", "$$\u200b$$", "★\n☆"} {
		if shows("value "+value+" is wrong", value) {
			t.Errorf("%q is shown", value)
		}
	}
}
