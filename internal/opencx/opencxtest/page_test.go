//go:build browser

package opencxtest

import (
	"os/exec"
	"strings"
	"testing"
)

// TestPage opens the page in a real browser and reads what a person would see.
func TestPage(t *testing.T) {
	s, send := start(t, Options{})
	s.AddContacts("never-updated")
	send(sent{body: `{"contact":{"name":"<img src=x onerror=\"document.title='scripted'\">","http_action_overrides":{"headers":{"X-Token":"s3cr3t"}}}}`})
	send(sent{path: "/contacts/john"})
	server := s.StartHTTP()
	defer server.Close()

	dom, err := exec.CommandContext(t.Context(), "chromium",
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=5000", "--dump-dom", server.URL).Output()
	if err != nil {
		t.Fatalf("running chromium: %v", err)
	}
	for _, want := range []string{
		"<title>Simulated OpenCX</title>",
		"2 contacts, 2 requests.",
		"<td>never-updated</td><td>0</td><td>never</td>",
		"<td>jane</td><td>1</td>",
		`<tr class="refused">`,
		"PATCH /contacts/john",
		"X-Token\":\"***\"",
		"&lt;img src=x onerror=", // text, not markup
	} {
		if !strings.Contains(string(dom), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"s3cr3t", "good", "<img"} {
		if strings.Contains(string(dom), never) {
			t.Errorf("the page shows %q", never)
		}
	}
	if t.Failed() {
		t.Logf("%s", dom)
	}
}
