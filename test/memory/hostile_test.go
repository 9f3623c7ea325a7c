//go:build linux

package memory

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// hostile is an OpenCX that answers some contacts so as to fill the memory of whoever
// asks: those whose contactID begins with a name of answers.
type hostile struct {
	*opencxtest.Server
	answers map[string]http.HandlerFunc
}

// ServeHTTP implements http.Handler.
func (h hostile) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing then, the simulator refuses
	r.Body = io.NopCloser(bytes.NewReader(body))
	kind, _, _ := strings.Cut(path.Base(r.URL.Path), ".")
	answer := h.answers[kind]
	if r.Method == http.MethodGet && strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "+hostilePrefix) {
		answer = largestPage
	}
	if answer == nil {
		h.Server.ServeHTTP(w, r)
		return
	}
	h.Server.ServeHTTP(httptest.NewRecorder(), r) // for its journal
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer(w, r)
}

// compressed is an ErrorDto whose message has no end: its first bytes, and what then
// comes again and again, each time 64 MiB in 64 KiB.
var compressed = [2][]byte{zip(`{"statusCode":422,"message":"`), zip(strings.Repeat("a", 64<<20))}

func zip(text string) []byte {
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	_, _ = io.WriteString(writer, text) // a buffer takes everything
	_ = writer.Close()
	return buffer.Bytes()
}

// bomb answers with a small body that is endless once it is unpacked.
func bomb(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		_, err := w.Write(compressed[0])
		for err == nil { // until the client has gone
			_, err = w.Write(compressed[1])
		}
	}
}

// hostileKeys are of organizations of which OpenCX lists the largestPage.
const (
	hostileKeys   = 8
	hostilePrefix = "ocx_live_hostile_"
)

func hostileKey(i int) string { return hostilePrefix + strconv.Itoa(i) }

// page are the parts of a list with four contacts that have as much as one may.
var page = [4][]byte{zip(`{"items":[`), zip(`{"id":"a","custom_data":{"a":"` + strings.Repeat("a", 8<<20-100) + `"}}`), zip(`,`), zip(`],"next":null}`)}

// largestPage answers with a page that has nearly as much as is read of one.
func largestPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	for _, part := range []int{0, 1, 2, 1, 2, 1, 2, 1, 3} {
		_, _ = w.Write(page[part]) // a client that has gone has enough
	}
}

// hugeHeaders answers with 2 MB of header.
func hugeHeaders(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-One", strings.Repeat("h", 1<<20))
	for range 10_000 {
		w.Header().Add("X-Many", strings.Repeat("h", 100))
	}
	w.WriteHeader(http.StatusOK)
}

// trickle answers with a body that never ends, ten bytes in a second.
func trickle(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		flush := http.NewResponseController(w).Flush
		for flush() == nil && r.Context().Err() == nil {
			_, _ = io.WriteString(w, "a")
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// picky refuses contacts that are called refused.
func picky(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // from memory
	if bytes.Contains(body, []byte(`"refused"`)) {
		w.WriteHeader(http.StatusUnprocessableEntity)
	}
}

// riddle refuses with a short text that can be read in a great many ways.
func riddle(w http.ResponseWriter, _ *http.Request) {
	const orders = `%25252541 &#37;252541 \x25252541 &#38;#37;2541 \x5cx252541 \x26#38;#38;#65; &#38;#38;#37;41 `
	inBase64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	inner := orders + strings.Repeat("z ", 200)
	w.WriteHeader(http.StatusUnprocessableEntity)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": orders + inBase64(orders+inBase64(inner))})
}

// openHeaders begins n requests to the operator's metrics from an address of their own,
// each with 1000 KiB of a header, and ends none.
func (p *process) openHeaders(ctx SpecContext, n int) {
	GinkgoHelper()
	began := "GET /metrics HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("a", 1000<<10)
	address, _, _ := strings.Cut(strings.TrimPrefix(p.metrics, "http://"), "/")
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	connections := make([]net.Conn, n)
	inParallel(n, func(i int) (err error) {
		if connections[i], err = dialer.DialContext(ctx, "tcp", address); err == nil {
			_ = connections[i].SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(connections[i], began) // which fails when it is closed
		}
		return err
	})
	for _, connection := range connections {
		_ = connection.Close()
	}
}
