package opencxtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxBody is the largest request body, in bytes.
const maxBody = 10 << 20

// emailBody is the pattern of "email" in OpenCX's page without its two
// look-aheads, which RE2 lacks; validEmail has them as code.
var emailBody = regexp.MustCompile(`^[A-Za-z0-9_'+\-.]*[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$`)

func validEmail(email string) bool {
	return !strings.HasPrefix(email, ".") && !strings.Contains(email, "..") && emailBody.MatchString(email)
}

// parseUpdate checks a body against UpdateContactInput and returns the fields
// of its contact. Unknown fields are accepted, as the schema accepts them.
func parseUpdate(body []byte) (map[string]any, error) {
	contact, err := parseContact(body)
	if err != nil {
		return nil, err
	}
	return contact, checkContact(contact)
}

// parseContact returns the fields of the contact in a body, whatever they are.
func parseContact(body []byte) (map[string]any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	var input any
	if err := decoder.Decode(&input); err != nil {
		return nil, errors.New("the body is not JSON")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("the body is more than one JSON value")
	}
	object, ok := input.(map[string]any)
	if !ok {
		return nil, errors.New("the body must be an object")
	}
	contact, ok := object["contact"].(map[string]any)
	if !ok {
		return nil, errors.New("contact must be an object")
	}
	return contact, nil
}

func checkContact(contact map[string]any) error {
	for _, name := range []string{"email", "phone", "name"} {
		if value, ok := contact[name]; ok {
			if _, ok := value.(string); !ok {
				return fmt.Errorf("contact.%s must be a string", name)
			}
		}
	}
	if email, ok := contact["email"].(string); ok && !validEmail(email) {
		return errors.New("contact.email must be an email address")
	}
	if err := checkStrings(contact, "contact", "custom_data"); err != nil {
		return err
	}
	value, ok := contact["http_action_overrides"]
	if !ok {
		return nil
	}
	overrides, ok := value.(map[string]any)
	if !ok {
		return errors.New("contact.http_action_overrides must be an object")
	}
	return checkStrings(overrides, "contact.http_action_overrides", "query_params", "path_params", "body_params", "headers")
}

// checkStrings checks that the named fields, where they are, map strings to
// strings.
func checkStrings(object map[string]any, where string, names ...string) error {
	for _, name := range names {
		value, ok := object[name]
		if !ok {
			continue
		}
		values, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%s.%s must be an object", where, name)
		}
		for key, value := range values {
			if _, ok := value.(string); !ok {
				return fmt.Errorf("%s.%s.%s must be a string", where, name, key)
			}
		}
	}
	return nil
}

// unescape turns a path segment into an ID, "" when it is none, as more than one
// segment is.
func unescape(segment string) string {
	if strings.Contains(segment, "/") {
		return ""
	}
	id, _ := url.PathUnescape(segment) // "" with an error
	return id
}
