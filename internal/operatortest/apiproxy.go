package operatortest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// APIFault is what happens to a request to the API server.
type APIFault struct {
	// Delay passes first.
	Delay time.Duration
	// Status, when there is one, is the answer instead of the API server's.
	Status *metav1.Status
}

// APIProxy is an API server with faults, on a loopback address and without TLS. Who asks
// is told by a token, and needs the same rights as at the API server itself.
type APIProxy struct {
	*httptest.Server
	fault atomic.Pointer[func(*http.Request) APIFault]
}

// StartAPIProxy starts one, without faults, in front of the API server.
func (c *ControlPlane) StartAPIProxy() (*APIProxy, error) {
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(c.Config))
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(c.Config.Host)
	if err != nil {
		return nil, err
	}
	p := &APIProxy{}
	forward := &httputil.ReverseProxy{
		Transport:     transport,
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1, // an event of a watch does not wait for the next
		// An API server that is away answers nothing.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := APIFault{}
		if decide := p.fault.Load(); decide != nil {
			fault = (*decide)(r)
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(fault.Delay):
		}
		if fault.Status == nil {
			forward.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if details := fault.Status.Details; details != nil && details.RetryAfterSeconds > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(details.RetryAfterSeconds)))
		}
		w.WriteHeader(int(fault.Status.Code))
		_ = json.NewEncoder(w).Encode(fault.Status)
	}))
	return p, nil
}

// Inject has decide say what happens to each request; it is called for several at a time.
func (p *APIProxy) Inject(decide func(*http.Request) APIFault) { p.fault.Store(&decide) }

// ClearFaults ends what Inject began.
func (p *APIProxy) ClearFaults() { p.fault.Store(nil) }

// Close ends it, and what comes through it.
func (p *APIProxy) Close() {
	p.CloseClientConnections()
	p.Server.Close()
}
