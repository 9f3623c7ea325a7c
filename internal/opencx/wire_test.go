package opencx

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// wireServer is a server that goes wrong where no HTTP server would. It counts what
// arrives, before it does anything about it.
type wireServer struct {
	address     string
	requests    atomic.Int32
	connections atomic.Int32
}

// serveTCP serves every connection with serve, and ends when all of them have.
func serveTCP(t *testing.T, serve func(*wireServer, *net.TCPConn)) *wireServer {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wireServer{address: "http://" + listener.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			serving.Go(func() {
				defer func() { _ = connection.Close() }()
				serve(s, connection.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); serving.Wait() })
	return s
}

// wireClient returns a client of s, and its connections in the order in which they
// are opened.
func wireClient(t *testing.T, s *wireServer) (*Client, <-chan *link) {
	t.Helper()
	client, links := clientAt(t, s.address), make(chan *link, 16)
	transport := client.http.Transport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l := &link{Conn: connection, closed: make(chan struct{}), arrived: make(chan struct{}), written: make(chan struct{})}
		links <- l
		return l, nil
	}
	t.Cleanup(client.http.CloseIdleConnections)
	return client, links
}

// link is the client's end of a connection.
type link struct {
	net.Conn
	// closed is closed when the client has closed the connection.
	closed chan struct{}
	// late has the client see what arrives, be it the end, only when it has written.
	// arrived is closed when there is something to see, written when it may see it.
	late             atomic.Bool
	arrived, written chan struct{}

	closing, arriving, writing sync.Once
}

func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.late.Load() {
		l.arriving.Do(func() { close(l.arrived) })
		<-l.written
	}
	return n, err
}

func (l *link) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if l.late.Load() {
		l.writing.Do(func() { close(l.written) })
	}
	return n, err
}

func (l *link) Close() error {
	err := l.Conn.Close()
	l.closing.Do(func() { close(l.closed) })
	l.writing.Do(func() { close(l.written) })
	return err
}

// sized returns a contact whose request has a body of a little more than size bytes.
func sized(size int) Contact { return Contact{Name: secret(strings.Repeat("x", size))} }

const (
	smallBody = 1 << 10
	largeBody = 200 << 10
)

// reset closes a connection so that the client sees a TCP reset.
func reset(connection *net.TCPConn) {
	_ = connection.SetLinger(0)
	_ = connection.Close()
}

// outcome is how a call ended.
type outcome struct {
	// answer is the status code, 200 for each 2xx; 0 when there was none.
	answer int
	// idle and mayArrive are what a NoAnswerError says.
	idle, mayArrive bool
}

// lost is how a call ends whose kept connection went away, refused how one ends that
// failed alone.
var lost, refused = outcome{idle: true, mayArrive: true}, outcome{mayArrive: true}

func outcomeOf(err error) outcome {
	if err == nil {
		return outcome{answer: http.StatusOK}
	}
	if told, is := errors.AsType[*APIError](err); is {
		return outcome{answer: told.StatusCode}
	}
	lost, is := errors.AsType[*NoAnswerError](err)
	if !is {
		return outcome{answer: -1}
	}
	return outcome{idle: lost.ConnectionWasIdle(), mayArrive: lost.MayArrive()}
}

// call expects that one call ends as want, and that it was sent once.
func (s *wireServer) call(ctx context.Context, t *testing.T, client *Client, contact Contact, want outcome) {
	t.Helper()
	before := s.requests.Load()
	err := client.UpdateContact(ctx, testKey(t), testID, contact.Payload())
	if got := outcomeOf(err); got != want {
		t.Errorf("outcome = %+v, want %+v; error: %v", got, want, err)
	}
	if sent := s.requests.Load() - before; sent != 1 {
		t.Errorf("%d requests arrived, want 1", sent)
	}
}

func TestARequestWithoutAConnectionCannotArrive(t *testing.T) {
	cuts := serveTCP(t, func(*wireServer, *net.TCPConn) {})
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = quiet
	stranger.StartTLS()
	defer stranger.Close()
	refusing, nobody := httptest.NewServer(http.NotFoundHandler()), httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	nobody.Close()
	const elsewhere = "https://api.example.com"

	for name, tt := range map[string]struct{ address, proxy string }{
		"nobody listens":                         {nobody.URL, ""},
		"its certificate is of somebody unknown": {stranger.URL, ""},
		"the TLS handshake is cut":               {strings.Replace(cuts.address, "http:", "https:", 1), ""},
		"the proxy refuses":                      {elsewhere, refusing.URL},
		"the proxy is away":                      {elsewhere, nobody.URL},
	} {
		t.Run(name, func(t *testing.T) {
			client := clientAt(t, tt.address)
			client.http.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) {
				if tt.proxy == "" {
					return nil, nil
				}
				return url.Parse(tt.proxy)
			}
			if err := client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload()); outcomeOf(err) != (outcome{}) {
				t.Errorf("outcome = %+v, want that it cannot arrive; error: %v", outcomeOf(err), err)
			}
		})
	}
	t.Run("the caller gives up in the handshake", func(t *testing.T) {
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		hangs := serveTCP(t, func(_ *wireServer, connection *net.TCPConn) {
			_, _ = connection.Read(make([]byte, 1))
			giveUp()
			_, _ = io.Copy(io.Discard, connection)
		})
		client, links := wireClient(t, hangs)
		client.baseURL.Scheme = "https"
		if err := client.UpdateContact(ctx, testKey(t), testID, Contact{}.Payload()); outcomeOf(err) != (outcome{}) {
			t.Errorf("outcome = %+v, want that it cannot arrive; error: %v", outcomeOf(err), err)
		}
		_ = (<-links).Close() // the transport goes on with the handshake, for requests to come
	})
}
