package opencx

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// BenchmarkUntilArrived measures how long after a call a server on the same machine has
// the request as a whole, with a connection that is there and with one to be made with
// TLS. Whether the operator may still send is asked immediately before the call.
// httptrace would tell of less: that the request is in a buffer of net/http.
func BenchmarkUntilArrived(b *testing.B) {
	arrived := make(chan time.Time, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // one that is cut fails the call
		arrived <- time.Now()
	}))
	defer server.Close()
	base, err := ParseBaseURL(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	key, err := NewAPIKey(testToken)
	if err != nil {
		b.Fatal(err)
	}
	payload := Contact{Name: secret("Jane Doe")}.Payload()
	for name, isNew := range map[string]bool{"connected": false, "connecting": true} {
		b.Run(name, func(b *testing.B) {
			client := NewClient(base, "opencx-operator/test", nil)
			transport := client.http.Transport.(*http.Transport)
			transport.TLSClientConfig = server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
			var took []time.Duration
			for b.Loop() {
				if isNew {
					transport.CloseIdleConnections()
				}
				began := time.Now()
				if err := client.UpdateContact(b.Context(), key, testID, payload); err != nil {
					b.Fatal(err)
				}
				took = append(took, (<-arrived).Sub(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
		})
	}
}

// The kernel would go on to send what a closed connection has left, for minutes.
func TestWhatHasNotArrivedWhenACallEndsDoesNotArrive(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client := clientAt(t, "http://"+listener.Addr().String())
	waits, giveUp := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer giveUp()
	// More than a server has room for that does not read, and less than the client has.
	err = client.UpdateContact(waits, testKey(t), testID, sized(1<<20).Payload())
	if noAnswer, is := errors.AsType[*NoAnswerError](err); !is || !noAnswer.MayArrive() {
		t.Fatalf("error = %v, want that there was no answer, and that it may arrive", err)
	}
	connection, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if request, err := http.ReadRequest(bufio.NewReader(connection)); err == nil {
		if n, err := io.Copy(io.Discard, request.Body); err == nil {
			t.Errorf("all %d bytes of a request arrive whose caller had given up", n)
		}
	}
}
