package desired

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of the CRD, in characters. What comes from Secrets and ConfigMaps has no
// others, and a manifest may be older than they are.
const (
	maxEmail = 320
	maxPhone = 64
	maxName  = 1024
	maxValue = 16384 // in a map
	maxKey   = 256   // of a map
	maxMap   = 40960 // keys and values of a map
)

// maxBody is the most that is sent of a contact, in bytes.
const maxBody = 256 << 10

// maxObjects is from how many Secrets and ConfigMaps a contact may take values: each is
// one read from the API server whenever it may have to be sent.
const maxObjects = 32

// shown is the place of one value, fit for a message: a manifest that is older than the
// bounds may have any name in a map.
func (f *field) shown(suffix, key string) string {
	if keyFault(key) != "" {
		key = strconv.Quote(string([]rune(key)[:min(maxKey, utf8.RuneCountInString(key))]))
	}
	return f.at(suffix, key)
}

// keyFault says what is wrong with a name in a map, "" when nothing is.
func keyFault(key string) string {
	switch {
	case utf8.RuneCountInString(key) > maxKey:
		return fmt.Sprintf("has a name of more than %d characters", maxKey)
	case strings.Contains(key, "\x00"):
		return "has the character U+0000 in its name, which OpenCX cannot store"
	}
	return ""
}

// valueFault says what is wrong with a value, "" when nothing is.
func (f *field) valueFault(value string) string {
	switch {
	case f.isTooLong(value):
		return fmt.Sprintf("has more than %d characters, the most that is sent of it", f.most)
	case !utf8.ValidString(value):
		return "is not UTF-8 text, which is all that OpenCX takes"
	case strings.Contains(value, "\x00"):
		return "has the character U+0000, which OpenCX cannot store"
	}
	return f.fault(value)
}

// isTooLong counts the characters of what is not far too long only.
func (f *field) isTooLong(value string) bool {
	return len(value) > f.most*utf8.UTFMax || utf8.RuneCountInString(value) > f.most
}

func noFault(string) string { return "" }

// emailBody and the conditions beside it are the CRD's rules of spec.email.
var emailBody = regexp.MustCompile(`^[A-Za-z0-9_'+\-.]*[A-Za-z0-9_+\-]@([A-Za-z0-9][A-Za-z0-9\-]*[.])+[A-Za-z]{2,}$`)

func emailFault(text string) string {
	if emailBody.MatchString(text) && !strings.HasPrefix(text, ".") && !strings.Contains(text, "..") {
		return ""
	}
	return "is not an address that OpenCX accepts, like jane.doe@example.com"
}

// headerFault knows what a header can carry: RFC 9110, section 5.5, allows a tab
// and no other control character.
func headerFault(value string) string {
	if strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r == 0x7f) }) {
		return "has a control character, such as a line break, which no header can carry"
	}
	return ""
}
