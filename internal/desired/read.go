package desired

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// ValueError says which value of a contact cannot be sent, and what to do. Its
// text never contains a value.
type ValueError struct {
	// Missing says that the Secret or ConfigMap, or the key in it, does not exist.
	Missing bool
	text    string
}

// Error implements error.
func (e *ValueError) Error() string { return e.text }

// Read resolves spec: it reads each Secret and ConfigMap once from the API server,
// and returns what to send and what it was made of. A *ValueError is a matter for
// people; any other error is one of the API server.
func Read(ctx context.Context, live client.Reader, namespace string, spec *v1alpha1.OpenCXContactSpec) (opencx.Payload, Versions, error) {
	r, versions, err := read(ctx, live, namespace, spec, false)
	if err != nil {
		return opencx.Payload{}, nil, err
	}
	payload := r.contact(spec).Payload()
	if payload.Size() > maxBody {
		return opencx.Payload{}, nil, &ValueError{text: fmt.Sprintf("spec has %d bytes as JSON, and at most %d are sent: shorten %s, the longest part of it",
			payload.Size(), maxBody, r.longest().path)}
	}
	return payload, versions, nil
}

// ReadListed is like Read, but of the fields that OpenCX's list of contacts shows alone:
// an object from which only httpActionOverrides takes values is not read. It returns what
// is declared, and the versions of what was read, nil when that is nothing.
func ReadListed(ctx context.Context, reader client.Reader, namespace string, spec *v1alpha1.OpenCXContactSpec) (opencx.Contact, Versions, error) {
	r, versions, err := read(ctx, reader, namespace, spec, true)
	if err != nil {
		return opencx.Contact{}, nil, err
	}
	return r.contact(spec), versions, nil
}

// reading is a contact that is being put together.
type reading struct {
	listed  bool // only of the fields that are listed
	values  map[*field]map[string]opencx.Secret
	size    map[*field]int // in characters, with the names of a map
	private []opencx.Secret
}

// read puts all values together, or with listed only those that are listed.
func read(ctx context.Context, live client.Reader, namespace string, spec *v1alpha1.OpenCXContactSpec, listed bool) (*reading, Versions, error) {
	r := &reading{listed: listed, values: map[*field]map[string]opencx.Secret{}, size: map[*field]int{}}
	if err := r.plain(spec); err != nil {
		return nil, nil, err
	}
	versions, err := r.sources(ctx, live, namespace, spec)
	return r, versions, err
}

// has says whether f is a field of the contact that is put together.
func (r *reading) has(f *field) bool { return f.listed || !r.listed }

// plain adds the values that stand in the manifest. The API server has the same rules,
// but for control characters in headers; the manifest may be older than they are.
func (r *reading) plain(spec *v1alpha1.OpenCXContactSpec) error {
	for i := range fields {
		f := &fields[i]
		declared := f.plain(spec)
		if declared == nil || !r.has(f) {
			continue
		}
		r.values[f] = make(map[string]opencx.Secret, len(declared))
		for _, key := range slices.Sorted(maps.Keys(declared)) {
			if fault := r.add(f, key, declared[key]); fault != "" {
				return &ValueError{text: fmt.Sprintf("%s %s: correct it", f.shown("", key), fault)}
			}
		}
	}
	return nil
}

// add adds one value, or says what is wrong with it.
func (r *reading) add(f *field, key, value string) (fault string) {
	if fault := keyFault(key); fault != "" {
		return fault
	}
	if fault := f.valueFault(value); fault != "" {
		return fault
	}
	if r.size[f] += utf8.RuneCountInString(key) + utf8.RuneCountInString(value); !f.single && r.size[f] > maxMap {
		return fmt.Sprintf("makes %s longer than %d characters with all its names and values, the most that is sent of it", f.path, maxMap)
	}
	if r.values[f] == nil {
		r.values[f] = map[string]opencx.Secret{}
	}
	r.values[f][key] = opencx.NewSecret(value)
	return ""
}

// sources adds the values that are kept in Secrets and ConfigMaps: one object after the
// other, of which nothing stays in memory but what is sent.
func (r *reading) sources(ctx context.Context, live client.Reader, namespace string, spec *v1alpha1.OpenCXContactSpec) (Versions, error) {
	of := map[Object][]source{}
	for _, source := range sourcesOf(spec) {
		if r.has(source.field) {
			of[source.object] = append(of[source.object], source)
		}
	}
	if len(of) > maxObjects {
		return nil, &ValueError{text: fmt.Sprintf("spec takes values from %d Secrets and ConfigMaps, and at most %d are read for a contact: keep its values in fewer of them", len(of), maxObjects)}
	}
	var versions Versions
	for _, object := range Objects(spec) {
		if of[object] == nil {
			continue
		}
		data, version, err := readObject(ctx, live, namespace, object)
		if err != nil {
			return nil, err
		}
		if versions == nil {
			versions = Versions{}
		}
		versions[object] = version
		for _, source := range of[object] {
			if err := r.source(source, data, version != Version{}); err != nil {
				return nil, err
			}
		}
	}
	return versions, nil
}

// source adds what an object holds for a source, without one newline at its end.
func (r *reading) source(s source, data data, exists bool) error {
	value, found := data.get(s.dataKey, s.field.most*utf8.UTFMax+len("\r\n"))
	switch {
	case !found && s.optional:
		return nil
	case !exists:
		return &ValueError{true, fmt.Sprintf("%s: %s does not exist: create it with the value under %q", s.shown(), s.object, s.dataKey)}
	case !found:
		return &ValueError{true, fmt.Sprintf("%s: %s has no key %q: add it, or name another one", s.shown(), s.object, s.dataKey)}
	}
	value = opencx.TrimNewline(value)
	if fault := r.add(s.field, s.key, value); fault != "" {
		return &ValueError{text: fmt.Sprintf("%s: key %q of %s %s: correct it", s.shown(), s.dataKey, s.object, fault)}
	}
	if s.object.Kind == SecretKind {
		r.private = append(r.private, opencx.NewSecret(value))
	}
	return nil
}

func (s source) shown() string { return s.field.shown("From", s.key) }

// contact is what has been put together.
func (r *reading) contact(spec *v1alpha1.OpenCXContactSpec) opencx.Contact {
	contact := opencx.Contact{Private: r.private}
	if spec.HTTPActionOverrides != nil && !r.listed {
		contact.HTTPActionOverrides = &opencx.HTTPActionOverrides{}
	}
	for i := range fields {
		fields[i].send(&contact, r.values[&fields[i]])
	}
	return contact
}

// longest is the field with the most characters.
func (r *reading) longest() *field {
	longest := &fields[0]
	for i := range fields {
		if r.size[&fields[i]] > r.size[longest] {
			longest = &fields[i]
		}
	}
	return longest
}

// data is what a Secret or ConfigMap holds, as it was read.
type data struct {
	texts map[string]string
	bytes map[string][]byte
}

// get returns a value, of which nothing is copied that is longer than longest bytes by
// more than one.
func (d data) get(key string, longest int) (value string, found bool) {
	if text, found := d.texts[key]; found {
		return text, true
	}
	bytes, found := d.bytes[key]
	return string(bytes[:min(len(bytes), longest+1)]), found
}

// readObject returns the data of a Secret or ConfigMap; nothing when it does not
// exist.
func readObject(ctx context.Context, live client.Reader, namespace string, object Object) (data, Version, error) {
	name := types.NamespacedName{Namespace: namespace, Name: object.Name}
	var secret corev1.Secret
	var configMap corev1.ConfigMap
	read := map[string]client.Object{SecretKind: &secret, ConfigMapKind: &configMap}[object.Kind]
	switch err := live.Get(ctx, name, read); {
	case apierrors.IsNotFound(err):
		return data{}, Version{}, nil
	case err != nil:
		return data{}, Version{}, fmt.Errorf("reading %s: %w", object, err)
	}
	version := Version{UID: string(read.GetUID()), ResourceVersion: read.GetResourceVersion()}
	if object.Kind == SecretKind {
		return data{bytes: secret.Data}, version, nil
	}
	return data{configMap.Data, configMap.BinaryData}, version, nil
}
