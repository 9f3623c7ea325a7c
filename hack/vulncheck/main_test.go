package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestADatabaseIsReachedOrNotOrIsNone(t *testing.T) {
	answering := func(code int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/db/index/modules.json.gz" {
				code = http.StatusTeapot
			}
			w.WriteHeader(code)
		}))
		t.Cleanup(server.Close)
		return server.URL + "/db/"
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	untrusted := httptest.NewTLSServer(nil)
	t.Cleanup(untrusted.Close)
	const reached, noRoute, wrong = "reached", "no route", "wrong"
	for name, tt := range map[string]struct{ database, want string }{
		"a database":              {answering(http.StatusOK), reached},
		"a file":                  {"file:///nowhere", reached},
		"nobody who listens":      {closed.URL, noRoute},
		"a name that is unknown":  {"http://vuln.invalid", noRoute},
		"a proxy without a route": {answering(http.StatusBadGateway), noRoute},
		"something else":          {answering(http.StatusNotFound), wrong},
		"an untrusted server":     {untrusted.URL, wrong},
	} {
		t.Run(name, func(t *testing.T) {
			err, got := reach(t.Context(), tt.database), reached
			if _, is := errors.AsType[*unreachable](err); is {
				got = noRoute
			} else if err != nil {
				got = wrong
			}
			if got != tt.want {
				t.Errorf("%s, error %v; want %s", got, err, tt.want)
			}
		})
	}
}
