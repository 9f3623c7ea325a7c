package organization

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// keyring is a cache and an API server with one Secret, in which many organizations have
// their keys.
type keyring struct {
	*Organizations
	organizations []*v1alpha1.OpenCXOrganization
	secret        *corev1.Secret // nil when there is none
	version       int            // of the object that was stored last
	reads         int            // live, of the Secret
}

// newKeyring has n organizations, each of which names a field of its own.
func newKeyring(n int) *keyring {
	k := &keyring{}
	k.Organizations = New(Options{Cache: k, Live: k})
	data := map[string]string{}
	for i := range n {
		o := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: fmt.Sprintf("o%03d", i), UID: types.UID(strconv.Itoa(i))}}
		o.Spec.APIKeySecretRef = v1alpha1.APIKeySecretReference{Name: "keys", Key: o.Name}
		k.organizations = append(k.organizations, o)
		data[o.Name] = "ocx_of_" + o.Name
	}
	k.store("a", data)
	return k
}

// store makes data what the Secret of that UID holds.
func (k *keyring) store(uid types.UID, data map[string]string) {
	k.version++
	k.secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{UID: uid, ResourceVersion: strconv.Itoa(k.version)}, Data: map[string][]byte{}}
	for field, value := range data {
		k.secret.Data[field] = []byte(value)
	}
}

// label stores the Secret as it is.
func (k *keyring) label() {
	k.version++
	k.secret = k.secret.DeepCopy()
	k.secret.ResourceVersion = strconv.Itoa(k.version)
}

// Get implements client.Reader.
func (k *keyring) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch into := into.(type) {
	case *v1alpha1.OpenCXOrganization:
		for _, o := range k.organizations {
			if o.Name == name.Name {
				*into = *o
				return nil
			}
		}
	case *metav1.PartialObjectMetadata:
		if k.secret != nil {
			into.ObjectMeta = k.secret.ObjectMeta
			return nil
		}
	case *corev1.Secret:
		k.reads++
		if k.secret != nil {
			*into = *k.secret
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
}

// List implements client.Reader.
func (k *keyring) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	for _, o := range k.organizations {
		into.(*v1alpha1.OpenCXOrganizationList).Items = append(into.(*v1alpha1.OpenCXOrganizationList).Items, *o)
	}
	return nil
}

// expectKeys asks for every organization's key and compares the reads that it took. want
// says what is wrong with a key, "" for nothing, or else it has to be that of held.
func (k *keyring) expectKeys(t *testing.T, when string, reads int, held func(name string) string, want func(name string) string) {
	t.Helper()
	before := k.reads
	for _, o := range k.organizations {
		key, err := k.Key(t.Context(), client.ObjectKeyFromObject(o))
		reason := ""
		if key.Problem != nil {
			reason = key.Problem.Reason
		}
		if err != nil || reason != want(o.Name) {
			t.Fatalf("%s: key of %s: %q, want %q; error %v", when, o.Name, reason, want(o.Name), err)
		}
		if sum := key.Fingerprint("seed"); reason == "" && sum != fingerprint(t, held(o.Name)) {
			t.Fatalf("%s: %s has another key than %s", when, o.Name, held(o.Name))
		}
	}
	if got := k.reads - before; got != reads {
		t.Errorf("%s: the Secret was read %d times, want %d", when, got, reads)
	}
}

func fingerprint(t *testing.T, key string) string {
	t.Helper()
	held, err := opencx.NewAPIKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return held.Fingerprint("seed")
}

func nothing(string) string { return "" }

func always(text string) func(string) string { return func(string) string { return text } }

func TestAVersionOfASecretIsReadOnceForAllWhoNameIt(t *testing.T) {
	k := newKeyring(500)
	held := func(name string) string { return "ocx_of_" + name }
	// One for the first who asks; and one for all others, whose fields are known then.
	k.expectKeys(t, "at the start", 2, held, nothing)
	for range 3 {
		k.label()
		k.expectKeys(t, "once it is labelled", 1, held, nothing)
	}
	k.expectKeys(t, "when nothing has changed", 0, held, nothing)

	rotated := map[string]string{}
	for _, o := range k.organizations {
		rotated[o.Name] = "ocx_rotated_" + o.Name
	}
	k.store("a", rotated)
	held = func(name string) string { return "ocx_rotated_" + name }
	k.expectKeys(t, "once it is rotated", 1, held, nothing)

	k.secret = nil
	k.expectKeys(t, "once it is deleted", 1, held, always(v1alpha1.APIKeyNotFoundReason))
	k.expectKeys(t, "while it is deleted", 0, held, always(v1alpha1.APIKeyNotFoundReason))
	k.store("b", rotated)
	k.expectKeys(t, "once it is created again", 1, held, nothing)

	k.secret.UID, k.secret.ResourceVersion = "c", "1" // as after the restore of a backup
	k.expectKeys(t, "once it is another one with an older version", 1, held, nothing)
}

func TestEachOrganizationHasItsOwnKeyOfASecret(t *testing.T) {
	k := newKeyring(4)
	k.store("a", map[string]string{"o000": "ocx_a", "o001": "ocx_b", "o002": "two\nlines", "other": "ocx_c"})
	want := func(name string) string {
		return map[string]string{"o002": v1alpha1.APIKeyInvalidReason, "o003": v1alpha1.APIKeyNotFoundReason}[name]
	}
	held := func(name string) string {
		return map[string]string{"o000": "ocx_a", "o001": "ocx_b", "o003": "ocx_c"}[name]
	}
	k.expectKeys(t, "two that are right, one that is spoilt, one that is missing", 2, held, want)
	k.label()
	k.expectKeys(t, "labelled", 1, held, want)

	k.organizations[3].Spec.APIKeySecretRef.Key = "other"
	want = func(name string) string { return map[string]string{"o002": v1alpha1.APIKeyInvalidReason}[name] }
	k.expectKeys(t, "once the wrong field is corrected", 1, held, want)
}

func TestOfOneKeyOfASecretAllButTheOldestOrganizationAreDuplicates(t *testing.T) {
	k := newKeyring(500)
	for _, o := range k.organizations {
		o.Spec.APIKeySecretRef.Key = "shared"
	}
	k.store("a", map[string]string{"shared": "ocx_a"})
	want := func(name string) string {
		if name == "o000" {
			return ""
		}
		return v1alpha1.APIKeyInvalidReason // as contacts are told
	}
	k.expectKeys(t, "at the start", 1, always("ocx_a"), want)
	k.label()
	k.expectKeys(t, "labelled", 1, always("ocx_a"), want)
}

func TestNoKeyIsKeptThatNoOrganizationNames(t *testing.T) {
	k := newKeyring(3)
	k.expectKeys(t, "at the start", 2, func(name string) string { return "ocx_of_" + name }, nothing)
	k.organizations[1].Spec.APIKeySecretRef.Key = "o000"
	if _, err := k.Key(t.Context(), client.ObjectKeyFromObject(k.organizations[1])); err != nil {
		t.Fatal(err)
	}
	known := k.keys.readings.bySecret[types.NamespacedName{Namespace: "crm", Name: "keys"}]
	if _, kept := known.fields["o001"]; kept || len(known.fields) != 2 {
		t.Errorf("%d keys are kept, want those of o000 and o002", len(known.fields))
	}
	for i, want := range []int{1, 1, 0} { // o001 names the key of o000, too
		k.ForgetKey(client.ObjectKeyFromObject(k.organizations[i]))
		if got := len(k.keys.readings.bySecret); got != want {
			t.Errorf("without the first %d: %d Secrets are known, want %d", i+1, got, want)
		}
	}
	if len(k.keys.readings.uses)+len(k.keys.held) != 0 {
		t.Errorf("of organizations that are gone, %d uses and %d keys are left", len(k.keys.readings.uses), len(k.keys.held))
	}
}

func TestASecretThatIsNoKeyIsNotKept(t *testing.T) {
	k := newKeyring(1)
	k.store("a", map[string]string{"o000": strings.Repeat("k", 1<<20)})
	k.expectKeys(t, "a mebibyte", 1, nothing, always(v1alpha1.APIKeyInvalidReason))
	own := k.keys.held[client.ObjectKeyFromObject(k.organizations[0])]
	const want = `spec.apiKeySecretRef: key "o000" of Secret "keys": the API key is longer than 4096 bytes: is it a file with more than the key: correct it`
	if own.problem.Message != want || own.key != (heldKey{}.key) {
		t.Errorf("it is told as %q, want %q", own.problem.Message, want)
	}
}
