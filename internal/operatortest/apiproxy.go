package operatortest

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// APIFault is what happens to a request to the API server.
type APIFault struct {
	// Delay passes first.
	Delay time.Duration
	// Status, when there is one, is the answer instead of the API server's.
	Status *metav1.Status
}

// APIProxy is an API server with faults, on a loopback address. Who asks needs the same
// rights as at the API server itself.
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
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	p.EnableHTTP2 = true
	p.StartTLS()
	return p, nil
}

// Kubeconfig is for who has a token.
func (p *APIProxy) Kubeconfig(token string) clientcmdapi.Config {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	return clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"faulty": {Server: p.URL, CertificateAuthorityData: authority}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"bearer": {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{"faulty": {Cluster: "faulty", AuthInfo: "bearer"}},
		CurrentContext: "faulty",
	}
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
