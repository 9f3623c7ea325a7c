package controller

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
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
	syncLatency = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "opencx_sync_latency_seconds",
		Help:    "Time from when the operator saw that a contact was created, changed or asked to be sent until OpenCX accepted it.",
		Buckets: []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600},
	})
)

func init() {
	metrics.Registry.MustRegister(requestsTotal, requestDuration, syncLatency)
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

// listTimeout bounds how long a scrape waits for the cache.
const listTimeout = 5 * time.Second

var (
	contactsDesc = prometheus.NewDesc("opencx_contacts",
		"OpenCXContact objects by status and reason of their Ready condition; reason is \"\" before the first look.",
		[]string{"ready", "reason"}, nil)
	limitDesc = prometheus.NewDesc("opencx_budget_limit",
		"Requests that the operator allows itself in a window, by the Secret with the API key; less than what was set while others use the same quota.",
		[]string{"credential"}, nil)
	availableDesc = prometheus.NewDesc("opencx_budget_available",
		"Requests that may be sent now without exceeding the limit, by the Secret with the API key.",
		[]string{"credential"}, nil)
	waitingDesc = prometheus.NewDesc("opencx_budget_waiting",
		"Contacts that wait for a request, by the Secret with the API key and the urgency of the request.",
		[]string{"credential", "class"}, nil)
	breakerDesc = prometheus.NewDesc("opencx_budget_breaker_open",
		"1 while requests are stopped, but for probes, because OpenCX refuses the API key or does not answer; by the Secret with the API key.",
		[]string{"credential"}, nil)
)

// collector computes when it is scraped what would be stale if it were kept.
type collector struct{ r *ContactReconciler }

// Collector returns the metrics of the reconciler's contacts and budget. They
// are there while this process leads.
func (r *ContactReconciler) Collector() prometheus.Collector { return collector{r} }

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{contactsDesc, limitDesc, availableDesc, waitingDesc, breakerDesc} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	if !c.r.leading.Load() {
		return
	}
	c.contacts(out)
	c.budget(out)
}

func (c collector) contacts(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	var contacts v1alpha1.OpenCXContactList
	if err := c.r.Client.List(ctx, &contacts, client.UnsafeDisableDeepCopy); err != nil {
		log.Log.WithName("metrics").Error(err, "Counting contacts")
		return
	}
	type state struct {
		ready  metav1.ConditionStatus
		reason string
	}
	counts := map[state]int{}
	for i := range contacts.Items {
		s := state{ready: metav1.ConditionUnknown}
		if c := meta.FindStatusCondition(contacts.Items[i].Status.Conditions, v1alpha1.ReadyCondition); c != nil {
			s = state{c.Status, c.Reason}
		}
		counts[s]++
	}
	for s, n := range counts {
		out <- prometheus.MustNewConstMetric(contactsDesc, prometheus.GaugeValue, float64(n), string(s.ready), s.reason)
	}
}

func (c collector) budget(out chan<- prometheus.Metric) {
	// Two keys in one Secret, or an old and a new one, have one name.
	byName := map[string]budget.State{}
	breakers := map[string]float64{}
	for _, state := range c.r.budget.States() {
		sum := byName[state.Credential]
		sum.Limit += state.Limit
		sum.Available += state.Available
		for class, n := range state.Waiting {
			sum.Waiting[class] += n
		}
		byName[state.Credential] = sum
		for credential, open := range state.BreakerOpen {
			if open {
				breakers[credential] = 1
			} else {
				breakers[credential] += 0
			}
		}
	}
	for credential, sum := range byName {
		out <- prometheus.MustNewConstMetric(limitDesc, prometheus.GaugeValue, float64(sum.Limit), credential)
		out <- prometheus.MustNewConstMetric(availableDesc, prometheus.GaugeValue, float64(sum.Available), credential)
		for class, n := range sum.Waiting {
			out <- prometheus.MustNewConstMetric(waitingDesc, prometheus.GaugeValue, float64(n), credential, budget.Class(class).String())
		}
	}
	for credential, open := range breakers {
		out <- prometheus.MustNewConstMetric(breakerDesc, prometheus.GaugeValue, open, credential)
	}
}
