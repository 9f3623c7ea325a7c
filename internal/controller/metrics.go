package controller

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

var (
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "opencx_api_requests_total",
		Help: "Requests to the OpenCX API by method and status code; code is \"none\" when no answer came.",
	}, []string{"method", "code"})
	requestDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "opencx_api_request_duration_seconds",
		Help:    "Time from sending a request to the OpenCX API until the header of its answer, by method.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
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
		"OpenCXContact objects by organization, and by status and reason of their Ready condition; organization is \"\" where it does not exist or is closed to the contact, reason before the first look.",
		[]string{"organization", "ready", "reason"}, nil)
	limitDesc = prometheus.NewDesc("opencx_budget_limit",
		"Requests that the operator allows itself in a window, by organization; less than was set while others use the same quota.",
		[]string{"organization"}, nil)
	availableDesc = prometheus.NewDesc("opencx_budget_available",
		"Requests of the window that are left, by organization; whether one may be sent now depends on more.",
		[]string{"organization"}, nil)
	waitingDesc = prometheus.NewDesc("opencx_budget_waiting",
		"Contacts that wait for a request, by organization and the urgency of the request.",
		[]string{"organization", "class"}, nil)
	breakerDesc = prometheus.NewDesc("opencx_budget_breaker_open",
		"1 while requests are stopped, but for probes, because OpenCX refuses the API key or does not answer; by organization.",
		[]string{"organization"}, nil)
	drainDesc = prometheus.NewDesc("opencx_budget_drain_seconds",
		"Time until roughly the last contact that waits for a request will have had it, by organization; 0 when none waits.",
		[]string{"organization"}, nil)
)

// collector computes when it is scraped what would be stale if it were kept. It is
// silent until this process leads.
type collector struct {
	cache         client.Reader
	budget        *budget.Budget
	organizations *organization.Organizations
	leads         <-chan struct{} // closed from then on
}

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{contactsDesc, limitDesc, availableDesc, waitingDesc, breakerDesc, drainDesc} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	select {
	case <-c.leads:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	if err := c.contacts(ctx, out); err != nil {
		log.Log.WithName("metrics").Error(err, "Counting contacts")
	}
	for _, state := range c.budget.States() {
		gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{state.Organization}, labels...)...)
		}
		gauge(limitDesc, float64(state.Limit))
		gauge(availableDesc, float64(state.Available))
		for class, n := range state.Waiting {
			gauge(waitingDesc, float64(n), budget.Class(class).String())
		}
		drain := 0.0
		if !state.DrainsAt.IsZero() {
			drain = max(0, time.Until(state.DrainsAt).Seconds())
		}
		gauge(drainDesc, drain)
		open := 0.0
		if state.BreakerOpen {
			open = 1
		}
		gauge(breakerDesc, open)
	}
}

func (c collector) contacts(ctx context.Context, out chan<- prometheus.Metric) error {
	var contacts v1alpha1.OpenCXContactList
	if err := c.cache.List(ctx, &contacts, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	type group struct {
		organization, reason string
		ready                metav1.ConditionStatus
	}
	counts := map[group]int{}
	type use struct {
		organization types.NamespacedName
		namespace    string
	}
	labels := map[use]string{} // not of what tenants invent, nor of what is closed to them
	for i := range contacts.Items {
		u := use{c.organizations.NameFor(&contacts.Items[i]), contacts.Items[i].Namespace}
		if _, known := labels[u]; !known {
			may, err := c.organizations.MayUse(ctx, u.organization, u.namespace)
			if err != nil {
				return err
			}
			if labels[u] = ""; may {
				labels[u] = u.organization.String()
			}
		}
		s := stateOf(&contacts.Items[i].Status)
		counts[group{labels[u], s.reason, cmp.Or(s.ready, metav1.ConditionUnknown)}]++
	}
	for g, n := range counts {
		out <- prometheus.MustNewConstMetric(contactsDesc, prometheus.GaugeValue, float64(n), g.organization, string(g.ready), g.reason)
	}
	return nil
}
