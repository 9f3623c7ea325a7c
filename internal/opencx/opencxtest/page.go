package opencxtest

import (
	_ "embed"
	"net/http"
)

// page shows contacts and journal live to a person. It reads them from the
// control endpoints, which mask what must not be seen.
//
//go:embed page.html
var page []byte

func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'")
	_, _ = w.Write(page)
}
