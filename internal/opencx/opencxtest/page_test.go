//go:build browser

package opencxtest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// browse returns a page as it is in a real browser after five seconds.
func browse(t *testing.T, address string) string {
	t.Helper()
	dom, err := exec.CommandContext(t.Context(), "chromium",
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=5000", "--dump-dom", address).Output()
	if err != nil {
		t.Fatalf("running chromium: %v", err)
	}
	return string(dom)
}

// TestPage opens the page in a real browser and reads what a person would see.
func TestPage(t *testing.T) {
	s, send := start(t, Options{})
	s.AddContacts("never-updated")
	send(sent{body: `{"contact":{"name":"<img src=x onerror=\"document.title='scripted'\">","http_action_overrides":{"headers":{"X-Token":"s3cr3t"}}}}`})
	send(sent{path: "/contacts/john"})
	send(sent{method: "GET", path: "/contacts?cursor=x"})
	send(sent{method: "PATCH", path: "/_sim/contacts/jane", body: `{"contact":{"phone":"+12025550123","custom_data":{"plan":"pro"}}}`})
	server := s.StartHTTP()
	defer server.Close()

	dom := browse(t, server.URL)
	for _, want := range []string{
		"<title>Simulated OpenCX</title>",
		"2 contacts, 3 requests.",
		"<td>never-updated</td><td>0</td><td>0</td><td>never</td>",
		"<td>jane</td><td>1</td><td>1, the last of custom_data.plan, phone</td>",
		`<option value="jane">`,
		"GET /contacts?cursor=x",
		`<tr class="refused">`,
		"PATCH /contacts/john",
		"X-Token\":\"***\"",
		"&lt;img src=x onerror=", // text, not markup
	} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"s3cr3t", "good", "<img"} {
		if strings.Contains(dom, never) {
			t.Errorf("the page shows %q", never)
		}
	}
	if t.Failed() {
		t.Logf("%s", dom)
	}
}

// visitor fills in the form of the page in a frame, as a person does, and shows what that
// says. It finds the fields by their labels.
const visitor = `<!doctype html><iframe src="/"></iframe><pre></pre><script>
  document.querySelector("iframe").onload = (event) => {
    const page = event.target.contentDocument;
    const fill = (label, text) => [...page.querySelectorAll("label")].find((l) => l.innerText.trim() === label).control.value = text;
    fill("ID", "a/b?c");
    fill("Name", "Jane Doe");
    fill("Email", EMAIL);
    fill("Custom data, key", "plan");
    fill("Custom data, value", "pro");
    page.querySelector("form button").click();
    setTimeout(() => document.querySelector("pre").textContent = page.querySelector("output").textContent, 2000);
  };
</script>`

func TestPageEdits(t *testing.T) {
	for name, tt := range map[string]struct{ email, says, fields string }{
		"a contact":                {"", "Edited a/b?c.", "map[custom_data:map[plan:pro] name:Jane Doe phone:+12025550123]"},
		"nothing of what is wrong": {"jane", "Refused: the edit cannot be read: contact.email must be an email address", "map[phone:+12025550123]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Options{Contacts: []string{"a/b?c"}})
			s.Edit("a/b?c", func(c *Contact) { c.Fields["phone"] = "+12025550123" })
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/visitor" {
					s.ServeHTTP(w, r)
					return
				}
				w.Header().Set("Content-Type", "text/html; charset=utf-8")
				_, _ = io.WriteString(w, strings.Replace(visitor, "EMAIL", strconv.Quote(tt.email), 1))
			}))
			defer server.Close()
			if dom := browse(t, server.URL+"/visitor"); !strings.Contains(dom, "<pre>"+tt.says) {
				t.Errorf("the page does not say %q: %s", tt.says, dom)
			}
			if c, _ := s.Contact("a/b?c"); fmt.Sprint(c.Fields) != tt.fields {
				t.Errorf("fields = %v, want %s", c.Fields, tt.fields)
			}
		})
	}
}
