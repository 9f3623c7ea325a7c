package controller

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
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
		"Contacts that wait for a request, by organization and the urgency of the request. A look for drift that waits is a resync.",
		[]string{"organization", "class"}, nil)
	breakerDesc = prometheus.NewDesc("opencx_budget_breaker_open",
		"1 while requests are stopped, but for probes, because OpenCX refuses the API key or does not answer; by organization.",
		[]string{"organization"}, nil)
	notReadyDesc = prometheus.NewDesc("opencx_contacts_not_ready_seconds",
		"Time since the status of its Ready condition changed, of the contact of which that is longest ago among those that are not Ready, by organization and reason; since its creation before the first look.",
		[]string{"organization", "reason"}, nil)
	organizationsDesc = prometheus.NewDesc("opencx_organizations",
		"1 for each OpenCXOrganization object, by name, and by status and reason of its Ready condition; reason is \"\" before the first look.",
		[]string{"organization", "ready", "reason"}, nil)
	overcommittedDesc = prometheus.NewDesc("opencx_organization_overcommitted",
		"1 while the resyncs of an organization's contacts need more than half of its limit, as its condition Overcommitted says.",
		[]string{"organization"}, nil)
	watermarkDesc = prometheus.NewDesc("opencx_drift_watermark_age_seconds",
		"Time since the moment from which on nobody has looked yet for what has changed in OpenCX, by organization; of those that look.",
		[]string{"organization"}, nil)
	leaderDesc = prometheus.NewDesc("opencx_operator_leader",
		"1 in the replica that leads, and so sends; 0 in the others, which have no series by organization.",
		nil, nil)
	drainDesc = prometheus.NewDesc("opencx_budget_drain_seconds",
		"Time until roughly the last contact that waits for a request will have had it, by organization; 0 when none waits.",
		[]string{"organization"}, nil)
)

// collector computes when it is scraped what would be stale if it were kept. Until this
// process leads, it tells only that.
type collector struct {
	cache         client.Reader
	budget        *budget.Budget
	organizations *organization.Organizations
	leads         <-chan struct{} // closed from then on
}

// Describe implements prometheus.Collector.
func (collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		contactsDesc, notReadyDesc, organizationsDesc, overcommittedDesc, watermarkDesc, leaderDesc,
		limitDesc, availableDesc, waitingDesc, breakerDesc, drainDesc,
	} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	select {
	case <-c.leads:
	default:
		gauge(out, leaderDesc, 0)
		return
	}
	gauge(out, leaderDesc, 1)
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	if err := c.contacts(ctx, out, time.Now()); err != nil {
		log.Log.WithName("metrics").Error(err, "Counting contacts")
	}
	if err := c.ofOrganizations(ctx, out); err != nil {
		log.Log.WithName("metrics").Error(err, "Counting organizations")
	}
	for _, state := range c.budget.States() {
		gauge(out, limitDesc, float64(state.Limit), state.Organization)
		gauge(out, availableDesc, float64(state.Available), state.Organization)
		for class, n := range state.Waiting {
			gauge(out, waitingDesc, float64(n), state.Organization, budget.Class(class).String())
		}
		drain := 0.0
		if !state.DrainsAt.IsZero() {
			drain = max(0, time.Until(state.DrainsAt).Seconds())
		}
		gauge(out, drainDesc, drain, state.Organization)
		gauge(out, breakerDesc, oneIf(state.BreakerOpen), state.Organization)
	}
}

func gauge(out chan<- prometheus.Metric, desc *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// ofOrganizations tells what the status of organizations says.
func (c collector) ofOrganizations(ctx context.Context, out chan<- prometheus.Metric) error {
	var all v1alpha1.OpenCXOrganizationList
	if err := c.cache.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range all.Items {
		name, conditions := client.ObjectKeyFromObject(&all.Items[i]).String(), all.Items[i].Status.Conditions
		ready := meta.FindStatusCondition(conditions, v1alpha1.ReadyCondition)
		if ready == nil {
			ready = &metav1.Condition{Status: metav1.ConditionUnknown}
		}
		gauge(out, organizationsDesc, 1, name, string(ready.Status), ready.Reason)
		gauge(out, overcommittedDesc, oneIf(meta.IsStatusConditionTrue(conditions, v1alpha1.OvercommittedCondition)), name)
		looks := !all.Items[i].Spec.Suspend && c.organizations.DriftCheckIntervalOf(&all.Items[i]) > 0
		if swept := all.Items[i].Status.Sweep; looks && swept != nil && swept.Watermark != nil {
			gauge(out, watermarkDesc, time.Since(swept.Watermark.Time).Seconds(), name)
		}
	}
	return nil
}

func (c collector) contacts(ctx context.Context, out chan<- prometheus.Metric, now time.Time) error {
	var contacts v1alpha1.OpenCXContactList
	if err := c.cache.List(ctx, &contacts, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	type group struct {
		organization, reason string
		ready                metav1.ConditionStatus
	}
	counts := map[group]int{}
	longest := map[group]time.Duration{} // of which ready is not set
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
		if !s.isReady() {
			g := group{organization: labels[u], reason: s.reason}
			longest[g] = max(longest[g], now.Sub(notReadySince(&contacts.Items[i])))
		}
	}
	for g, n := range counts {
		gauge(out, contactsDesc, float64(n), g.organization, string(g.ready), g.reason)
	}
	for g, d := range longest {
		gauge(out, notReadyDesc, d.Seconds(), g.organization, g.reason)
	}
	return nil
}

// notReadySince is when the status of a contact's Ready condition changed.
func notReadySince(contact *v1alpha1.OpenCXContact) time.Time {
	if ready := meta.FindStatusCondition(contact.Status.Conditions, v1alpha1.ReadyCondition); ready != nil {
		return ready.LastTransitionTime.Time
	}
	return contact.CreationTimestamp.Time
}
