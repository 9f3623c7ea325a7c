package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

const apiKey = "ocx_bench_key"

// world is a control plane and a simulated OpenCX, of which one case has all.
type world struct {
	context.Context
	folder     string
	kubeconfig string
	config     *rest.Config
	k8s        client.Client
	limit      budget.Limit
	simulator  *opencxtest.Server
	apiURL     string
	processes  int
}

// unlimited is a limit that nothing reaches.
var unlimited = budget.Limit{Requests: 1_000_000, Window: time.Minute}

// inWorld runs a case in a new world and takes that down afterwards.
func inWorld(ctx context.Context, limit budget.Limit, test func(*world) error) (err error) {
	folder, err := os.MkdirTemp("", "opencx-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	controlPlane := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := controlPlane.Start()
	if err != nil {
		return fmt.Errorf("starting the control plane: %w; is KUBEBUILDER_ASSETS set, as make bench sets it?", err)
	}
	defer func() { err = errors.Join(err, controlPlane.Stop()) }()
	config.QPS = -1
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	k8s, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	w := &world{
		Context: ctx, folder: folder, kubeconfig: filepath.Join(folder, "kubeconfig"), config: config, k8s: k8s, limit: limit,
		simulator: opencxtest.New(opencxtest.Options{
			Keys: []string{apiKey}, AcceptAnyContact: true, Limit: limit.Requests, Window: limit.Window,
		}),
	}
	server := httptest.NewServer(w.simulator)
	defer server.Close()
	w.apiURL = server.URL
	if err := os.WriteFile(w.kubeconfig, controlPlane.KubeConfig, 0o600); err != nil {
		return err
	}
	return test(w)
}

// declare creates n contacts, named after their namespace and a number.
func (w *world) declare(namespace string, n int) error {
	if err := w.k8s.Create(w, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); client.IgnoreAlreadyExists(err) != nil {
		return err
	}
	group, ctx := errgroup.WithContext(w)
	group.SetLimit(8)
	for i := range n {
		group.Go(func() error {
			name := fmt.Sprintf("%s-%04d", namespace, i)
			return w.k8s.Create(ctx, &v1alpha1.OpenCXContact{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
				Spec: v1alpha1.OpenCXContactSpec{
					ContactID:  name,
					Name:       new("Contact " + strconv.Itoa(i)),
					CustomData: map[string]string{"plan": "enterprise"},
				},
			})
		})
	}
	return group.Wait()
}

// ready is how many contacts are Ready.
func (w *world) ready() (n int, err error) {
	var contacts v1alpha1.OpenCXContactList
	err = w.k8s.List(w, &contacts)
	for _, contact := range contacts.Items {
		if meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition) {
			n++
		}
	}
	return n, err
}

// until waits until condition holds.
func (w *world) until(what string, timeout time.Duration, condition func() (bool, error)) error {
	deadline := time.Now().Add(timeout)
	for {
		if ok, err := condition(); ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s in vain for %s", timeout, what)
		}
		if err := w.pause(50 * time.Millisecond); err != nil {
			return err
		}
	}
}

// pause sleeps, unless the benchmark is interrupted.
func (w *world) pause(d time.Duration) error {
	select {
	case <-w.Done():
		return w.Err()
	case <-time.After(d):
		return nil
	}
}

// untilAccepted waits until OpenCX has accepted n contacts.
func (w *world) untilAccepted(n int, timeout time.Duration) error {
	return w.until(fmt.Sprintf("%d accepted contacts", n), timeout, func() (bool, error) {
		return len(w.accepted()) >= n, nil
	})
}

// untilReady waits until n contacts are Ready.
func (w *world) untilReady(n int, timeout time.Duration) error {
	return w.until(fmt.Sprintf("%d Ready contacts", n), timeout, func() (bool, error) {
		ready, err := w.ready()
		return ready >= n, errors.Join(err, w.pause(500*time.Millisecond)) // a list is work for the API server
	})
}

// accepted is when each contact was last accepted.
func (w *world) accepted() map[string]time.Time {
	at := map[string]time.Time{}
	for _, r := range w.simulator.Journal() {
		if r.Status == http.StatusOK {
			at[strings.TrimPrefix(r.Path, "/contacts/")] = r.AnsweredAt
		}
	}
	return at
}

// lastAccepted is when the last one of accepted was.
func lastAccepted(accepted map[string]time.Time) (last time.Time) {
	for _, at := range accepted {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// refused is how many requests of a journal exceeded the limit.
func refused(journal []opencxtest.Request) (n int) {
	for _, r := range journal {
		if r.Status == http.StatusTooManyRequests {
			n++
		}
	}
	return n
}

// process is a running operator or bare loop.
type process struct {
	cmd     *exec.Cmd
	log     string
	metrics string
	peakRSS float64
	ended   chan error
}

// startOperator starts the operator's binary and waits until it works.
func (w *world) startOperator() (*process, error) {
	listener, err := new(net.ListenConfig).Listen(w, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	p, err := w.start("manager", "--opencx-api-url="+w.apiURL, "--opencx-rate-limit="+w.limit.String(),
		"--leader-elect=false", "--health-probe-bind-address=0", "--metrics-bind-address="+address, "--metrics-secure=false")
	if err == nil {
		p.metrics = "http://" + address + "/metrics"
	}
	return p, err
}

// start starts a binary of bin and waits until its workers run.
func (w *world) start(binary string, args ...string) (*process, error) {
	w.processes++
	p := &process{log: filepath.Join(w.folder, fmt.Sprintf("%s-%d.log", binary, w.processes)), ended: make(chan error, 1)}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	// Not with the world's context, because a measurement ends by stop or kill.
	p.cmd = exec.CommandContext(context.Background(), filepath.Join("bin", binary), append(args, "--kubeconfig="+w.kubeconfig)...)
	p.cmd.Env = append(os.Environ(), "OPENCX_API_KEY="+apiKey, "OPENCX_API_URL="+w.apiURL)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the benchmark alone
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting bin/%s: %w", binary, err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	err = w.until(binary+" to start its workers", 2*time.Minute, func() (bool, error) {
		text, err := os.ReadFile(p.log)
		return strings.Contains(string(text), "Starting workers"), err
	})
	if err != nil {
		p.kill()
		text, _ := os.ReadFile(p.log)
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return p, nil
}

// stop ends the process in good order.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := <-p.ended; err != nil {
		return fmt.Errorf("bin ended: %w", err)
	}
	return nil
}

// kill ends the process at whatever it is doing. One that has ended stays so.
func (p *process) kill() {
	if p.cmd.ProcessState == nil && p.cmd.Process.Kill() == nil {
		<-p.ended //nolint:errcheck // it was killed
	}
}

// used is what an ended process used.
func (p *process) used() (cpu time.Duration, peakRSS float64) {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), p.peakRSS
}

// notePeakRSS notes the most memory that the running process ever had, in bytes.
// What Linux tells of an ended process includes the memory of the one that
// started it.
func (p *process) notePeakRSS() error {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return fmt.Errorf("measuring memory, which needs Linux: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes float64
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		return fmt.Errorf("reading VmHWM: %w", err)
	}
	p.peakRSS = kilobytes * 1024
	return nil
}

// metric sums a metric of the running operator over its labels.
func (w *world) metric(p *process, name string) (sum float64, err error) {
	request, err := http.NewRequestWithContext(w, http.MethodGet, p.metrics, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	for _, metric := range families[name].GetMetric() {
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	}
	return sum, nil
}

// writes counts what was written to the API server, in the way of the operator.
type writes struct{ status, events, reservations, conflicts float64 }

func (a writes) minus(b writes) writes {
	return writes{a.status - b.status, a.events - b.events, a.reservations - b.reservations, a.conflicts - b.conflicts}
}

// writes asks the API server what has been written since its start.
func (w *world) writes() (found writes, err error) {
	clientset, err := rest.RESTClientFor(restConfigFor(w.config))
	if err != nil {
		return found, err
	}
	text, err := clientset.Get().AbsPath("/metrics").DoRaw(w)
	if err != nil {
		return found, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		return found, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		found.add(labels(metric), metric.GetCounter().GetValue())
	}
	return found, nil
}

func (a *writes) add(label map[string]string, n float64) {
	switch label["verb"] {
	case "POST", "PUT", "PATCH":
	default:
		return
	}
	switch {
	case label["resource"] == "opencxcontacts" && label["subresource"] == "status":
		a.status += n
	case label["resource"] == "events":
		a.events += n
	case label["resource"] == "configmaps":
		a.reservations += n
	default:
		return
	}
	if label["code"] == strconv.Itoa(http.StatusConflict) {
		a.conflicts += n
	}
}

func labels(metric *dto.Metric) map[string]string {
	found := map[string]string{}
	for _, pair := range metric.GetLabel() {
		found[pair.GetName()] = pair.GetValue()
	}
	return found
}

func restConfigFor(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.GroupVersion = &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = clientgoscheme.Codecs.WithoutConversion()
	return config
}
