package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"
)

// serve runs a simulator and returns its address.
func serve(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	address, ended := begin(ctx, t, args...)
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return address
}

// begin runs a simulator until ctx ends.
func begin(ctx context.Context, t *testing.T, args ...string) (address string, ended <-chan error) {
	t.Helper()
	reader, writer := io.Pipe()
	end := make(chan error, 1)
	go func() { end <- run(ctx, append([]string{"--listen=127.0.0.1:0"}, args...), writer) }()
	line := make([]byte, 256)
	n, err := reader.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ = strings.Cut(strings.TrimSpace(string(line[:n])), "http://")
	return "http://" + address, end
}

func patch(t *testing.T, address, id string) int {
	t.Helper()
	status, _ := ask(t, http.MethodPatch, address+"/contacts/"+id, `{"contact":{}}`)
	return status
}

func ask(t *testing.T, method, address, body string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer key")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestItServesAndCanBeSteered(t *testing.T) {
	address := serve(t, "--contacts=jane", "--limit=5/1m", "--keys=key")
	steer := func(args ...string) {
		t.Helper()
		if err := run(t.Context(), append([]string{"--at=" + address}, args...), io.Discard); err != nil {
			t.Error(err)
		}
	}
	expect := func(id string, want int) {
		t.Helper()
		if got := patch(t, address, id); got != want {
			t.Errorf("%s: %d, want %d", id, got, want)
		}
	}
	expect("jane", 200)
	expect("john", 404)
	steer("--add=john,jack")
	expect("john", 200)
	steer(`--inject={"contact":"jane","status":503}`)
	expect("jane", 503)
	steer("--clear")
	expect("jane", 200)
	expect("jane", 429)
	err := run(t.Context(), []string{"--at=" + address, `--inject={"next":1}`}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), `"status" must be from 200 to 599`) {
		t.Errorf("error = %v", err)
	}
}

func TestContactsCanBeEditedAndListed(t *testing.T) {
	address := serve(t, "--contacts=jane,a/b", "--keys=key", "--page-size=1", "--normalize")
	for _, edit := range [][]string{{"--edit=jane", `--to={"name":"Jane","email":"Jane@example.com"}`}, {"--edit=a/b", `--to={"phone":"+1 202-555-0123"}`}, {"--edit=jane", `--to={"name":null}`}} {
		if err := run(t.Context(), append(edit, "--at="+address), io.Discard); err != nil {
			t.Error(err)
		}
	}
	for args, want := range map[string]string{`--edit=john --to={}`: "no such contact", `--edit=jane --to={"name":7}`: "contact.name must be a string", `--edit=jane --to={`: "is no JSON"} {
		if err := run(t.Context(), append(strings.Fields(args), "--at="+address), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error = %v, want %q", args, err, want)
		}
	}
	_, contacts := ask(t, http.MethodGet, address+"/_sim/contacts", "")
	for _, want := range []string{`"fields":{"email":"jane@example.com"}`, `"fields":{"phone":"+12025550123"}`, `"edits":2,"edited":["name"]`} {
		if !strings.Contains(contacts, want) {
			t.Errorf("%s lacks %s", contacts, want)
		}
	}
	status, page := ask(t, http.MethodGet, address+"/contacts", "")
	if status != 200 || strings.Count(page, `"id":`) != 1 || strings.Contains(page, `"next":null`) {
		t.Errorf("list = %d %s, want one contact and a next", status, page)
	}
}

func TestAKeyMayBeForUpdatesAlone(t *testing.T) {
	address := serve(t, "--contacts=jane", "--write-only-keys=key")
	if status, _ := ask(t, http.MethodGet, address+"/contacts", ""); status != 403 {
		t.Errorf("list = %d, want 403", status)
	}
	if status := patch(t, address, "jane"); status != 200 {
		t.Errorf("update = %d, want 200", status)
	}
}

func TestABadFlagIsRefusedInOneSentence(t *testing.T) {
	for args, want := range map[string]string{
		"--limit=0/1m":            "before the slash",
		"--base-path=gateway":     "must start with a slash",
		"--base-path=/_sim/v1":    "below /_sim",
		"--base-path=/a?b":        "no escaping",
		"--keys=,":                "names no token",
		"--contacts=,":            "names no ID",
		"--latency=-1s":           "is negative",
		"--page-size=0":           "less than 1",
		"--cursor-life=-1s":       "is negative",
		"--listen=nowhere":        "--listen",
		"--clear":                 "say which with --at",
		"--at=http://127.0.0.1:1": "exactly one of",
		"--at=http://127.0.0.1:1 --clear --add=a": "exactly one of",
		"--at=http://127.0.0.1:1 --clear --to={}": "exactly one of",
		"--at=http://127.0.0.1:1 --edit=jane":     "give both",
		"--at=http://127.0.0.1:1 --clear":         "steering the simulator",
		"serve":                                   "unexpected argument",
		"--nonsense":                              "--help lists the flags",
	} {
		err := run(t.Context(), strings.Fields(args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error = %v, want one sentence with %q", args, err, want)
		}
	}
}

func TestAHangingRequestDoesNotKeepItFromStopping(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	address, ended := begin(ctx, t)
	if err := run(t.Context(), []string{"--at=" + address, `--inject={"next":1,"break":"hang"}`}, io.Discard); err != nil {
		t.Fatal(err)
	}
	hung := make(chan error, 1)
	wrote := make(chan struct{})
	go func() {
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(wrote) }}
		request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodPatch, address+"/contacts/jane", nil)
		if err == nil {
			_, err = http.DefaultClient.Do(request)
		}
		hung <- err
	}()
	<-wrote
	time.Sleep(50 * time.Millisecond) // until it hangs
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("error = %v", err)
		}
	case <-time.After(3 * time.Second):
		t.Error("it still runs")
	}
	if err := <-hung; err == nil {
		t.Error("the hanging request was answered")
	}
}

func TestHelp(t *testing.T) {
	var help bytes.Buffer
	if err := run(t.Context(), []string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error = %v", err)
	}
	for _, want := range []string{"--inject=", "default 100/1m0s", "-base-path path"} {
		if !strings.Contains(help.String(), want) {
			t.Errorf("help lacks %q", want)
		}
	}
}
