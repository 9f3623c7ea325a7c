package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// output collects what the demo prints.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// waitFor waits until the demo has printed text after the first skip bytes.
func (o *output) waitFor(t *testing.T, skip int, text string) {
	t.Helper()
	for range 1500 {
		if strings.Contains(o.String()[skip:], text) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("the demo has not printed %q:\n%s", text, o.String()[skip:])
}

// TestTheCommandsToTryNextDoWhatTheySay runs the commands that the demo prints,
// each exactly as it is printed, and looks at what the demo shows then.
func TestTheCommandsToTryNextDoWhatTheySay(t *testing.T) {
	t.Chdir("../..") // where make demo runs
	if out, err := exec.CommandContext(t.Context(), "make", "build").CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	shown, ended := &output{}, make(chan error, 1)
	go func() { ended <- run(ctx, "", false, shown) }()
	defer cancel()
	shown.waitFor(t, 0, "Try next")

	var exports []string
	var commands []string
	for line := range strings.Lines(shown.String()) {
		switch command, found := strings.CutPrefix(line, "  "); {
		case !found:
		case strings.HasPrefix(command, "export "):
			exports = append(exports, command)
		default:
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	for i, want := range []struct {
		command string // what the command must contain
		printed string // by the command
		shown   string // by the demo, afterwards
	}{
		{"John Q. Roe", "patched", `{"name":"John Q. Roe"}`},
		{"jane@localhost", "email must be an address that OpenCX accepts", ""},
		{"missing-contact.yaml", "created", "ContactNotFound"},
		{"--add=nobody", "", ""},
		{"annotate oxc nobody", "annotated", `{"name":"Nobody"}`},
		{"--edit=support-desk", "", `"name":"Help desk"`},
		{`"status":500`, "", ""},
		{"John R.", "patched", "john-roe: OpenCX answered 500 Internal Server Error: Injected"},
		{`"status":429`, "", ""},
		{`"John Roe"`, "patched", "RateLimited"},
	} {
		if i >= len(commands) || !strings.Contains(commands[i], want.command) {
			t.Fatalf("command %d of %q does not contain %q", i, commands, want.command)
		}
		if want.command == `"status":429` {
			// The edit before it is retried first.
			shown.waitFor(t, strings.LastIndex(shown.String(), "ServerError"), `{"name":"John R."}`)
		}
		before := len(shown.String())
		printed, _ := exec.CommandContext(ctx, "bash", "-c", strings.Join(append(exports, commands[i]), "\n")).CombinedOutput()
		if !strings.Contains(string(printed), want.printed) {
			t.Errorf("%s\nprinted %s\nwant %q", commands[i], printed, want.printed)
		}
		shown.waitFor(t, before, want.shown)
	}
	shown.waitFor(t, strings.LastIndex(shown.String(), "RateLimited"), `{"name":"John Roe"}`)
	shown.waitFor(t, 0, "jane-doe: Drifted True, FieldsDiffer: OpenCX has something else than is declared in customData.plan; the contact is sent again\n")
	shown.waitFor(t, 0, "jane-doe: Drifted False, Repaired: OpenCX has accepted the contact again, after customData.plan differed\n")
	shown.waitFor(t, strings.LastIndex(shown.String(), "Help desk"), `"name":"Support desk"`)
	if n := strings.Count(shown.String(), "Try next"); n != 1 {
		t.Errorf("without a terminal the commands are printed %d times", n)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	_, kubeconfig, _ := strings.Cut(strings.TrimSpace(exports[0]), "=")
	if _, err := os.Stat(kubeconfig); !os.IsNotExist(err) {
		t.Errorf("the demo left %s behind: %v", kubeconfig, err)
	}
}

func TestCtrlCInTheMiddleOfTheViewIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancelled := interceptor.Funcs{Get: func(ctx context.Context, _ client.WithWatch, _ client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
		cancel()
		return ctx.Err()
	}}
	shown := &output{}
	d := &demo{out: shown, operator: &operatortest.Operator{}, controlPlane: &operatortest.ControlPlane{
		Client: fake.NewClientBuilder().WithInterceptorFuncs(cancelled).Build(),
	}}
	if err := d.watch(ctx); err != nil || shown.String() != "\nStopping ...\n" {
		t.Errorf("it shows %q and ends with %v", shown, err)
	}
}

func TestExactly(t *testing.T) {
	journal := []opencxtest.Request{
		{Method: "PATCH", Path: "/contacts/john", Status: 200}, {Method: "GET", Path: "/contacts", RawQuery: "limit=100", Status: 200},
	}
	const john, list = "PATCH /contacts/john 200", "GET /contacts 200"
	for name, tt := range map[string]struct {
		want  []string
		error string
	}{
		"in another order":   {[]string{list, john}, "<nil>"},
		"one too many":       {[]string{john}, `OpenCX received ["GET /contacts 200" "PATCH /contacts/john 200"], want ["PATCH /contacts/john 200"]`},
		"one is missing":     {[]string{john, john, list}, `OpenCX received ["GET /contacts 200" "PATCH /contacts/john 200"], want ["GET /contacts 200" "PATCH /contacts/john 200" "PATCH /contacts/john 200"]`},
		"one was refused":    {[]string{"PATCH /contacts/john 422", list}, `OpenCX received ["GET /contacts 200" "PATCH /contacts/john 200"], want ["GET /contacts 200" "PATCH /contacts/john 422"]`},
		"of another contact": {[]string{"PATCH /contacts/jane 200", list}, `OpenCX received ["GET /contacts 200" "PATCH /contacts/john 200"], want ["GET /contacts 200" "PATCH /contacts/jane 200"]`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(exactly(journal, tt.want...)); got != tt.error {
				t.Errorf("error = %s, want %s", got, tt.error)
			}
		})
	}
}

func TestNextLook(t *testing.T) {
	created := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	swept := metav1.NewTime(created.Add(time.Hour))
	for name, tt := range map[string]struct {
		interval *metav1.Duration
		sweep    *v1alpha1.SweepStatus
		want     time.Duration // after the creation
	}{
		"an organization that does not say": {nil, nil, 0},
		"the first look":                    {&metav1.Duration{Duration: time.Minute}, nil, time.Minute},
		"the second look":                   {&metav1.Duration{Duration: time.Minute}, &v1alpha1.SweepStatus{LastTime: &swept}, time.Hour + time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			organization := &v1alpha1.OpenCXOrganization{
				ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created)},
				Spec:       v1alpha1.OpenCXOrganizationSpec{DriftCheckInterval: tt.interval},
				Status:     v1alpha1.OpenCXOrganizationStatus{Sweep: tt.sweep},
			}
			if got := nextLook(organization).Sub(created); got != tt.want {
				t.Errorf("next look after %s, want %s", got, tt.want)
			}
		})
	}
}
