package opencx

import (
	"io"
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
