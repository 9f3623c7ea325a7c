package drift

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/internal/desired"
)

// ErrTooMuch says that an object was not read, because those that were read before hold
// all the data that may be kept, or because the sweep is over.
var ErrTooMuch = errors.New("the Secrets and ConfigMaps of sweeps hold more than 32 MiB")

// maxKept is how much data of all objects is kept, of all sweeps together, in bytes.
const maxKept = 32 << 20

// Sources reads each Secret and ConfigMap of one sweep at most once from the API server,
// and keeps it, or that it does not exist. Whoever asks during the read waits for it and
// has its result. An error of the API server is not kept, and the next one who asks reads
// again. Other kinds, and lists, go to the API server.
//
// What Get returns shares its data with what is kept: nobody may change it.
type Sources struct {
	client.Reader

	mu       sync.Mutex
	readings map[place]*reading
	own      int // bytes of data in readings
	full     bool
	kept     *atomic.Int64 // of all Sources
}

// place is where an object is.
type place struct {
	kind string
	types.NamespacedName
}

// reading is one read of an object. object and err are set before done is closed, and
// not changed thereafter.
type reading struct {
	done   chan struct{}
	object client.Object
	err    error
}

// NewSources returns Sources that have read nothing yet from live. kept counts the bytes
// that are kept, by them and others.
func NewSources(live client.Reader, kept *atomic.Int64) *Sources {
	return &Sources{Reader: live, readings: map[place]*reading{}, kept: kept}
}

// Close forgets what is kept, and keeps nothing more.
func (s *Sources) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept.Add(-int64(s.own))
	s.own, s.full = 0, true
	clear(s.readings)
}

// Get implements client.Reader. It returns ErrTooMuch for an object that is not kept once
// there was one that would have made it more than 32 MiB; that one is returned, to those
// who asked before its read ended. After Close, it returns ErrTooMuch for all.
func (s *Sources) Get(ctx context.Context, name client.ObjectKey, object client.Object, options ...client.GetOption) error {
	switch object := object.(type) {
	case *corev1.Secret:
		found, err := s.read(ctx, place{desired.SecretKind, name}, &corev1.Secret{}, options)
		if err == nil {
			*object = *found.(*corev1.Secret)
		}
		return err
	case *corev1.ConfigMap:
		found, err := s.read(ctx, place{desired.ConfigMapKind, name}, &corev1.ConfigMap{}, options)
		if err == nil {
			*object = *found.(*corev1.ConfigMap)
		}
		return err
	}
	return s.Reader.Get(ctx, name, object, options...)
}

// read returns what is kept, or else reads it into object.
func (s *Sources) read(ctx context.Context, at place, object client.Object, options []client.GetOption) (client.Object, error) {
	r, isFirst := s.begin(at, object)
	switch {
	case r == nil:
		return nil, ErrTooMuch
	case isFirst:
		r.err = s.Reader.Get(ctx, at.NamespacedName, object, options...)
		s.end(at, r)
		return r.object, r.err
	}
	select {
	case <-r.done:
		return r.object, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// begin returns the reading of an object, which the first who asks has to do and end; nil
// when nothing more is read.
func (s *Sources) begin(at place, object client.Object) (r *reading, isFirst bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, found := s.readings[at]; found {
		return r, false
	}
	if s.full {
		return nil, false
	}
	r = &reading{done: make(chan struct{}), object: object}
	s.readings[at] = r
	return r, true
}

// end keeps what was read, or forgets it.
func (s *Sources) end(at place, r *reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(r.done)
	if apierrors.IsNotFound(r.err) {
		return
	}
	if r.err != nil {
		delete(s.readings, at)
		return
	}
	// The annotation last-applied-configuration holds all data once more, and nobody asks
	// for the rest.
	r.object.SetAnnotations(nil)
	r.object.SetLabels(nil)
	r.object.SetManagedFields(nil)
	size := sizeOf(r.object)
	if !s.full {
		if s.full = s.kept.Add(int64(size)) > maxKept; !s.full {
			s.own += size
			return
		}
		s.kept.Add(-int64(size))
	}
	delete(s.readings, at)
}

// sizeOf is how much data an object holds, with its keys, in bytes.
func sizeOf(object client.Object) (size int) {
	switch object := object.(type) {
	case *corev1.Secret:
		size = sizeOfAll(object.Data)
	case *corev1.ConfigMap:
		size = sizeOfAll(object.Data) + sizeOfAll(object.BinaryData)
	}
	return size
}

func sizeOfAll[T string | []byte](data map[string]T) (size int) {
	for key, value := range data {
		size += len(key) + len(value)
	}
	return size
}
