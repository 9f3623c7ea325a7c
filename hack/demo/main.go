// Demo shows the operator at work: a real kube-apiserver, a simulated OpenCX,
// the operator's real binary, and the samples applied to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// checkTimeout is how long --exit waits for the samples, and settleTime for the
// operator to do nothing more after that.
const (
	checkTimeout = time.Minute
	settleTime   = 2 * time.Second
)

func main() {
	exit := flag.Bool("exit", false, "check that every sample is Ready after exactly one PATCH, and that an edit in OpenCX is put right with one, and end")
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
	out          io.Writer
	controlPlane *operatortest.ControlPlane
	simulator    *operatortest.Simulator // nil when OpenCX is real
	samples      map[string]string       // contact IDs by name, when it is not
	apiURL       string
	operator     *operatortest.Operator
	logFile      string
}

// run starts everything, shows or checks it, and takes it down again.
func run(ctx context.Context, apiURL string, exit bool, out io.Writer) (err error) {
	ctrllog.SetLogger(ctrllog.Log.WithSink(ctrllog.NullLogSink{}))
	d := &demo{out: out, apiURL: apiURL}
	key := os.Getenv("OPENCX_API_KEY")
	if apiURL == "" {
		key = "ocx_demo_key"
		if d.samples, err = readSamples(filepath.Join("config", "samples")); err != nil {
			return err
		}
		d.simulator = operatortest.StartSimulator(opencxtest.Options{Keys: []string{key}, Contacts: slices.Collect(maps.Values(d.samples))})
		defer d.simulator.Close()
		d.apiURL = d.simulator.URL
	} else if key == "" {
		return errors.New("--opencx-api-url needs an API key: set OPENCX_API_KEY")
	}

	_, _ = fmt.Fprintln(out, "Starting kube-apiserver and etcd ...")
	if d.controlPlane, err = operatortest.StartControlPlane(filepath.Join("config", "crd", "bases")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.controlPlane.Stop()) }()
	_, _ = fmt.Fprintln(out, "Starting the operator and applying config/samples ...")
	if err := d.startOperator(); err != nil {
		return err
	}
	defer func() { _ = d.operator.Stop() }() // nobody asks any more how it ends
	if err := d.applySamples(ctx, key); err != nil {
		return err
	}
	if exit {
		return d.check(ctx)
	}
	return d.watch(ctx)
}

// startOperator runs the binary as a user would, and does not wait for it.
func (d *demo) startOperator() (err error) {
	d.logFile = filepath.Join(d.controlPlane.Folder, "operator.log")
	d.operator, err = operatortest.LaunchOperator(operatortest.OperatorOptions{
		Binary: filepath.Join("bin", "manager"), Kubeconfig: d.controlPlane.Kubeconfig, APIURL: d.apiURL, LogFile: d.logFile,
	})
	return err
}

// applySamples applies them after the Secret that their organization names.
func (d *demo) applySamples(ctx context.Context, key string) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "opencx-api-key"},
		StringData: map[string]string{"apiKey": key},
	}
	if err := d.controlPlane.Client.Create(ctx, secret); err != nil {
		return fmt.Errorf("creating the Secret with the API key: %w", err)
	}
	if _, err := d.controlPlane.Kubectl(ctx, "", "apply", "-k", filepath.Join("config", "samples")); err != nil {
		return fmt.Errorf("applying config/samples: %w", err)
	}
	return nil
}

// watch redraws the view until Ctrl-C. Without a terminal it prints the view
// whenever it has changed. Once all is Ready, it shows a repair below that.
func (d *demo) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	terminal := term.IsTerminal(int(os.Stdout.Fd()))
	shown, told, repairs := "", "", d.simulator == nil
	lines := make(chan string)
	for {
		table, ready, err := d.draw(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if ready && !repairs {
			repairs = true
			go d.tellRepair(ctx, lines)
		}
		switch {
		case err != nil: // Ctrl-C in the middle of the view
		case terminal:
			_, _ = fmt.Fprint(d.out, "\x1b[H\x1b[2J", table, "\n", told, d.countdown(ctx), d.next(), "\nCtrl-C ends the demo and leaves nothing behind.\n")
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
		case <-d.operator.Exited():
			return d.operator.Ended()
		case line := <-lines:
			told += line + "\n"
			if !terminal {
				_, _ = fmt.Fprintln(d.out, line)
			}
		case <-time.After(time.Second):
		}
	}
}

// tellRepair sends the lines of a repair.
func (d *demo) tellRepair(ctx context.Context, lines chan<- string) {
	say := func(line string) {
		select {
		case lines <- line:
		case <-ctx.Done():
		}
	}
	if err := d.repair(ctx, say); err != nil {
		say(err.Error()) // perhaps because of what somebody tries meanwhile
	}
}

// check waits for the samples, and counts the requests. Then it does so with a repair.
func (d *demo) check(ctx context.Context) error {
	if err := d.waitForSamples(ctx); err != nil || d.simulator == nil {
		return err
	}
	var want []string
	for _, id := range d.samples {
		want = append(want, "PATCH /contacts/"+id+" 200")
	}
	time.Sleep(settleTime)
	first := d.simulator.Journal()
	if err := exactly(first, want...); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(d.out, "All is well: %d contacts are Ready, after exactly one PATCH each.\n\n", len(d.samples))

	repaired := make(chan error, 1)
	go func() { repaired <- d.repair(ctx, func(line string) { _, _ = fmt.Fprintln(d.out, line) }) }()
	select {
	case <-d.operator.Exited():
		return d.operator.Ended()
	case err := <-repaired:
		if err != nil {
			return err
		}
	}
	time.Sleep(settleTime)
	if err := exactly(d.simulator.Journal()[len(first):], "GET /contacts 200", "PATCH /contacts/"+d.samples[edited]+" 200"); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(d.out, "All is well: the edit was found with exactly one GET, and put right with exactly one PATCH.")
	return nil
}

// waitForSamples waits until every contact and their organization are Ready.
func (d *demo) waitForSamples(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for {
		table, ready, err := d.draw(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if ready {
			_, _ = fmt.Fprintln(d.out, table)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not every sample is Ready within %s:\n%s", checkTimeout, table)
		case <-d.operator.Exited():
			return d.operator.Ended()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// exactly is nil when the journal has these requests, each as "method path status", and no
// other. Their order does not matter.
func exactly(journal []opencxtest.Request, want ...string) error {
	var got []string
	for _, r := range journal {
		got = append(got, fmt.Sprintf("%s %s %d", r.Method, r.Path, r.Status))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("OpenCX received %q, want %q", got, want)
	}
	return nil
}
