package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// newMetricsServer returns the server of metrics, which listens already.
func newMetricsServer(ctx context.Context, opts options, config *rest.Config, httpClient *http.Client) (*manager.Server, error) {
	handler := promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
	var secure *tls.Config
	if opts.metricsSecure {
		filter, err := authenticated(config, httpClient)
		if err != nil {
			return nil, err
		}
		if handler, err = filter(ctrl.Log.WithName("metrics"), handler); err != nil {
			return nil, fmt.Errorf("preparing metrics: %w", err)
		}
		certificate, err := selfSigned()
		if err != nil {
			return nil, err
		}
		secure = &tls.Config{Certificates: []tls.Certificate{certificate}}
		http1(secure)
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", handler)
	return newServer(ctx, "metrics", opts.metricsAddress, mux, secure)
}

// http1 keeps HTTP/2 from being agreed on, with which one connection can make many
// requests at once, and take them back.
func http1(config *tls.Config) {
	config.NextProtos = []string{"http/1.1"}
	config.MinVersion = tls.VersionTLS12
}

const (
	// maxToken is far above what Kubernetes and its providers of identities issue.
	maxToken = 8 << 10
	// knownFor is longer than anybody waits between two scrapes.
	knownFor = 10 * time.Minute
	// maxKnown bounds what somebody can fill who may scrape, and makes many tokens.
	maxKnown = 100
	// strangersEvery and strangersAtOnce bound what is asked of the API server for
	// those who are not known.
	strangersEvery, strangersAtOnce = time.Second, 10
)

// accepted is the key of what a request's context holds to be told that Kubernetes
// has let the request through.
type accepted struct{}

// authenticated lets those through whom Kubernetes authenticates and authorizes.
// controller-runtime remembers for a minute which tokens are good, and asks the API
// server each time about one that is not: gate bounds that.
func authenticated(config *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	filter, err := filters.WithAuthenticationAndAuthorization(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("preparing the authentication of who scrapes metrics: %w", err)
	}
	g := newGate()
	return func(log logr.Logger, metrics http.Handler) (http.Handler, error) {
		checked, err := filter(log, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			*r.Context().Value(accepted{}).(*bool) = true
			metrics.ServeHTTP(w, r)
		}))
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, checked) }), err
	}, nil
}

// gate keeps those who are not known from making the operator ask the API server much,
// and from keeping those out who are.
type gate struct {
	// known are tokens, by their digest, and addresses that were let through; of an
	// address, the limit of other tokens from there: a scraper's token is renewed.
	known     *cache.LRUExpireCache
	strangers *rate.Limiter
}

func newGate() *gate {
	return &gate{known: cache.NewLRUExpireCache(maxKnown), strangers: newLimiter()}
}

func newLimiter() *rate.Limiter { return rate.NewLimiter(rate.Every(strangersEvery), strangersAtOnce) }

// serve has checked answer, unless the API server is not to be asked.
func (g *gate) serve(w http.ResponseWriter, r *http.Request, checked http.Handler) {
	// A token may come in this header, too, and each one is asked about.
	r.Header.Del("Sec-Websocket-Protocol")
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	switch {
	case r.Method != http.MethodGet: // the API server is asked about each method
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
		return
	case !strings.EqualFold(scheme, "bearer") || token == "" || len(token) > maxToken:
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	digest := fmt.Sprintf("token %x", sha256.Sum256([]byte(token)))
	address, _, _ := net.SplitHostPort(r.RemoteAddr) // which the server writes
	if !g.allows(digest, address) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "Too many requests with unknown tokens", http.StatusTooManyRequests)
		return
	}
	isGood := false
	checked.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), accepted{}, &isGood)))
	g.note(digest, address, isGood)
}

// allows says whether the API server may be asked about a token.
func (g *gate) allows(digest, address string) bool {
	if _, known := g.known.Get(digest); known {
		return true // it is remembered, or asked about once a minute
	}
	if others, known := g.known.Get(address); known {
		return others.(*rate.Limiter).Allow()
	}
	return g.strangers.Allow()
}

// note notes what became of a request.
func (g *gate) note(digest, address string, isGood bool) {
	if !isGood {
		g.known.Remove(digest) // it has expired, or was taken back
		return
	}
	others, known := g.known.Get(address)
	if !known {
		others = newLimiter()
	}
	g.known.Add(digest, nil, knownFor)
	g.known.Add(address, others, knownFor)
}
