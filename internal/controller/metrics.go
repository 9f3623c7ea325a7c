package controller

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

var (
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "opencx_api_requests_total",
		Help: "Requests to the OpenCX API by method and status code; code is \"none\" when no answer came.",
	}, []string{"method", "code"})
	requestDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "opencx_api_request_duration_seconds",
		Help:    "Time from sending a request to the OpenCX API until the header of its answer, by method.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15},
	}, []string{"method"})
)

func init() {
	metrics.Registry.MustRegister(requestsTotal, requestDuration)
}

// ObserveCall counts one request to OpenCX.
func ObserveCall(call opencx.Call) {
	code := "none"
	if call.StatusCode != 0 {
		code = strconv.Itoa(call.StatusCode)
	}
	requestsTotal.WithLabelValues(call.Method, code).Inc()
	requestDuration.WithLabelValues(call.Method).Observe(call.Duration.Seconds())
}
