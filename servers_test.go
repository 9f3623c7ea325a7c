package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// from opens a connection of another address of loopback.
func from(t *testing.T, own, address string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(own)}}
	connection, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func startProbes(t *testing.T) (address string) {
	t.Helper()
	read := make(cachesRead)
	close(read)
	return startServer(t, probes(read.check), nil)
}

func startServer(t *testing.T, handler http.Handler, config *tls.Config) (address string) {
	t.Helper()
	server, err := newServer(t.Context(), "probes", "127.0.0.1:0", handler, config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return server.Listener.Addr().String()
}

// answers is what a request of one connection is answered, "" for a connection that is
// closed without a word.
func answers(connection net.Conn, request string) string {
	_ = connection.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(connection, request); err != nil {
		return ""
	}
	text, _ := io.ReadAll(connection)
	line, _, _ := strings.Cut(string(text), "\r\n")
	return line
}

const probe = "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

func TestAStrangerHasFewConnectionsAndOthersHaveTheirs(t *testing.T) {
	address := startProbes(t)
	var open []net.Conn
	for range maxFromOne {
		open = append(open, from(t, "127.0.0.2", address))
	}
	for range 10 * maxFromOne {
		if got := answers(from(t, "127.0.0.2", address), probe); got != "" {
			t.Fatalf("a connection too many is answered %q", got)
		}
	}
	if got := answers(from(t, "127.0.0.3", address), probe); got != "HTTP/1.1 200 OK" {
		t.Errorf("beside a stranger's connections a probe is answered %q", got)
	}
	for _, connection := range open {
		_ = connection.Close()
	}
	deadline := time.Now().Add(30 * time.Second)
	for answers(from(t, "127.0.0.2", address), probe) != "HTTP/1.1 200 OK" {
		if time.Now().After(deadline) {
			t.Fatal("connections that are closed still count")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestStrangersOfManyAddressesKeepNobodyOut(t *testing.T) {
	address := startProbes(t)
	for host := range maxConnections / maxFromOne {
		for range maxFromOne {
			connection := from(t, fmt.Sprintf("127.0.1.%d", host+1), address)
			if _, err := io.WriteString(connection, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			_ = connection.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := connection.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range maxConnections { // which are idle now, and are kept
		if got := answers(from(t, "127.0.0.1", address), probe); got != "HTTP/1.1 200 OK" {
			t.Fatalf("beside as many connections as there may be, a probe is answered %q", got)
		}
	}
}

func TestStrangersCannotFillTheLog(t *testing.T) {
	var logged lockedBuffer
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	certificate, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	address := startServer(t, http.NotFoundHandler(), &tls.Config{Certificates: []tls.Certificate{certificate}})
	for range 10 {
		_ = answers(from(t, "127.0.0.2", address), "This is no TLS\r\n\r\n")
	}
	if text := logged.String(); text != "" {
		t.Errorf("ten connections wrote %d bytes of log: %s", len(text), text)
	}
}

// lockedBuffer is what several may write to.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(text)
}

// String implements fmt.Stringer.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

func TestAHeaderIsNotKeptWithoutAnEnd(t *testing.T) {
	address := startProbes(t)
	request := "GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("a", 1000<<10)
	connection := from(t, "127.0.0.2", address)
	_ = connection.SetDeadline(time.Now().Add(30 * time.Second))
	written, _ := io.WriteString(connection, request) // it is closed meanwhile
	text, _ := io.ReadAll(connection)
	if len(text) > 0 && !strings.HasPrefix(string(text), "HTTP/1.1 431 ") {
		t.Errorf("of %d bytes %d were taken, and it is answered %q", len(request), written, text)
	}
	if len(text) == 0 && written == len(request) {
		// What the kernel has taken is not what the server has.
		if _, err := io.WriteString(connection, strings.Repeat("a", 8<<20)); err == nil {
			t.Error("a header without an end is taken")
		}
	}
}

func TestAReplicaIsReadyOnceItHasReadWhatItWatches(t *testing.T) {
	read := make(cachesRead)
	if read.NeedLeaderElection() {
		t.Error("a replica that does not lead is never ready")
	}
	handler := probes(read.check)
	expect := func(path string, want int) {
		t.Helper()
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if answer.Code != want {
			t.Errorf("%s: %d, want %d", path, answer.Code, want)
		}
	}
	expect("/healthz", http.StatusOK)
	expect("/readyz", http.StatusInternalServerError)
	if err := read.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("/readyz", http.StatusOK)
}

func TestTheProbesAnswer(t *testing.T) {
	address := startProbes(t)
	for path, want := range map[string]string{"/healthz": "HTTP/1.1 200 OK", "/readyz": "HTTP/1.1 200 OK", "/": "HTTP/1.1 404 Not Found"} {
		request := strings.Replace(probe, "/readyz", path, 1)
		if got := answers(from(t, "127.0.0.1", address), request); got != want {
			t.Errorf("%s is answered %q, want %q", path, got, want)
		}
	}
}

func TestAnAddressThatIsTakenIsToldWithTheFlagThatNamesAnother(t *testing.T) {
	address := startProbes(t)
	for name, flag := range map[string]string{"probes": "--health-probe-bind-address", "metrics": "--metrics-bind-address"} {
		_, err := newServer(t.Context(), name, address, http.NotFoundHandler(), nil)
		if err == nil || !strings.HasPrefix(err.Error(), "listening for "+name+": ") || !strings.Contains(err.Error(), ": name a free address with "+flag+", or 0 for none") {
			t.Errorf("error = %v", err)
		}
	}
}
