package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// chatty answers, and then says on the same connection what it was told.
func chatty(w http.ResponseWriter, r *http.Request) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer func() { _ = connection.Close() }()
	_, _ = io.WriteString(connection, "HTTP/1.1 204 No Content\r\n\r\n")
	time.Sleep(100 * time.Millisecond) // until the answer is read
	_, _ = io.WriteString(connection, "You are "+r.Header.Get("Authorization"))
	_, _ = io.Copy(io.Discard, connection) // until it is closed, because of that
}

func TestWhatNobodyAskedForIsNotLogged(t *testing.T) {
	var logged lockedBuffer
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	opts, _, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := run(ended, &rest.Config{Host: "http://127.0.0.1:1"}, opts); err == nil {
		t.Fatal("it runs without an API server")
	}
	told := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		chatty(w, r)
		close(told)
	}))
	defer server.Close()
	url, err := opencx.ParseBaseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	key, err := opencx.NewAPIKey("ocx_live_5550100")
	if err != nil {
		t.Fatal(err)
	}
	if err := opencx.NewClient(url, "test", nil).UpdateContact(t.Context(), key, "jane", opencx.Payload{}); err != nil {
		t.Fatal(err)
	}
	<-told
	time.Sleep(100 * time.Millisecond) // it closes the connection, and logs, at the same time
	if text := logged.String(); strings.Contains(text, "5550100") {
		t.Errorf("the key is in the log: %s", text)
	}
}
