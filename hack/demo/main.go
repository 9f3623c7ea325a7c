// Demo shows the operator at work: a real kube-apiserver, a simulated OpenCX,
// the operator's real binary, and the samples applied to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// checkTimeout is how long --exit waits for the samples, and for the operator
// to do nothing more after that.
const (
	checkTimeout = time.Minute
	settleTime   = 2 * time.Second
)

func main() {
	exit := flag.Bool("exit", false, "check that every sample is Ready after exactly one PATCH, and end")
	apiURL := flag.String("opencx-api-url", "", "address of a real OpenCX API, used with the key in OPENCX_API_KEY; when empty, OpenCX is simulated")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *apiURL, *exit, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "demo: %s\n", err)
		os.Exit(1)
	}
}

// demo is what is running.
type demo struct {
	out        io.Writer
	kubectl    string
	kubeconfig string
	logFile    string
	simulator  *opencxtest.Server // nil when OpenCX is real
	apiURL     string
	operator   *exec.Cmd
	exited     chan struct{} // closed when the operator has ended
}

// run starts everything, shows or checks it, and takes it down again.
func run(ctx context.Context, apiURL string, exit bool, out io.Writer) (err error) {
	ctrllog.SetLogger(ctrllog.Log.WithSink(ctrllog.NullLogSink{}))
	folder, err := os.MkdirTemp("", "opencx-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	d := &demo{
		out:        out,
		kubectl:    filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"),
		kubeconfig: filepath.Join(folder, "kubeconfig"),
		logFile:    filepath.Join(folder, "operator.log"),
		apiURL:     apiURL,
	}

	_, _ = fmt.Fprintln(out, "Starting kube-apiserver and etcd ...")
	controlPlane := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	restConfig, err := controlPlane.Start()
	if err != nil {
		return fmt.Errorf("starting the control plane: %w; is KUBEBUILDER_ASSETS set, as make demo sets it?", err)
	}
	defer func() { err = errors.Join(err, controlPlane.Stop()) }()
	if err := os.WriteFile(d.kubeconfig, controlPlane.KubeConfig, 0o600); err != nil {
		return err
	}

	samples, err := readSamples(filepath.Join("config", "samples"))
	if err != nil {
		return err
	}
	key := os.Getenv("OPENCX_API_KEY")
	if apiURL == "" {
		key = "ocx_demo_key"
		d.simulator = opencxtest.New(opencxtest.Options{Keys: []string{key}, Contacts: samples})
		server := httptest.NewServer(d.simulator)
		defer server.Close()
		d.apiURL = server.URL
	} else if key == "" {
		return errors.New("--opencx-api-url needs an API key: set OPENCX_API_KEY")
	}

	_, _ = fmt.Fprintln(out, "Starting the operator and applying config/samples ...")
	if err := d.startOperator(key); err != nil {
		return err
	}
	defer d.stopOperator()
	if output, err := exec.CommandContext(ctx, d.kubectl, "--kubeconfig", d.kubeconfig, "apply", "-k", "config/samples").CombinedOutput(); err != nil {
		return fmt.Errorf("applying config/samples: %w\n%s", err, output)
	}
	view, err := newView(restConfig, d)
	if err != nil {
		return err
	}
	if exit {
		return d.check(ctx, view)
	}
	return d.watch(ctx, view)
}

// startOperator runs the binary as a user would. It is in a process group of
// its own, so that Ctrl-C reaches this process alone, which then stops it.
func (d *demo) startOperator(key string) error {
	log, err := os.Create(d.logFile)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the operator has its own handle
	// Not with the demo's context, which would kill it: it is told to stop.
	d.operator = exec.CommandContext(context.Background(), filepath.Join("bin", "manager"),
		"--kubeconfig="+d.kubeconfig, "--opencx-api-url="+d.apiURL, "--health-probe-bind-address=0")
	d.operator.Env = append(os.Environ(), "OPENCX_API_KEY="+key)
	d.operator.Stdout, d.operator.Stderr = log, log
	d.operator.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.operator.Start(); err != nil {
		return fmt.Errorf("starting the operator: %w", err)
	}
	d.exited = make(chan struct{})
	go func() {
		_ = d.operator.Wait() // ProcessState says how it ended
		close(d.exited)
	}()
	return nil
}

func (d *demo) stopOperator() {
	_ = d.operator.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.exited:
	case <-time.After(30 * time.Second):
		_ = d.operator.Process.Kill()
	}
}

// operatorEnded is the error to give when the operator ended by itself.
func (d *demo) operatorEnded() error {
	log, _ := os.ReadFile(d.logFile)
	return fmt.Errorf("the operator ended: %s\n%s", d.operator.ProcessState, log)
}

// watch redraws the view until Ctrl-C. Without a terminal it prints the view
// whenever it has changed.
func (d *demo) watch(ctx context.Context, view *view) error {
	terminal := term.IsTerminal(int(os.Stdout.Fd()))
	shown := ""
	for {
		table, _, err := view.draw(ctx)
		if err != nil {
			return err
		}
		switch {
		case terminal:
			_, _ = fmt.Fprint(d.out, "\x1b[H\x1b[2J", table, "\n", d.next(), "\nCtrl-C ends the demo and leaves nothing behind.\n")
		case table != shown:
			_, _ = fmt.Fprintln(d.out, table)
			if shown == "" {
				_, _ = fmt.Fprintln(d.out, d.next())
			}
		}
		shown = table
		select {
		case <-ctx.Done():
			_, _ = fmt.Fprintln(d.out, "\nStopping ...")
			return nil
		case <-d.exited:
			return d.operatorEnded()
		case <-time.After(time.Second):
		}
	}
}

// check waits until every contact is Ready, and then a little longer to see
// whether a needless request follows.
func (d *demo) check(ctx context.Context, view *view) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for {
		table, ready, err := view.draw(ctx)
		if err != nil {
			return err
		}
		if ready {
			_, _ = fmt.Fprintln(d.out, table)
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not every sample is Ready within %s:\n%s", checkTimeout, table)
		case <-d.exited:
			return d.operatorEnded()
		case <-time.After(200 * time.Millisecond):
		}
	}
	if d.simulator == nil {
		return nil
	}
	time.Sleep(settleTime)
	contacts, err := readSamples(filepath.Join("config", "samples"))
	if err != nil {
		return err
	}
	return onePatchEach(d.simulator.Journal(), contacts)
}

// onePatchEach is nil when the journal has exactly one accepted PATCH for each
// contact, and nothing else.
func onePatchEach(journal []opencxtest.Request, contacts []string) error {
	patches := map[string]int{}
	for _, r := range journal {
		patches[fmt.Sprintf("%s %s %d", r.Method, r.Path, r.Status)]++
	}
	for _, id := range contacts {
		if want := "PATCH /contacts/" + id + " 200"; patches[want] != 1 {
			return fmt.Errorf("%d times %q, want once; all requests: %v", patches[want], want, patches)
		}
	}
	if len(journal) != len(contacts) {
		return fmt.Errorf("%d requests for %d contacts: %v", len(journal), len(contacts), patches)
	}
	return nil
}
