//go:build platforms

package flux

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// artifacts serves what source-controller would: a tarball for each revision.
type artifacts struct {
	server *httptest.Server
	mu     sync.Mutex
	byPath map[string][]byte
}

func serveArtifacts() *artifacts {
	a := &artifacts{byPath: map[string][]byte{}}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		tarball, ok := a.byPath[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(tarball)
	}))
	return a
}

// add serves files and returns what the status of a source says of them.
func (a *artifacts) add(files map[string]string) (artifact map[string]any) {
	GinkgoHelper()
	var buffer bytes.Buffer
	zip := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(zip)
	for name, text := range files {
		Expect(archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})).To(Succeed())
		_, err := io.WriteString(archive, text)
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(archive.Close()).To(Succeed())
	Expect(zip.Close()).To(Succeed())
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(buffer.Bytes()))
	a.mu.Lock()
	defer a.mu.Unlock()
	path := fmt.Sprintf("/%d.tar.gz", len(a.byPath)+1)
	a.byPath[path] = buffer.Bytes()
	return map[string]any{
		"path": path[1:], "url": a.server.URL + path, "digest": digest,
		"revision": fmt.Sprintf("main@sha1:%040d", len(a.byPath)), "lastUpdateTime": time.Now().UTC().Format(time.RFC3339),
	}
}

// event is what a controller posts to notification-controller, and what that posts to a
// Provider of type generic.
type event struct {
	InvolvedObject struct{ Kind, Namespace, Name string } `json:"involvedObject"`
	Severity       string                                 `json:"severity"`
	Reason         string                                 `json:"reason"`
	Message        string                                 `json:"message"`
}

// receiver is in the place of notification-controller, or of a chat.
type receiver struct {
	server *httptest.Server
	mu     sync.Mutex
	events []event
}

func receiveEvents() *receiver {
	r := &receiver{}
	r.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var e event
		if err := json.NewDecoder(request.Body).Decode(&e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
		w.WriteHeader(http.StatusAccepted)
	}))
	return r
}

// names are those of the objects of a namespace that it has events of.
func (r *receiver) names(namespace string) (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.InvolvedObject.Namespace == namespace {
			names = append(names, e.InvolvedObject.Name)
		}
	}
	return names
}

// of returns the events of a namespace, as "kind severity reason: message".
func (r *receiver) of(namespace string) (texts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.InvolvedObject.Namespace == namespace {
			texts = append(texts, fmt.Sprintf("%s %s %s: %s", e.InvolvedObject.Kind, e.Severity, e.Reason, e.Message))
		}
	}
	return texts
}
