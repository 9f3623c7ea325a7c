package opencx

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Every field of a contact stands in more than one place: a new one that is forgotten
// in one of them would be reported as accepted without being sent, or shown unmasked.
func TestEveryFieldOfAContactIsSentAndMasked(t *testing.T) {
	contact, values := Contact{}, []string{}
	fill(reflect.ValueOf(&contact).Elem(), func() Secret {
		values = append(values, fmt.Sprintf("value-%d", len(values)))
		return NewSecret(values[len(values)-1])
	})
	body, err := contact.encode()
	if err != nil || len(values) == 0 {
		t.Fatalf("%d values, error %v", len(values), err)
	}
	masked := contact.values()
	for _, value := range values {
		if !strings.Contains(string(body), `"`+value+`"`) {
			t.Errorf("%s is not sent by Contact.encode(): %s", value, body)
		}
		if !slices.Contains(masked, value) {
			t.Errorf("%s is not masked: it is not in Contact.values()", value)
		}
	}
}

// fill sets every Secret below v to the next value.
func fill(v reflect.Value, next func() Secret) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), next)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]Secret{"key": next()}))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Secret]() {
			v.Set(reflect.ValueOf(next()))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), next)
		}
	}
}
