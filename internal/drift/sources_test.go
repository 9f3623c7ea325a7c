package drift

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/desired"
)

// server is an API server that counts what is read, as "Kind namespace/name".
type server struct {
	mu    sync.Mutex
	reads map[string]int
	// get answers; nothing exists without it.
	get func(client.Object) error
}

// Get implements client.Reader.
func (s *server) Get(_ context.Context, name client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	s.count(fmt.Sprintf("%s %s", reflect.TypeOf(object).Elem().Name(), name))
	if s.get == nil {
		return apierrors.NewNotFound(schema.GroupResource{}, name.Name)
	}
	object.SetName(name.Name)
	return s.get(object)
}

// List implements client.Reader.
func (s *server) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	s.count(reflect.TypeOf(list).Elem().Name())
	return nil
}

func (s *server) count(read string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads == nil {
		s.reads = map[string]int{}
	}
	s.reads[read]++
}

func (s *server) want(t *testing.T, reads map[string]int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !reflect.DeepEqual(s.reads, reads) {
		t.Errorf("reads: %v, want %v", s.reads, reads)
	}
}

// holding has n bytes of data in every object, in a key of one byte.
func holding(n int) func(client.Object) error {
	return func(object client.Object) error {
		object.SetUID("uid of " + types.UID(object.GetName()))
		object.SetResourceVersion("7")
		object.SetAnnotations(map[string]string{corev1.LastAppliedConfigAnnotation: "{}"})
		switch object := object.(type) {
		case *corev1.Secret:
			object.Data = map[string][]byte{"k": make([]byte, n-1)}
		case *corev1.ConfigMap:
			object.Data = map[string]string{"k": strings.Repeat("x", n-2)}
			object.BinaryData = map[string][]byte{"b": {}}
		}
		return nil
	}
}

func in(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

func TestEachObjectIsReadOnce(t *testing.T) {
	live := &server{get: holding(10)}
	sources := NewSources(live, new(atomic.Int64))
	for range 3 {
		var secret corev1.Secret
		if err := sources.Get(t.Context(), in("shop", "jane"), &secret); err != nil {
			t.Fatal(err)
		}
		want := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "jane", UID: "uid of jane", ResourceVersion: "7"}, Data: map[string][]byte{"k": make([]byte, 9)}}
		if !reflect.DeepEqual(secret, want) {
			t.Error("the Secret is another one")
		}
		var configMap corev1.ConfigMap
		if err := sources.Get(t.Context(), in("shop", "jane"), &configMap); err != nil || configMap.UID != "uid of jane" || configMap.Data["k"] != "xxxxxxxx" {
			t.Errorf("the ConfigMap is another one, error %v", err)
		}
		if err := sources.Get(t.Context(), in("other", "jane"), &secret); err != nil {
			t.Fatal(err)
		}
	}
	live.want(t, map[string]int{"Secret shop/jane": 1, "ConfigMap shop/jane": 1, "Secret other/jane": 1})
}

func TestContactsShareTheirSources(t *testing.T) {
	live := &server{get: holding(10)}
	sources := NewSources(live, new(atomic.Int64))
	spec := v1alpha1.OpenCXContactSpec{NameFrom: &v1alpha1.ValueSource{ConfigMapKeyRef: &v1alpha1.KeySelector{Name: "names", Key: "k"}}}
	for range 3 {
		contact, versions, err := desired.ReadListed(t.Context(), sources, "shop", &spec)
		if err != nil || contact.Name == nil || !contact.Name.Matches("xxxxxxxx", nil) {
			t.Errorf("the contact is another one, error %v", err)
		}
		if want := (desired.Versions{{Kind: desired.ConfigMapKind, Name: "names"}: {UID: "uid of names", ResourceVersion: "7"}}); !reflect.DeepEqual(versions, want) {
			t.Errorf("versions: %v, want %v", versions, want)
		}
	}
	live.want(t, map[string]int{"ConfigMap shop/names": 1})
}

func TestWhatDoesNotExistIsLookedForOnce(t *testing.T) {
	live := &server{}
	sources := NewSources(live, new(atomic.Int64))
	for range 3 {
		if err := sources.Get(t.Context(), in("shop", "jane"), &corev1.Secret{}); !apierrors.IsNotFound(err) {
			t.Errorf("error = %v", err)
		}
	}
	live.want(t, map[string]int{"Secret shop/jane": 1})
}

func TestAnErrorIsNotKept(t *testing.T) {
	down := errors.New("connection refused")
	live := &server{get: func(client.Object) error { return down }}
	sources := NewSources(live, new(atomic.Int64))
	for range 2 {
		if err := sources.Get(t.Context(), in("shop", "jane"), &corev1.Secret{}); !errors.Is(err, down) {
			t.Errorf("error = %v, want %v", err, down)
		}
	}
	live.get = holding(10)
	for range 2 {
		if err := sources.Get(t.Context(), in("shop", "jane"), &corev1.Secret{}); err != nil {
			t.Error(err)
		}
	}
	live.want(t, map[string]int{"Secret shop/jane": 3})
}

func TestOthersWaitForAReadThatIsUnderWay(t *testing.T) {
	down := errors.New("connection refused")
	for name, want := range map[string]error{"that succeeds": nil, "that fails": down} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answer := make(chan struct{})
				live := &server{get: func(object client.Object) error {
					<-answer
					return errors.Join(want, holding(10)(object))
				}}
				sources := NewSources(live, new(atomic.Int64))
				var all sync.WaitGroup
				for range 50 {
					all.Go(func() {
						var secret corev1.Secret
						err := sources.Get(t.Context(), in("shop", "jane"), &secret)
						if !errors.Is(err, want) || want == nil && len(secret.Data["k"]) != 9 {
							t.Errorf("error = %v, want %v", err, want)
						}
					})
				}
				synctest.Wait()
				close(answer)
				all.Wait()
				live.want(t, map[string]int{"Secret shop/jane": 1})
			})
		})
	}
}

func TestWhoWaitsMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		live := &server{get: func(client.Object) error { <-answer; return nil }}
		sources := NewSources(live, new(atomic.Int64))
		go func() { _ = sources.Get(t.Context(), in("shop", "jane"), &corev1.Secret{}) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := sources.Get(ctx, in("shop", "jane"), &corev1.Secret{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v", err)
		}
		close(answer)
	})
}

func TestManyReadManyAtOnce(t *testing.T) {
	live := &server{get: holding(10)}
	sources := NewSources(live, new(atomic.Int64))
	want := map[string]int{}
	var all sync.WaitGroup
	for i := range 50 {
		name := fmt.Sprintf("jane-%d", i%7)
		want["Secret shop/"+name], want["ConfigMap shop/"+name] = 1, 1
		all.Go(func() {
			for range 20 {
				var secret corev1.Secret
				var configMap corev1.ConfigMap
				err := errors.Join(sources.Get(t.Context(), in("shop", name), &secret), sources.Get(t.Context(), in("shop", name), &configMap))
				if err != nil || len(secret.Data["k"]) != 9 || len(configMap.Data["k"]) != 8 {
					t.Errorf("another object, error %v", err)
				}
			}
		})
	}
	all.Wait()
	live.want(t, want)
}

func TestSoMuchIsKeptAndNoMore(t *testing.T) {
	live := &server{get: holding(8 << 20)}
	sources := NewSources(live, new(atomic.Int64))
	get := func(name string, object client.Object, want error) {
		t.Helper()
		if err := sources.Get(t.Context(), in("shop", name), object); !errors.Is(err, want) {
			t.Errorf("%T %s: error = %v, want %v", object, name, err, want)
		}
	}
	for i := range 4 {
		get(fmt.Sprint(i), []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}[i%2], nil)
	}
	// 32 MiB are kept. What holds nothing still fits; then one comes that does not.
	live.get = func(client.Object) error { return nil }
	get("empty", &corev1.Secret{}, nil)
	live.get = holding(2)
	var crossing corev1.Secret
	get("crossing", &crossing, nil)
	if len(crossing.Data["k"]) != 1 {
		t.Error("the object that crosses the bound is another one")
	}
	get("crossing", &corev1.Secret{}, ErrTooMuch)
	get("next", &corev1.ConfigMap{}, ErrTooMuch)
	get("0", &corev1.Secret{}, nil)
	get("1", &corev1.ConfigMap{}, nil)
	get("empty", &corev1.Secret{}, nil)
	get("next", &corev1.Namespace{}, nil)
	live.want(t, map[string]int{
		"Secret shop/0": 1, "ConfigMap shop/1": 1, "Secret shop/2": 1, "ConfigMap shop/3": 1,
		"Secret shop/empty": 1, "Secret shop/crossing": 1, "Namespace shop/next": 1,
	})
}

func TestWhatIsReadWhileTheLastFitsIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		live := &server{get: func(object client.Object) error { <-answer; return holding(20 << 20)(object) }}
		sources := NewSources(live, new(atomic.Int64))
		var all sync.WaitGroup
		for _, name := range []string{"a", "b", "c"} {
			all.Go(func() {
				if err := sources.Get(t.Context(), in("shop", name), &corev1.Secret{}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(answer)
		all.Wait()
		if len(sources.readings) != 1 || sources.own != 20<<20 {
			t.Errorf("%d objects of %d bytes are kept", len(sources.readings), sources.own)
		}
	})
}

func TestOtherKindsAndListsAreReadEachTime(t *testing.T) {
	live := &server{get: holding(10)}
	sources := NewSources(live, new(atomic.Int64))
	for range 2 {
		err := errors.Join(
			sources.Get(t.Context(), in("", "shop"), &corev1.Namespace{}),
			sources.Get(t.Context(), in("shop", "jane"), &metav1.PartialObjectMetadata{}),
			sources.List(t.Context(), &corev1.SecretList{}))
		if err != nil {
			t.Error(err)
		}
	}
	live.want(t, map[string]int{"Namespace /shop": 2, "PartialObjectMetadata shop/jane": 2, "SecretList": 2})
}

func TestAllSweepsKeepSoMuchTogether(t *testing.T) {
	var kept atomic.Int64
	live := &server{get: holding(20 << 20)}
	one, another := NewSources(live, &kept), NewSources(live, &kept)
	get := func(s *Sources, name string, want error) {
		t.Helper()
		if err := s.Get(t.Context(), in("shop", name), &corev1.Secret{}); !errors.Is(err, want) {
			t.Errorf("%s: error = %v, want %v", name, err, want)
		}
	}
	get(one, "a", nil)
	get(another, "b", nil) // and is not kept
	get(another, "b", ErrTooMuch)
	one.Close()
	get(one, "a", ErrTooMuch)
	another.Close()
	if kept.Load() != 0 {
		t.Errorf("%d bytes count as kept", kept.Load())
	}
	later := NewSources(live, &kept)
	get(later, "b", nil)
	get(later, "b", nil)
	live.want(t, map[string]int{"Secret shop/a": 1, "Secret shop/b": 2})
}
