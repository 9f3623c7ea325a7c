package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// process is a running operator or bare loop.
type process struct {
	*operatortest.Operator
	metrics string
	peakRSS float64
}

// startOperator starts the operator's binary and waits until it works.
func (w *world) startOperator(args ...string) (*process, error) {
	address, err := operatortest.FreeAddress(w)
	if err != nil {
		return nil, err
	}
	p, err := w.start(operatortest.OperatorOptions{
		Binary: filepath.Join("bin", "manager"), APIURL: w.simulator.URL,
		Args: append(args, "--opencx-rate-limit="+w.limit.String(), "--leader-elect=false", "--metrics-bind-address="+address, "--metrics-secure=false"),
	})
	if err == nil {
		p.metrics = "http://" + address + "/metrics"
	}
	return p, err
}

// startBareLoop starts the bare loop's binary and waits until it works.
func (w *world) startBareLoop() (*process, error) {
	return w.start(operatortest.OperatorOptions{
		Binary: filepath.Join("bin", "bareloop"),
		Env:    []string{"OPENCX_API_KEY=" + apiKey, "OPENCX_API_URL=" + w.simulator.URL},
	})
}

func (w *world) start(options operatortest.OperatorOptions) (*process, error) {
	w.processes++
	options.Kubeconfig = w.controlPlane.Kubeconfig
	options.LogFile = filepath.Join(w.controlPlane.Folder, fmt.Sprintf("%d.log", w.processes))
	operator, err := operatortest.StartOperator(w, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", options.Binary, err)
	}
	return &process{Operator: operator}, nil
}

// used is what an ended process used.
func (p *process) used() (cpu time.Duration, peakRSS float64) {
	return p.State().UserTime() + p.State().SystemTime(), p.peakRSS
}

// notePeakRSS notes the most memory that the running process ever had, in bytes.
// What Linux tells of an ended process includes the memory of the one that
// started it.
func (p *process) notePeakRSS() error {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Pid()), "status"))
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
	text, err := w.get(p.metrics)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	for _, metric := range families[name].GetMetric() {
		sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	}
	return sum, nil
}

// get returns what stands at a URL.
func (w *world) get(url string) (body []byte, err error) {
	request, err := http.NewRequestWithContext(w, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if body, err = io.ReadAll(response.Body); err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return body, err
}
