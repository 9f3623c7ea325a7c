//go:build linux

package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// deployed returns the operator's container as config/manager declares it.
func deployed() (corev1.Container, error) {
	file, err := os.Open(filepath.Join("..", "..", "config", "manager", "manager.yaml"))
	if err != nil {
		return corev1.Container{}, err
	}
	defer func() { _ = file.Close() }()
	for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
		var deployment appsv1.Deployment
		if err := decoder.Decode(&deployment); err != nil {
			return corev1.Container{}, fmt.Errorf("looking for the Deployment: %w", err)
		}
		if deployment.Kind == "Deployment" {
			return deployment.Spec.Template.Spec.Containers[0], nil
		}
	}
}

// process is a running operator with a watchdog, which kills it when it has more
// memory than its container may have.
//
// The watchdog stands in for the kernel's OOM killer, so that a test needs no cgroup,
// which few machines let a test make, and harms no machine. It is stricter than that:
// the pages of the binary, which the kernel could take back, count as well.
type process struct {
	*operatortest.Operator
	metrics string
	limit   int64 // in bytes

	mu     sync.Mutex
	peak   int64 // in bytes, since forgetPeak
	killed bool
}

// start starts the operator's binary as container says, and waits until it works.
func start(ctx context.Context, container corev1.Container, options operatortest.OperatorOptions) (*process, error) {
	address, err := operatortest.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	options.Args = append(options.Args, "--metrics-bind-address="+address, "--metrics-secure=false")
	for _, variable := range container.Env {
		if variable.ValueFrom == nil {
			options.Env = append(options.Env, variable.Name+"="+variable.Value)
		}
	}
	operator, err := operatortest.LaunchOperator(options)
	if err != nil {
		return nil, err
	}
	p := &process{Operator: operator, metrics: "http://" + address + "/metrics", limit: container.Resources.Limits.Memory().Value()}
	go p.watch()
	if err := operator.WaitForWorkers(ctx); err != nil {
		operator.Kill()
		return nil, errors.Join(err, p.end())
	}
	return p, nil
}

// watch looks at the memory until the process has ended.
func (p *process) watch() {
	const often = 5 * time.Millisecond // in which few hundred MB can be filled
	for {
		select {
		case <-p.Exited():
			return
		case <-time.After(often):
		}
		if p.look() {
			p.Kill()
		}
	}
}

// look notes the peak and says whether the process has too much.
func (p *process) look() (tooMuch bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	resident, peak, err := residentSet(p.Pid())
	if err != nil {
		return false // it has ended
	}
	p.peak = max(p.peak, peak)
	p.killed = p.killed || resident > p.limit
	return p.killed
}

// residentSet is what a process has of memory, and the most that it had.
func residentSet(pid int) (now, peak int64, err error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for name, value := range map[string]*int64{"VmRSS:": &now, "VmHWM:": &peak} {
		_, rest, _ := strings.Cut(string(text), name)
		if _, err := fmt.Sscan(rest, value); err != nil {
			return 0, 0, fmt.Errorf("reading %s %w", name, err)
		}
		*value <<= 10 // it is told in kB
	}
	return now, peak, nil
}

// forgetPeak begins a new measurement, with what the process has now.
func (p *process) forgetPeak() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peak = 0
	return os.WriteFile(filepath.Join("/proc", strconv.Itoa(p.Pid()), "clear_refs"), []byte("5"), 0o200)
}

// peakMiB is the most memory since forgetPeak.
func (p *process) peakMiB() int64 {
	p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak >> 20
}

// end is nil while the process runs, and otherwise says why it does not.
func (p *process) end() error {
	if p.State() == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return fmt.Errorf("the operator was killed: it had more than its %d MiB of memory, at the peak %d", p.limit>>20, p.peak>>20)
	}
	return p.Ended()
}

// scrape returns the metrics.
func (p *process) scrape(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.metrics, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("reading metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}
