// Package opencx is a client of the OpenCX REST API. It reports facts: an
// accepted request, or a typed error. It never retries, because every attempt
// spends a shared budget, and it knows nothing of Kubernetes.
package opencx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is where OpenCX serves its API, according to its page.
const DefaultBaseURL = "https://api.open.cx"

// CallTimeout bounds one call as a whole: connect, TLS, request and answer.
const CallTimeout = 10 * time.Second

const (
	connectTimeout = 5 * time.Second
	tlsTimeout     = 5 * time.Second
	headerTimeout  = 9 * time.Second

	// idleTimeout is how long an unused connection is kept. It is less than the 5 s
	// after which Node.js, and other servers, close theirs: a request that goes out at
	// that moment is lost, and the first repetition of a failed one comes after 5 s,
	// too. At 100 requests a minute one comes every 0.6 s and finds the connection
	// open; in quiet times it costs a request a handshake.
	idleTimeout = 4 * time.Second

	// maxErrorBody is how much of an error answer is read, in bytes.
	maxErrorBody = 64 << 10
	// drainTime and maxDrain bound the reading of a body that nobody needs,
	// which is done so that the connection can be used again.
	drainTime = time.Second
	maxDrain  = 64 << 10
)

// Client sends requests to one OpenCX API. It is safe for concurrent use, and
// all its calls share one pool of kept-alive connections.
type Client struct {
	baseURL   *url.URL
	userAgent string
	http      *http.Client
	observe   func(Call)
	large     chan struct{} // has one while a page that is not small is kept
}

// Call is what happened in one request, for metrics.
type Call struct {
	Method string
	// StatusCode is the HTTP status code of the answer, 0 when there was none.
	StatusCode int
	Duration   time.Duration
}

// ParseBaseURL checks the address of an OpenCX API and brings it into the form
// that NewClient takes: https, or http to this machine only, because the key
// travels in a header; no credentials, query or fragment; no slash at its end.
func ParseBaseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		// The error of url.Parse quotes the whole address, which may hold a
		// password.
		return nil, errors.New("it is not a URL: use one like " + DefaultBaseURL)
	}
	switch {
	case u.Host == "" || u.Hostname() == "":
		return nil, errors.New("it names no host: use a URL with https:// and a host, like " + DefaultBaseURL)
	case u.User != nil:
		return nil, errors.New("it must not contain credentials: the API key is configured elsewhere")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("it must not have a query or a fragment")
	case u.Scheme == "https":
	case u.Scheme == "http" && isLoopback(u.Hostname()):
	case u.Scheme == "http":
		return nil, errors.New("http would send the API key in the clear: use https (http is allowed to a loopback address only)")
	default:
		return nil, fmt.Errorf("its scheme is %q: use https", u.Scheme)
	}
	return url.Parse(strings.TrimRight(u.String(), "/"))
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// NewClient returns a client of the API at baseURL, as ParseBaseURL returns it.
// userAgent goes into every request. observe is told of every call; it may be
// nil. Proxies and root certificates come from the usual environment variables.
func NewClient(baseURL *url.URL, userAgent string, observe func(Call)) *Client {
	// With HTTP/2, what is left of a request that was given up would stay on its way as
	// long as others use the connection.
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	transport := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		Protocols:              http1,
		TLSHandshakeTimeout:    tlsTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        idleTimeout,
	}
	if observe == nil {
		observe = func(Call) {}
	}
	return &Client{
		large:     make(chan struct{}, 1),
		baseURL:   baseURL,
		userAgent: userAgent,
		observe:   observe,
		http: &http.Client{
			Transport: transport,
			// A redirect would carry the key and the contact elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// dial opens a connection of which nothing is sent any more once it is closed, nor once the
// process has ended. By default the kernel goes on for minutes to send what is left of it:
// a request that had no answer in time would arrive behind a later one. The server sees a
// reset where it would see an end.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext(ctx, network, address)
	if tcp, is := connection.(*net.TCPConn); is {
		_ = tcp.SetLinger(0) // fails for a connection alone that is gone, on which nothing is sent
	}
	return connection, err
}

// BaseURL is the address of the API, without a slash at its end.
func (c *Client) BaseURL() string { return c.baseURL.String() }

// UpdateContact sends PATCH {base}/contacts/{id}. Any 2xx is success, whatever
// its body. Every other answer is an *APIError, no answer a *NoAnswerError.
// Neither text repeats the key or a private value of the contact. Any other error
// means that nothing was sent.
func (c *Client) UpdateContact(ctx context.Context, key APIKey, id string, contact Payload) error {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	address, err := c.contactURL(id)
	if err != nil {
		return err
	}
	request, err := c.newRequest(ctx, http.MethodPatch, address, key, contact.body.value)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	return c.send(request, append([]Secret{key.Secret}, contact.private...), func(answer *http.Response) error {
		drain(answer.Body)
		return nil
	})
}

// newRequest builds a request that the transport cannot repeat by itself, as it does with a
// GET when a connection goes away, unless that has a body, which may be empty: one slot of
// the budget is one request on the wire.
func (c *Client) newRequest(ctx context.Context, method string, address *url.URL, key APIKey, body string) (*http.Request, error) {
	// The reader's type is hidden, so that the request has no GetBody.
	request, err := http.NewRequestWithContext(ctx, method, c.BaseURL(), io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return nil, fmt.Errorf("building request: %w", err)
	}
	request.URL = address
	request.ContentLength = int64(len(body))
	request.Header.Set("Authorization", "Bearer "+key.value)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.userAgent)
	return request, nil
}

// contactURL returns the address of one contact. The id is one path segment,
// whatever it contains; "." and ".." cannot be escaped, as servers and proxies
// resolve them even in their escaped form, and are refused.
func (c *Client) contactURL(id string) (*url.URL, error) {
	if id == "" || id == "." || id == ".." {
		return nil, fmt.Errorf("contact id %q does not name a contact", id)
	}
	u := c.contactsURL()
	u.RawPath += "/" + url.PathEscape(id)
	u.Path += "/" + id
	return u, nil
}

func (c *Client) contactsURL() *url.URL {
	u := *c.baseURL
	u.RawPath = c.baseURL.EscapedPath() + "/contacts"
	u.Path += "/contacts"
	return &u
}

// send does the round trip, and has a 2xx read by accept. No text of its own errors
// repeats a private value.
func (c *Client) send(request *http.Request, private []Secret, accept func(*http.Response) error) error {
	seen := &wire{}
	request = request.WithContext(seen.watch(request.Context()))
	start := time.Now()
	response, err := c.http.Do(request)
	call := Call{Method: request.Method}
	if err == nil {
		call.StatusCode = response.StatusCode
	}
	call.Duration = time.Since(start)
	c.observe(call)
	if err != nil {
		// The other connections may be as dead as this one: the next call opens its own.
		c.http.CloseIdleConnections()
		return noAnswer(err, seen, private)
	}
	defer func() { _ = response.Body.Close() }()
	// Not every body ends with its request.
	defer context.AfterFunc(request.Context(), func() { _ = response.Body.Close() })()
	if response.StatusCode >= 200 && response.StatusCode < 300 {
		return accept(response)
	}
	return refusal(response, private)
}

func noAnswer(err error, seen *wire, private []Secret) *NoAnswerError {
	cause := err
	// url.Error repeats the method and the address, which are known.
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		cause = urlError.Err
	}
	message := clean(cause.Error(), private)
	if errors.Is(err, context.DeadlineExceeded) {
		message = fmt.Sprintf("none came within %s", CallTimeout)
	}
	if message == "" {
		message = "the request failed"
	}
	return &NoAnswerError{message: message, cause: err, unsent: !seen.connected.Load(), wasIdle: seen.lostIdle(err)}
}

func refusal(response *http.Response, private []Secret) *APIError {
	var body []byte
	if response.StatusCode >= 200 { // else it is a connection of another protocol
		// An error while reading leaves what there is; the status code counts.
		body, _ = io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	}
	return newAPIError(response.StatusCode, response.Header, body, private, time.Now())
}

// drain reads the rest of a body, within bounds. What is left then costs the
// connection, which is closed with the body.
func drain(body io.ReadCloser) {
	stop := time.AfterFunc(drainTime, func() { _ = body.Close() })
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, body, maxDrain)
}
