// Demo shows the operator at work: a real kube-apiserver, a simulated OpenCX,
// the operator's real binary, and the samples applied to it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
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
	out          io.Writer
	controlPlane *operatortest.ControlPlane
	simulator    *operatortest.Simulator // nil when OpenCX is real
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
		samples, err := readSamples(filepath.Join("config", "samples"))
		if err != nil {
			return err
		}
		d.simulator = operatortest.StartSimulator(opencxtest.Options{Keys: []string{key}, Contacts: samples})
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
// whenever it has changed.
func (d *demo) watch(ctx context.Context) error {
	terminal := term.IsTerminal(int(os.Stdout.Fd()))
	shown := ""
	for {
		table, _, err := d.draw(ctx)
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
		case <-d.operator.Exited():
			return d.operator.Ended()
		case <-time.After(time.Second):
		}
	}
}

// check waits until every contact and their organization are Ready, and then a
// little longer to see whether a needless request follows.
func (d *demo) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for {
		table, ready, err := d.draw(ctx)
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
		case <-d.operator.Exited():
			return d.operator.Ended()
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
	if err := onePatchEach(d.simulator.Journal(), contacts); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(d.out, "All is well: %d contacts are Ready, after exactly one PATCH each.\n", len(contacts))
	return nil
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
