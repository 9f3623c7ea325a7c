package opencx

import (
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"testing"
	"time"
)

// BenchmarkUntilWritten measures how long after a call a request is on its way as a
// whole, with a connection that is there and with one to be made with TLS. Whether the
// operator may still send is asked immediately before the call.
func BenchmarkUntilWritten(b *testing.B) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
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
				var written time.Time
				began := time.Now()
				ctx := httptrace.WithClientTrace(b.Context(), &httptrace.ClientTrace{
					WroteRequest: func(httptrace.WroteRequestInfo) { written = time.Now() },
				})
				if err := client.UpdateContact(ctx, key, testID, payload); err != nil {
					b.Fatal(err)
				}
				took = append(took, written.Sub(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
		})
	}
}
