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

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// newMetricsServer returns the server of metrics, which listens already.
func newMetricsServer(ctx context.Context, opts options, config *rest.Config, httpClient *http.Client) (*manager.Server, error) {
	handler := promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
	var secure *tls.Config
	if opts.metricsSecure {
		var err error
		if handler, err = authenticated(config, httpClient, handler); err != nil {
			return nil, err
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

const (
	// goodFor is how long it is remembered that somebody may scrape.
	goodFor = time.Minute
	// reviewTimeout bounds how long the API server is waited for.
	reviewTimeout = 10 * time.Second
)

// reviewer asks Kubernetes who wants to scrape, and whether they may. It is not that of
// controller-runtime, which takes a token that is not good for a failure of the API
// server: it answers 500, and logs a stack of calls.
type reviewer struct {
	tokens authenticationclient.TokenReviewInterface
	access authorizationclient.SubjectAccessReviewInterface
	good   *cache.LRUExpireCache // digests of tokens that may
}

func newReviewer(config *rest.Config, httpClient *http.Client) (*reviewer, error) {
	authentication, err := authenticationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("preparing the authentication of who scrapes metrics: %w", err)
	}
	authorization, err := authorizationclient.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, fmt.Errorf("preparing the authorization of who scrapes metrics: %w", err)
	}
	return &reviewer{authentication.TokenReviews(), authorization.SubjectAccessReviews(), cache.NewLRUExpireCache(maxKnown)}, nil
}

// review is the status to answer to who has a token: 200, 401 or 403.
func (v *reviewer) review(ctx context.Context, digest, token string) (int, error) {
	if _, is := v.good.Get(digest); is {
		return http.StatusOK, nil
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	who, err := v.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("reviewing a token: %w", err)
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, nil
	}
	user, extra := who.Status.User, map[string]authorizationv1.ExtraValue{}
	for key, value := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(value)
	}
	may, err := v.access.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
	}}, metav1.CreateOptions{})
	if err != nil {
		return 0, fmt.Errorf("reviewing who may scrape: %w", err)
	}
	if !may.Status.Allowed {
		return http.StatusForbidden, nil
	}
	v.good.Add(digest, nil, goodFor)
	return http.StatusOK, nil
}

// authenticated lets those through to metrics whom Kubernetes authenticates and
// authorizes. Which tokens are good is remembered for a minute; about one that is not,
// the API server is asked each time: gate bounds that.
func authenticated(config *rest.Config, httpClient *http.Client, metrics http.Handler) (http.Handler, error) {
	v, err := newReviewer(config, httpClient)
	if err != nil {
		return nil, err
	}
	g, log := newGate(), ctrl.Log.WithName("metrics")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, metrics, func(digest, token string) int {
			status, err := v.review(r.Context(), digest, token)
			if err != nil {
				log.Error(err, "Asking the API server who scrapes metrics")
				return http.StatusInternalServerError
			}
			return status
		})
	}), nil
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

// serve has metrics answer those whose token review finds good; review is not called
// when the API server is not to be asked.
func (g *gate) serve(w http.ResponseWriter, r *http.Request, metrics http.Handler, review func(digest, token string) int) {
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
	status := review(digest, token)
	g.note(digest, address, status == http.StatusOK)
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	metrics.ServeHTTP(w, r)
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
