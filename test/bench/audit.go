package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// apiRequest is what the API server's audit log says of one request.
type apiRequest struct {
	Stage      string `json:"stage"`
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	UserAgent  string `json:"userAgent"`
	ObjectRef  struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Name        string `json:"name"`
	} `json:"objectRef"`
}

// readsAll says that a request brings all objects of a type: it is a LIST, or a WATCH that
// streams them first.
func (r apiRequest) readsAll() bool {
	return r.Verb == "list" || r.Verb == "watch" && strings.Contains(r.RequestURI, "sendInitialEvents=true")
}

// isStatusWrite says that a request writes the status of a contact.
func (r apiRequest) isStatusWrite() bool {
	return r.Verb == "patch" && r.ObjectRef.Resource == "opencxcontacts" && r.ObjectRef.Subresource == "status"
}

// isContactRead says that a request reads one contact.
func (r apiRequest) isContactRead() bool {
	return r.Verb == "get" && r.ObjectRef.Resource == "opencxcontacts"
}

// isNoWatch says that a request is no WATCH, which is renewed from time to time.
func (r apiRequest) isNoWatch() bool { return r.Verb != "watch" }

func count(requests []apiRequest, which func(apiRequest) bool) (n int) {
	for _, r := range requests {
		if which(r) {
			n++
		}
	}
	return n
}

// audit reads what an audit log says of the operator.
type audit struct {
	file string
	at   int64 // up to where it was read
}

// next returns the operator's requests since the last call. One that is going on, but for a
// watch, is not among them.
func (a *audit) next() (requests []apiRequest, err error) {
	log, err := os.Open(a.file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if _, err := log.Seek(a.at, io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(log)
	if err != nil {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1] // the last line may be half written
	a.at += int64(len(text))
	for line := range bytes.Lines(text) {
		var r apiRequest
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		ended := r.Verb == "watch" && r.Stage == "ResponseComplete"
		if strings.HasPrefix(r.UserAgent, "manager/") && !ended {
			requests = append(requests, r)
		}
	}
	return requests, nil
}
