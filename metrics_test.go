package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// endpoint is the metrics endpoint beside a real API server.
type endpoint struct {
	address string
	reviews atomic.Int32 // of tokens and of access, that the API server was asked for
	kubectl func(args ...string) string
}

// roundTripper is a function that is one.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func startEndpoint(t *testing.T) *endpoint {
	t.Helper()
	plane, err := operatortest.StartControlPlane()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	e := &endpoint{kubectl: func(args ...string) string {
		t.Helper()
		output, err := plane.Kubectl(t.Context(), "", args...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(output)
	}}
	config, err := clientcmd.BuildConfigFromFlags("", plane.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "reviews") {
				e.reviews.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	e.serve(t, config)
	return e
}

func (e *endpoint) serve(t *testing.T, config *rest.Config) {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	opts, _, err := parse("--metrics-bind-address=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := newMetricsServer(t.Context(), opts, config, client)
	if err != nil {
		t.Fatal(err)
	}
	e.address = server.Listener.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// scraper makes the token of a ServiceAccount that may scrape.
func (e *endpoint) scraper(name string) string {
	e.kubectl("create", "serviceaccount", name)
	e.kubectl("create", "clusterrole", name, "--verb=get", "--non-resource-url=/metrics")
	e.kubectl("create", "clusterrolebinding", name, "--clusterrole="+name, "--serviceaccount=default:"+name)
	return e.kubectl("create", "token", name)
}

// ask makes one request of its own connection.
func (e *endpoint) ask(t *testing.T, method, token string, set ...func(*http.Request)) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+e.address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	for _, set := range set {
		set(request)
	}
	client := &http.Client{Transport: &http.Transport{ // it asks for HTTP/2
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, ForceAttemptHTTP2: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	return response
}

func TestTheMetricsEndpoint(t *testing.T) {
	e := startEndpoint(t)
	good := e.scraper("good")
	t.Run("refuses without the API server what is no scrape", func(t *testing.T) { refusesWhatIsNoScrape(t, e, good) })
	t.Run("asks about one token of a request", func(t *testing.T) { takesNoSecondToken(t, e) })
	t.Run("asks little about tokens that are not good, and goes on for one that is", func(t *testing.T) { asksLittle(t, e, good) })
	t.Run("refuses who may not scrape", func(t *testing.T) {
		e.kubectl("create", "serviceaccount", "nobody")
		nobody := e.kubectl("create", "token", "nobody")
		time.Sleep(strangersEvery) // the case before has used up what strangers have
		if got := e.ask(t, http.MethodGet, nobody).StatusCode; got != http.StatusForbidden {
			t.Errorf("it is answered %d, want 403", got)
		}
	})
	t.Run("speaks HTTP/1.1 alone", func(t *testing.T) { speaksHTTP1(t, e, good) })
}

func asksLittle(t *testing.T, e *endpoint, good string) {
	refused := 0
	if got := e.ask(t, http.MethodGet, good).StatusCode; got != 200 {
		t.Fatalf("a good scraper is answered %d", got)
	}
	began, before := time.Now(), e.reviews.Load()
	for i := range 100 {
		switch got := e.ask(t, http.MethodGet, fmt.Sprintf("bogus-%d", i)).StatusCode; got {
		case 200:
			t.Fatal("the metrics are open to everybody")
		case 429:
			refused++
		}
		if got := e.ask(t, http.MethodGet, good).StatusCode; got != 200 {
			t.Errorf("beside %d bogus tokens a good scraper is answered %d", i+1, got)
		}
	}
	// The good one is asked about twice a minute: who it is, and whether it may.
	most := int(strangersAtOnce) + int(time.Since(began)/strangersEvery) + 2*int(time.Since(began)/time.Minute+1)
	if asked := int(e.reviews.Load() - before); asked > most || refused < 100-most {
		t.Errorf("100 bogus tokens: the API server was asked %d times, want %d at most; %d were refused without that", asked, most, refused)
	}
}

func refusesWhatIsNoScrape(t *testing.T, e *endpoint, good string) {
	for name, tt := range map[string]struct {
		method, token string
		set           func(*http.Request)
		want          int
	}{
		"no token":                  {"GET", "", func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"an empty token":            {"GET", "", func(*http.Request) {}, 401},
		"a password":                {"GET", "", func(r *http.Request) { r.SetBasicAuth("a", "b") }, 401},
		"a token that is too large": {"GET", strings.Repeat("x", maxToken+1), func(*http.Request) {}, 401},
		"another method":            {"POST", good, func(*http.Request) {}, 405},
		"a method of one's own":     {"GETTING", good, func(*http.Request) {}, 405},
		"a token as a subprotocol": {"GET", "", func(r *http.Request) {
			r.Header.Del("Authorization")
			asSubprotocol(r)
		}, 401},
	} {
		if got := e.ask(t, tt.method, tt.token, tt.set).StatusCode; got != tt.want {
			t.Errorf("%s is answered %d, want %d", name, got, tt.want)
		}
	}
	if asked := e.reviews.Load(); asked != 0 {
		t.Errorf("the API server was asked %d times", asked)
	}
}

// asSubprotocol puts a bogus token where a WebSocket has it.
func asSubprotocol(r *http.Request) {
	r.Header.Set("Connection", "upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.Ym9ndXM, v4")
}

func takesNoSecondToken(t *testing.T, e *endpoint) {
	before := e.reviews.Load()
	if got := e.ask(t, http.MethodGet, "bogus beside another", asSubprotocol).StatusCode; got != http.StatusUnauthorized {
		t.Errorf("a bogus token is answered %d, want 401", got)
	}
	if asked := e.reviews.Load() - before; asked != 1 {
		t.Errorf("about two tokens of a request the API server was asked %d times, want once, about the one in the header", asked)
	}
}

func speaksHTTP1(t *testing.T, e *endpoint, good string) {
	if got := e.ask(t, http.MethodGet, good); got.StatusCode != http.StatusOK || got.Proto != "HTTP/1.1" {
		t.Errorf("a client that would rather have HTTP/2 is answered %d in %s", got.StatusCode, got.Proto)
	}
	for name, tt := range map[string]struct {
		config *tls.Config
		agrees string
		fails  bool
	}{
		"a client of either":    {&tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "http/1.1", false},
		"a client of HTTP/2":    {&tls.Config{NextProtos: []string{"h2"}}, "", true},
		"a client of TLS 1.1":   {&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "", true},
		"a client of TLS 1.2":   {&tls.Config{MaxVersion: tls.VersionTLS12}, "", false},
		"a client without ALPN": {&tls.Config{}, "", false},
	} {
		tt.config.InsecureSkipVerify = true
		dialer := tls.Dialer{Config: tt.config}
		connection, err := dialer.DialContext(t.Context(), "tcp", e.address)
		if (err != nil) != tt.fails {
			t.Errorf("%s: error = %v", name, err)
		}
		if err != nil {
			continue
		}
		if got := connection.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != tt.agrees {
			t.Errorf("%s agrees on %q, want %q", name, got, tt.agrees)
		}
		if err := connection.Close(); err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}

func TestTheGateKnowsWhoWasLetThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		expect := func(when, digest, address string, want bool) {
			t.Helper()
			if got := g.allows(digest, address); got != want {
				t.Errorf("%s: %t, want %t", when, got, want)
			}
		}
		g.note("good", "10.0.0.1", true)
		for range strangersAtOnce {
			expect("a stranger", "bad", "10.0.0.9", true)
		}
		expect("a stranger too many", "bad", "10.0.0.9", false)
		expect("a stranger too many from elsewhere", "bad", "10.0.0.8", false)
		expect("a known token", "good", "10.0.0.1", true)
		expect("a known token from elsewhere", "good", "10.0.0.2", true)
		for range strangersAtOnce {
			expect("a renewed token", "renewed", "10.0.0.1", true)
		}
		expect("too many tokens of a known address", "renewed", "10.0.0.1", false)
		time.Sleep(strangersEvery)
		expect("a stranger a second later", "bad", "10.0.0.9", true)
		expect("a second stranger a second later", "bad", "10.0.0.9", false)

		g.note("good", "10.0.0.1", false)
		g.note("bad", "10.0.0.9", false)
		expect("a token that was taken back", "good", "10.0.0.9", false)
		g.note("good", "10.0.0.1", true)
		time.Sleep(knownFor)
		for range strangersAtOnce {
			expect("a stranger later", "bad", "10.0.0.9", true)
		}
		expect("a known token that was long unseen", "good", "10.0.0.9", true)
		time.Sleep(time.Nanosecond)
		expect("a token that was unseen for too long", "good", "10.0.0.9", false)
		expect("an address that was unseen for too long", "renewed", "10.0.0.1", false)
	})
}

func TestTheGateForgetsWhoWasLongestUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		g.note("scraper", "10.0.0.1", true)
		for i := range 10 * maxKnown {
			time.Sleep(time.Millisecond)
			g.note(fmt.Sprint("token ", i), "10.0.0.2", true)
			g.note("scraper", "10.0.0.1", true)
		}
		if got := len(g.known.Keys()); got != maxKnown {
			t.Errorf("%d are known, want %d", got, maxKnown)
		}
		for range strangersAtOnce {
			g.allows("bad", "10.0.0.9")
		}
		if g.allows("token 0", "10.0.0.9") || !g.allows("scraper", "10.0.0.9") || !g.allows("token 999", "10.0.0.9") {
			t.Error("it does not know those who were seen last")
		}
	})
}
