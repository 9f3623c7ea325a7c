package notification

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

var jane = &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{
	Namespace: "shop", Name: "jane", UID: "u-1", ResourceVersion: "7",
	Annotations: map[string]string{"event.toolkit.fluxcd.io/note": "private"},
}}

// world is a poster with what it posts to and what it logs.
type world struct {
	*Poster
	recorder events.EventRecorder
	recorded *events.FakeRecorder
	log      []string
	cancel   context.CancelFunc
	ended    chan error
}

// newWorld returns one whose requests go to transport, or to address when that is nil.
func newWorld(t *testing.T, address string, transport http.RoundTripper) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Poster: NewPoster(u, scheme), recorded: events.NewFakeRecorder(3 * maxWaiting), ended: make(chan error, 1)}
	w.info = func(message string, details ...any) {
		w.log = append(w.log, fmt.Sprint(append([]any{message}, details...)...))
	}
	if transport != nil {
		w.client.Transport = transport
	}
	w.recorder = w.Recorder(w.recorded, "opencx-operator")
	return w
}

func (w *world) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() { w.ended <- w.Start(ctx) }()
}

func (w *world) stop(t *testing.T) {
	t.Helper()
	w.cancel()
	if err := <-w.ended; err != nil {
		t.Error(err)
	}
}

func (w *world) tell(n int) {
	for i := range n {
		w.recorder.Eventf(jane, nil, corev1.EventTypeWarning, "Rejected", "UpdateContact", "message %d", i)
	}
}

// answers is in the place of notification-controller: it answers with codes, the last one
// for ever; 0 is no answer.
type answers struct {
	codes    []int
	requests []time.Time
}

func (a *answers) RoundTrip(request *http.Request) (*http.Response, error) {
	code := a.codes[min(len(a.requests), len(a.codes)-1)]
	a.requests = append(a.requests, time.Now())
	if code == 0 {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("what it says"))}, nil
}

func TestAnEventIsPostedAsFluxReadsIt(t *testing.T) {
	type received struct {
		event eventv1.Event
		what  string
	}
	got := make(chan received, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event eventv1.Event
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&event)
		got <- received{event, fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Content-Type"), " ", err)}
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	w := newWorld(t, server.URL+"/", nil)
	w.start(t)
	defer w.stop(t)
	w.recorder.Eventf(jane, nil, corev1.EventTypeWarning, "Rejected", "UpdateContact", "%s", "100% wrong")
	w.recorder.Eventf(jane, nil, corev1.EventTypeNormal, "Synced", "UpdateContact", "%s", "fine")
	want := eventv1.Event{
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "contacts.open.cx/v1alpha1", Kind: "OpenCXContact", Namespace: "shop", Name: "jane", UID: "u-1", ResourceVersion: "7",
		},
		Severity: "error", Message: "100% wrong", Reason: "Rejected", ReportingController: "opencx-operator", ReportingInstance: w.instance,
	}
	for _, change := range []func(){func() {}, func() { want.Severity, want.Message, want.Reason = "info", "fine", "Synced" }} {
		change()
		is := <-got
		if is.what != "POST / application/json <nil>" || time.Since(is.event.Timestamp.Time) > time.Hour {
			t.Errorf("got %s at %s", is.what, is.event.Timestamp)
		}
		is.event.Timestamp = metav1.Time{}
		if fmt.Sprintf("%#v", is.event) != fmt.Sprintf("%#v", want) {
			t.Errorf("got %#v, want %#v", is.event, want)
		}
	}
	if first, second := <-w.recorded.Events, <-w.recorded.Events; first != "Warning Rejected 100% wrong" || second != "Normal Synced fine" {
		t.Errorf("Kubernetes got %q and %q", first, second)
	}
}

func TestWhatAnAnswerMeans(t *testing.T) {
	for name, row := range map[string]struct {
		codes    []int
		requests int
		logged   string
	}{
		"202 is told":                          {[]int{202}, 1, ""},
		"429 was told before":                  {[]int{429}, 1, ""},
		"400 is not tried again":               {[]int{400, 202}, 1, "answered 400"},
		"302 is not followed":                  {[]int{302, 202}, 1, "answered 302"},
		"503 may pass":                         {[]int{503, 503, 202}, 3, ""},
		"500 for ever is tried three times":    {[]int{500}, 3, "answered 500"},
		"no answer is waited for five seconds": {[]int{0}, 3, "context deadline exceeded"},
		"an answer in time after none":         {[]int{0, 429}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &answers{codes: row.codes}
				w := newWorld(t, "http://flux.example.com/", a)
				w.tell(1)
				w.start(t)
				start := time.Now()
				time.Sleep(time.Hour)
				w.stop(t)
				if len(a.requests) != row.requests || a.requests[len(a.requests)-1].Sub(start) > 2*(attemptTimeout+pause) {
					t.Errorf("requests at %v", a.requests)
				}
				log := strings.Join(w.log, "\n")
				if !strings.Contains(log, row.logged) || (row.logged == "") != (log == "") || strings.Contains(log, "what it says") {
					t.Errorf("logged %q, want %q", log, row.logged)
				}
			})
		})
	}
}

func TestAFailureIsLoggedOnceAMinuteWithHowManyEventsWereLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{codes: []int{400}}
		w := newWorld(t, "http://flux.example.com/", a)
		w.start(t)
		for range 30 { // every ten seconds
			w.tell(1)
			time.Sleep(10 * time.Second)
		}
		w.stop(t)
		if len(w.log) != 5 || !strings.Contains(w.log[0], "events1") || !strings.Contains(w.log[4], "events6") {
			t.Errorf("logged %q", w.log)
		}
	})
}

func TestRecordingWaitsForNothingAndKeepsABoundedNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &answers{codes: []int{0}}
		w := newWorld(t, "http://flux.example.com/", a)
		w.start(t)
		start := time.Now()
		w.tell(1)
		synctest.Wait() // one is under way
		w.tell(2 * maxWaiting)
		if time.Since(start) != 0 || len(w.waiting) != maxWaiting || len(w.recorded.Events) != 2*maxWaiting+1 {
			t.Errorf("it took %s, %d wait, Kubernetes got %d", time.Since(start), len(w.waiting), len(w.recorded.Events))
		}
		if len(w.log) != 1 || w.lost.Load() != maxWaiting-1 || !strings.Contains(w.log[0], "too many events wait already") {
			t.Errorf("logged %q, and %d were lost since", w.log, w.lost.Load())
		}
		w.stop(t)
		if time.Since(start) != attemptTimeout || len(a.requests) != 1 {
			t.Errorf("the stop took %s, requests at %v", time.Since(start), a.requests)
		}
	})
}

func TestAnObjectThatCannotBeNamedIsLost(t *testing.T) {
	w := newWorld(t, "http://flux.example.com/", nil)
	w.recorder.Eventf(&corev1.Pod{}, nil, corev1.EventTypeNormal, "Synced", "Observe", "fine")
	if len(w.log) != 1 || !strings.Contains(w.log[0], "naming the object of an event") || len(w.waiting) != 0 {
		t.Errorf("logged %q, %d wait", w.log, len(w.waiting))
	}
}

// endless is a body without an end.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) { e.read += len(b); return len(b), nil }
func (e *endless) Close() error               { return nil }

type oneBody struct{ body *endless }

func (o oneBody) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusAccepted, Body: o.body}, nil
}

func TestLittleIsReadOfAnAnswer(t *testing.T) {
	body := &endless{}
	w := newWorld(t, "http://flux.example.com/", oneBody{body})
	if again, err := w.attempt(t.Context(), nil); again || err != nil || body.read > 64<<10 {
		t.Errorf("again = %t, error = %v, %d bytes were read", again, err, body.read)
	}
}

func TestNoProxyIsAsked(t *testing.T) {
	w := newWorld(t, "http://flux.example.com/", nil)
	if transport := w.client.Transport.(*http.Transport); transport.Proxy != nil {
		t.Error("it asks a proxy")
	}
}
