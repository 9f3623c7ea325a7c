package opencx

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// Every field of a contact stands in more than one place: a new one that is forgotten
// in one of them would be reported as accepted without being sent.
func TestEveryFieldOfAContactIsSent(t *testing.T) {
	contact, values := Contact{}, []string{}
	fill(reflect.ValueOf(&contact).Elem(), func() Secret {
		values = append(values, fmt.Sprintf("value-%d", len(values)))
		return NewSecret(values[len(values)-1])
	})
	if len(values) == 0 {
		t.Fatal("there are no values")
	}
	payload := contact.Payload()
	for _, value := range values {
		if !strings.Contains(payload.body.value, `"`+value+`"`) {
			t.Errorf("%s is not sent by Contact.Payload(): %s", value, payload.body.value)
		}
	}
	if payload.Size() != len(payload.body.value) {
		t.Errorf("size = %d, want %d", payload.Size(), len(payload.body.value))
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
