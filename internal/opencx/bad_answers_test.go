package opencx

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// quiet is for servers whose complaints are part of the test.
var quiet = log.New(io.Discard, "", 0)

// rawServer answers every connection with raw bytes, once its request has
// arrived, and then closes it. nil bytes close it without an answer.
func rawServer(t *testing.T, answer []byte) (address string, requests *atomic.Int32) {
	t.Helper()
	requests = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		connection, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = connection.Write(answer)
		_ = connection.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func TestAnswersThatAreNoGoodAreReportedAsFarAsTheyCame(t *testing.T) {
	compressed := &bytes.Buffer{}
	zip := gzip.NewWriter(compressed)
	_, _ = zip.Write([]byte(`{"message":"compressed"}`))
	_ = zip.Close()
	dto := `{"message":"boom","error":"Internal Server Error"}`
	answer := func(header, body string) []byte {
		return fmt.Appendf(nil, "HTTP/1.1 500 Internal Server Error\r\n%sConnection: close\r\n\r\n%s", header, body)
	}
	for name, tt := range map[string]struct {
		answer []byte
		want   string
	}{
		"an empty body":                   {answer("Content-Length: 0\r\n", ""), "OpenCX answered 500 Internal Server Error"},
		"HTML":                            {answer("Content-Type: text/html\r\n", "<html>boom</html>"), "OpenCX answered 500 Internal Server Error"},
		"JSON cut short":                  {answer("", dto[:20]), "OpenCX answered 500 Internal Server Error"},
		"a body shorter than announced":   {answer("Content-Length: 1000\r\n", dto), "OpenCX answered 500 Internal Server Error: boom"},
		"wrong types":                     {answer("", `{"message":{"a":1},"error":[2]}`), "OpenCX answered 500 Internal Server Error"},
		"a JSON list":                     {answer("", `["boom"]`), "OpenCX answered 500 Internal Server Error"},
		"a JSON string":                   {answer("", `"boom"`), "OpenCX answered 500 Internal Server Error"},
		"deep nesting":                    {answer("", strings.Repeat("[", 50_000)), "OpenCX answered 500 Internal Server Error"},
		"10 MB":                           {answer("", `{"message":"`+strings.Repeat("x", 10<<20)+`"}`), "OpenCX answered 500 Internal Server Error"},
		"gzip":                            {answer("Content-Encoding: gzip\r\n", compressed.String()), "OpenCX answered 500 Internal Server Error: compressed"},
		"gzip that is none":               {answer("Content-Encoding: gzip\r\n", dto), "OpenCX answered 500 Internal Server Error"},
		"an encoding that was not wanted": {answer("Content-Encoding: br\r\n", "\x8b\x02\x80"), "OpenCX answered 500 Internal Server Error"},
		"Latin-1 instead of UTF-8":        {answer("Content-Type: application/json; charset=iso-8859-1\r\n", "{\"message\":\"zo\xeb\"}"), "OpenCX answered 500 Internal Server Error: zo\ufffd"},
		"a byte order mark":               {answer("", "\ufeff"+dto), "OpenCX answered 500 Internal Server Error"},
		"a reset without an answer":       {nil, "no answer from OpenCX: EOF"},
		"a reset in the status line":      {[]byte("HTTP/1.1 2"), `no answer from OpenCX: net/http: HTTP/1.x transport connection broken: malformed HTTP status code "2"`},
		"a reset in the header":           {[]byte("HTTP/1.1 200 OK\r\nContent-Type: text/"), "no answer from OpenCX: net/http: HTTP/1.x transport connection broken: unexpected EOF"},
		"another protocol":                {[]byte("SSH-2.0-OpenSSH_9.2\r\n\r\n"), `no answer from OpenCX: net/http: HTTP/1.x transport connection broken: malformed HTTP response "SSH-2.0-OpenSSH_9.2"`},
		"an endless header":               {[]byte("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), "no answer from OpenCX: net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 65536 bytes; aborted"},
		"100 and then an error":           {append([]byte("HTTP/1.1 100 Continue\r\n\r\n"), answer("", dto)...), "OpenCX answered 500 Internal Server Error: boom"},
		"103 and then an error":           {append([]byte("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), answer("", dto)...), "OpenCX answered 500 Internal Server Error: boom"},
		"101":                             {[]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), "OpenCX answered 101 Switching Protocols"},
	} {
		t.Run(name, func(t *testing.T) {
			address, requests := rawServer(t, tt.answer)
			err := clientAt(t, address).UpdateContact(t.Context(), testKey(t), testID, Contact{Name: secret("Jane")}.Payload())
			if err == nil || err.Error() != tt.want {
				t.Errorf("error = %.300v, want %s", err, tt.want)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestASuccessStaysOneWhateverItsBody(t *testing.T) {
	t.Run("shorter than announced", func(t *testing.T) {
		address, _ := rawServer(t, []byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"))
		if err := clientAt(t, address).UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload()); err != nil {
			t.Error(err)
		}
	})
	t.Run("never ending", func(t *testing.T) {
		client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("."))
				_ = http.NewResponseController(w).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		})
		if err := client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload()); err != nil {
			t.Error(err)
		}
	})
}

func TestAnErrorBodyThatNeverEndsIsGivenUp(t *testing.T) {
	client := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		for r.Context().Err() == nil {
			_, _ = w.Write(bytes.Repeat([]byte("."), 1<<10))
			_ = http.NewResponseController(w).Flush()
		}
	})
	err := client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload())
	if got, ok := errors.AsType[*APIError](err); !ok || got.StatusCode != http.StatusBadGateway {
		t.Errorf("error = %v", err)
	}
}

func TestRetryAfterThatIsAbsurd(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"31536000":                         365 * 24 * time.Hour,
		"4294967295":                       4294967295 * time.Second,
		"4294967296":                       0,
		"99999999999999999":                0,
		"-1":                               0,
		"1.5":                              0,
		"0":                                0,
		"":                                 0,
		"5, Fri, 02 Jan 2026 03:05:05 GMT": 0,
		"Fri, 02 Jan 2026":                 0,
		" 7 ":                              7 * time.Second,
	} {
		if got := retryAfter(value, time.Now()); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", value, got, want)
		}
	}
	t.Run("two at once count as the first", func(t *testing.T) {
		client := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Retry-After"] = []string{"9", "Fri, 31 Dec 2100 00:00:00 GMT"}
			w.WriteHeader(http.StatusTooManyRequests)
		})
		got, ok := errors.AsType[*APIError](client.UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload()))
		if !ok || got.RetryAfter != 9*time.Second {
			t.Errorf("error = %+v", got)
		}
	})
}

func TestTLS(t *testing.T) {
	update := func(t *testing.T, address string) error {
		t.Helper()
		return clientAt(t, address).UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload())
	}
	t.Run("a certificate of somebody unknown is refused before anything is sent", func(t *testing.T) {
		var requests atomic.Int32
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
		server.Config.ErrorLog = quiet
		server.StartTLS()
		defer server.Close()
		err := update(t, server.URL)
		if _, ok := errors.AsType[*NoAnswerError](err); !ok || !strings.Contains(err.Error(), "certificate signed by unknown authority") || requests.Load() != 0 {
			t.Errorf("error = %v after %d requests", err, requests.Load())
		}
	})
	t.Run("plain HTTP on the port is reported", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		err := update(t, strings.Replace(server.URL, "http:", "https:", 1))
		if _, ok := errors.AsType[*NoAnswerError](err); !ok || !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
			t.Errorf("error = %v", err)
		}
	})
	t.Run("an old protocol version is refused", func(t *testing.T) {
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = quiet
		server.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
		server.StartTLS()
		defer server.Close()
		err := update(t, server.URL)
		if _, ok := errors.AsType[*NoAnswerError](err); !ok || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("error = %v", err)
		}
	})
}

// TestEnvironment runs itself as a process of its own, because Go reads these
// variables once.
func TestEnvironment(t *testing.T) {
	if address := os.Getenv("OPENCX_TEST_CALL"); address != "" {
		fmt.Printf("result: %v\n", clientAt(t, address).UpdateContact(t.Context(), testKey(t), testID, Contact{}.Payload()))
		return
	}
	call := func(t *testing.T, address string, environment ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEnvironment$")
		command.Env = append(os.Environ(), append(environment, "OPENCX_TEST_CALL="+address)...)
		output, err := command.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		_, result, _ := strings.Cut(string(output), "result: ")
		result, _, _ = strings.Cut(result, "\n")
		return result
	}
	t.Run("SSL_CERT_FILE adds a root certificate", func(t *testing.T) {
		server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		file := filepath.Join(t.TempDir(), "root.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := call(t, server.URL, "SSL_CERT_FILE="+file); got != "<nil>" {
			t.Errorf("result = %s", got)
		}
	})
	t.Run("HTTPS_PROXY is used, and sees neither key nor path", func(t *testing.T) {
		seen := make(chan string, 1)
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			dump := &bytes.Buffer{}
			_ = r.Write(dump)
			seen <- dump.String()
			w.WriteHeader(http.StatusForbidden)
		}))
		defer proxy.Close()
		got := call(t, "https://api.example.com", "HTTPS_PROXY="+strings.Replace(proxy.URL, "//", "//user:pr0xyp4ss@", 1))
		if got != "no answer from OpenCX: Forbidden" {
			t.Errorf("result = %s", got)
		}
		if request := <-seen; !strings.HasPrefix(request, "CONNECT api.example.com:443 ") || strings.Contains(request, testToken) || strings.Contains(request, testID) {
			t.Errorf("the proxy saw %s", request)
		}
	})
	t.Run("a proxy that is away is reported without its password", func(t *testing.T) {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := listener.Addr().String()
		_ = listener.Close()
		got := call(t, "https://api.example.com", "HTTPS_PROXY=http://user:pr0xyp4ss@"+address)
		if !strings.Contains(got, "proxyconnect tcp") || strings.Contains(got, "pr0xyp4ss") {
			t.Errorf("result = %s", got)
		}
	})
}
