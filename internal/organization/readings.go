package organization

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

// readings are what organizations need of the Secrets that they name. A version of a
// Secret is read once, however many organizations name it: somebody may label every
// second the one that has the keys of hundreds.
type readings struct {
	bySecret map[types.NamespacedName]*reading
	uses     map[types.NamespacedName]use // by organization
}

// reading is what a Secret held when it was read last.
type reading struct {
	secret  types.NamespacedName
	uid     types.UID // "" when it did not exist
	version string
	fields  map[string]content
	users   map[string]int // organizations, by the field that they name
	// The last read has failed with unread: until unreadUntil there is no other one.
	unread      error
	unreadUntil time.Time
}

// content is what a key of a Secret's data says.
type content struct {
	key     opencx.APIKey
	problem *status.Problem
}

// use is that an organization names a field of a Secret.
type use struct {
	reading *reading
	field   string
}

func newReadings() readings {
	return readings{bySecret: map[types.NamespacedName]*reading{}, uses: map[types.NamespacedName]use{}}
}

// use notes what an organization names now, and returns what is known of that Secret.
func (r *readings) use(organization, secret types.NamespacedName, field string) *reading {
	if before, uses := r.uses[organization]; uses && before.reading.secret == secret && before.field == field {
		return before.reading
	}
	r.drop(organization)
	of := r.bySecret[secret]
	if of == nil {
		of = &reading{secret: secret, fields: map[string]content{}, users: map[string]int{}}
		r.bySecret[secret] = of
	}
	of.users[field]++
	r.uses[organization] = use{of, field}
	return of
}

// drop forgets what an organization named, unless others name it too.
func (r *readings) drop(organization types.NamespacedName) {
	before, uses := r.uses[organization]
	if !uses {
		return
	}
	delete(r.uses, organization)
	of := before.reading
	if of.users[before.field]--; of.users[before.field] == 0 {
		delete(of.users, before.field)
		delete(of.fields, before.field)
	}
	if len(of.users) == 0 {
		delete(r.bySecret, of.secret)
	}
}

// knows says whether what a field held is known of a version of the Secret, or of a
// later one.
func (r *reading) knows(from source, version string) bool {
	_, known := r.fields[from.field]
	return known && r.uid == from.uid && !isNewer(version, r.version)
}

// set notes what a Secret holds, nil for one that does not exist: nothing of it but
// what organizations name.
func (r *reading) set(secret *corev1.Secret) {
	r.uid, r.version = "", ""
	if secret != nil {
		r.uid, r.version = secret.UID, secret.ResourceVersion
	}
	for field := range r.users {
		r.fields[field] = contentOf(secret, r.secret.Name, field)
	}
}

func contentOf(secret *corev1.Secret, name, field string) content {
	missing := func(message string) content {
		return content{problem: &status.Problem{Reason: v1alpha1.APIKeyNotFoundReason, Missing: true, Message: message}}
	}
	if secret == nil {
		return missing(fmt.Sprintf("spec.apiKeySecretRef: Secret %q does not exist: create it with the API key under %q", name, field))
	}
	value, found := secret.Data[field]
	if !found {
		return missing(fmt.Sprintf("spec.apiKeySecretRef: Secret %q has no key %q: add it, or name another one", name, field))
	}
	key, err := opencx.NewAPIKey(value)
	if err != nil {
		return content{problem: &status.Problem{Reason: v1alpha1.APIKeyInvalidReason, Message: fmt.Sprintf("spec.apiKeySecretRef: key %q of Secret %q: %s: correct it", field, name, err)}}
	}
	return content{key: key}
}
