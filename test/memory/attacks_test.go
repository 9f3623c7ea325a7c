//go:build linux

package memory

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

const (
	dozen  = 12 // as many as the operator looks at, at one time
	perMap = 64 // the most that the API server admits
	// anyField is where a source stands in the manifest.
	anyField = `spec\.(customDataFrom|httpActionOverrides\.(query|path|body)ParamsFrom|httpActionOverrides\.headersFrom)\.k\d\d\b`
)

// attack is a number of contacts of one kind.
type attack struct {
	contacts int
	// objects are what the contacts name; nil is nothing.
	objects func() []client.Object
	// source is what stands in each of 320 places of a contact, or 64 with oneMap.
	source func(place int) v1alpha1.ValueSource
	oneMap bool
	tells  string // in the message of each, as a regular expression
}

// mount carries the attack out: all contacts come at once.
func (w *world) mount(ctx SpecContext, a attack) {
	GinkgoHelper()
	if a.objects != nil {
		for _, object := range a.objects() {
			object.SetNamespace(mallory)
			Expect(w.k8s.Create(ctx, object)).To(Succeed())
		}
	}
	mapOf := func(n int) map[string]v1alpha1.ValueSource {
		sources := map[string]v1alpha1.ValueSource{}
		for i := range perMap {
			sources[fmt.Sprintf("k%02d", i)] = a.source(n*perMap + i)
		}
		return sources
	}
	spec := v1alpha1.OpenCXContactSpec{CustomDataFrom: mapOf(0)}
	if !a.oneMap {
		spec.HTTPActionOverrides = &v1alpha1.HTTPActionOverrides{
			QueryParamsFrom: mapOf(1), PathParamsFrom: mapOf(2), BodyParamsFrom: mapOf(3), HeadersFrom: mapOf(4),
		}
	}
	w.declare(ctx, mallory, a.contacts, spec)
}

// declare creates contacts of mallory, whose contactIDs begin with kind.
func (w *world) declare(ctx SpecContext, kind string, n int, spec v1alpha1.OpenCXContactSpec) {
	GinkgoHelper()
	w.attacks++ // so that no contactID comes twice
	if spec.OrganizationRef == nil {
		spec.OrganizationRef = &v1alpha1.OrganizationReference{Namespace: organization.Namespace, Name: organization.Name}
	}
	inParallel(n, func(i int) error {
		contact := &v1alpha1.OpenCXContact{
			ObjectMeta: metav1.ObjectMeta{Namespace: mallory, Name: fmt.Sprintf("%s.%d.%02d", kind, w.attacks, i)}, Spec: *spec.DeepCopy(),
		}
		contact.Spec.ContactID = contact.Name
		return w.k8s.Create(ctx, contact)
	})
}

// The most that fits into an object of Kubernetes, whose limit is 1 MiB, beside its key.
const megabyte = 1<<20 - 64

func plainText() string { return fill("x") }
func controls() string  { return fill("\x01") }
func noText() string    { return fill("\xff") }

func fill(with string) string {
	return (marker + strings.Repeat(with, megabyte))[:megabyte]
}

func objectName(i int) string { return fmt.Sprintf("large-%d", i) }

func configMaps(n int, content func() string) func() []client.Object {
	return func() (all []client.Object) {
		for i := range n {
			all = append(all, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: objectName(i)}, Data: map[string]string{"k": content()}})
		}
		return all
	}
}

func secrets(n int, content func() string) func() []client.Object {
	return func() (all []client.Object) {
		for i := range n {
			all = append(all, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: objectName(i)}, StringData: map[string]string{"k": content()}})
		}
		return all
	}
}

func binaryData(content func() string) func() []client.Object {
	return func() []client.Object {
		return []client.Object{&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: objectName(0)}, BinaryData: map[string][]byte{"k": []byte(content())}}}
	}
}

// manyKeys is a ConfigMap with a value of so many characters for each place.
func manyKeys(characters int, with string) func() []client.Object {
	return func() []client.Object {
		data := map[string]string{}
		for i := range 5 * perMap {
			data[fmt.Sprintf("k-%d", i)] = marker + strings.Repeat(with, characters)
		}
		return []client.Object{&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: objectName(0)}, Data: data}}
	}
}

func configMap(name, key string) v1alpha1.ValueSource {
	return v1alpha1.ValueSource{ConfigMapKeyRef: &v1alpha1.KeySelector{Name: name, Key: key}}
}

func secret(name, key string) v1alpha1.ValueSource {
	return v1alpha1.ValueSource{SecretKeyRef: &v1alpha1.KeySelector{Name: name, Key: key}}
}

func sameKey(of func(name, key string) v1alpha1.ValueSource) func(int) v1alpha1.ValueSource {
	return func(int) v1alpha1.ValueSource { return of(objectName(0), "k") }
}

func ownKey(place int) v1alpha1.ValueSource {
	return configMap(objectName(0), fmt.Sprintf("k-%d", place))
}

func inTurns(place int) v1alpha1.ValueSource { return configMap(objectName(place%dozen), "k") }

// missing names n ConfigMaps that do not exist.
func missing(n int) func(int) v1alpha1.ValueSource {
	return func(place int) v1alpha1.ValueSource {
		source := configMap(fmt.Sprintf("missing-%d", place%n), "k")
		source.ConfigMapKeyRef.Optional = true
		return source
	}
}

// answers are what contacts of mallory are answered, by how their contactIDs begin.
var answers = map[string]http.HandlerFunc{
	"bomb-200": bomb(http.StatusOK), "bomb-422": bomb(http.StatusUnprocessableEntity), "bomb-500": bomb(http.StatusInternalServerError),
	"trickle-200": trickle(http.StatusOK), "trickle-422": trickle(http.StatusUnprocessableEntity),
	"headers": hugeHeaders, "picky": picky, "riddle": riddle,
}

// declareHostile creates contacts that get one of answers.
func (w *world) declareHostile(ctx SpecContext, kind string, n int) {
	GinkgoHelper()
	w.declare(ctx, kind, n, v1alpha1.OpenCXContactSpec{Name: new("accepted")})
}

// declareUsersOfOneSecret creates contacts that take a small value from a Secret which
// has a large one as well.
func (w *world) declareUsersOfOneSecret(ctx SpecContext) (n int) {
	GinkgoHelper()
	data := map[string]string{"small": marker, "ballast": plainText()[:megabyte-64]}
	Expect(w.k8s.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: mallory, Name: "shared"}, StringData: data})).To(Succeed())
	w.declare(ctx, mallory+".user", 64, v1alpha1.OpenCXContactSpec{NameFrom: new(secret("shared", "small"))})
	return 64
}

// flood labels the Secret as fast as the API server takes it, and has the picky
// contacts refused and accepted in turns.
func (w *world) flood(ctx SpecContext, long time.Duration) {
	GinkgoHelper()
	const labellers = 4
	end := time.Now().Add(long)
	var labels, flips atomic.Int64
	var contacts v1alpha1.OpenCXContactList
	Expect(w.k8s.List(ctx, &contacts, client.InNamespace(mallory))).To(Succeed())
	var flipping []v1alpha1.OpenCXContact
	for _, contact := range contacts.Items {
		if strings.HasPrefix(contact.Name, "picky") {
			flipping = append(flipping, contact)
		}
	}
	patch := func(object client.Object, merge string) error {
		return w.k8s.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(merge)))
	}
	inParallel(labellers+len(flipping), func(i int) error {
		for n := 0; time.Now().Before(end); n++ {
			if i < labellers {
				// Changes of one object get into each other's way, so some fail.
				shared := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: mallory, Name: "shared"}}
				shared.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
				if patch(shared, fmt.Sprintf(`{"metadata":{"labels":{"n":"%d-%d"}}}`, i, n)) == nil {
					labels.Add(1)
				}
				continue
			}
			name := []string{"refused", "accepted"}[n%2]
			if patch(flipping[i-labellers].DeepCopy(), fmt.Sprintf(`{"spec":{"name":%q}}`, name)) == nil {
				flips.Add(1)
			}
		}
		return nil
	})
	AddReportEntry(fmt.Sprintf("the Secret was labelled %d times, and contacts were changed %d times", labels.Load(), flips.Load()))
	Expect(labels.Load()).To(BeNumerically(">", 1))
	Expect(flips.Load()).To(BeNumerically(">", 1))
	inParallel(len(flipping), func(i int) error { return patch(&flipping[i], `{"spec":{"name":"accepted"}}`) })
}
