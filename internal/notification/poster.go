// Package notification posts the operator's events to Flux's notification-controller,
// which tells people of them as its Alert objects say.
package notification

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// attemptTimeout bounds one request. Flux's own controllers wait as long.
	attemptTimeout = 5 * time.Second
	// attempts and pause bound how long one event keeps the others waiting.
	attempts, pause = 3, 2 * time.Second
	// maxWaiting bounds the memory for events that are not posted yet. One has 1 to 2 kB.
	maxWaiting = 1000
	// complaintInterval is the least time between two lines of the log about lost events.
	complaintInterval = time.Minute
)

// Poster posts events, one after the other, while it is started. An event that cannot be
// posted is lost here; Kubernetes has it all the same, and status says more.
type Poster struct {
	address  string
	client   *http.Client
	scheme   *runtime.Scheme
	info     func(message string, details ...any) // the log
	instance string

	waiting   chan eventv1.Event
	lost      atomic.Int64 // since the log was told
	complaint rate.Sometimes
}

// NewPoster returns a poster to address, of events about objects of scheme. It asks
// no proxy, which would see them, and which has no business within a cluster.
func NewPoster(address *url.URL, scheme *runtime.Scheme) *Poster {
	instance, _ := os.Hostname() // it is optional
	return &Poster{
		address: address.String(),
		client: &http.Client{
			Transport:     &http.Transport{IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 16 << 10},
			Timeout:       attemptTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		scheme: scheme, info: log.Log.WithName("notification").Info, instance: instance,
		waiting: make(chan eventv1.Event, maxWaiting), complaint: rate.Sometimes{Interval: complaintInterval},
	}
}

// Start implements manager.Runnable. When ctx ends, it finishes the request that is under
// way, and the events that wait are lost. It returns no error.
func (p *Poster) Start(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case event := <-p.waiting:
			if err := p.post(ctx, &event); err != nil {
				p.lose(err)
			}
		}
	}
	return nil
}

// enqueue has event posted soon, and blocks for nothing.
func (p *Poster) enqueue(event *eventv1.Event) {
	select {
	case p.waiting <- *event:
	default:
		p.lose(errors.New("too many events wait already"))
	}
}

// lose counts an event that is not posted, and tells of it, though seldom.
func (p *Poster) lose(err error) {
	p.lost.Add(1)
	p.complaint.Do(func() {
		p.info("Events were not posted to notification-controller", "address", p.address, "events", p.lost.Swap(0), "error", err.Error())
	})
}

// post posts event, again when a failure may pass.
func (p *Poster) post(ctx context.Context, event *eventv1.Event) error {
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("writing an event as JSON: %w", err)
	}
	for attempt := 1; ; attempt++ {
		again, err := p.attempt(ctx, body)
		if err == nil || !again || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// attempt sends one request, which the end of ctx does not cancel. again says whether an
// error may pass.
func (p *Poster) attempt(ctx context.Context, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, p.address, bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("making the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return true, err // it names the address
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, 4<<10) // so that the connection can be used again
	switch code := response.StatusCode; {
	case code >= 200 && code < 300:
		return false, nil
	case code == http.StatusTooManyRequests:
		return false, nil // it was told the same of this object within five minutes
	default:
		return code >= 500, fmt.Errorf("notification-controller answered %d", code)
	}
}
