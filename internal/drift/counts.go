package drift

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	sweepsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "opencx_drift_sweeps_total",
		Help: "Sweeps of what has changed in OpenCX, by organization and result: swept, failed, or forbidden when the API key may not list contacts.",
	}, []string{"organization", "result"})
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "opencx_drift_requests_total",
		Help: "Requests that sweeps have made, by organization; one sweep makes one for each page of what has changed.",
	}, []string{"organization"})
	contactsSeen = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "opencx_drift_contacts_seen_total",
		Help: "Contacts that OpenCX listed in sweeps, by organization, in the manifests or not.",
	}, []string{"organization"})
	// foundTotal and repairedTotal are counted by whoever compares and sends contacts.
	foundTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "opencx_drifts_found_total",
		Help: "Contacts of which OpenCX was seen to have something else than was declared, by organization; one that stays so counts once.",
	}, []string{"organization"})
	repairedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "opencx_drifts_repaired_total",
		Help: "Contacts that OpenCX accepted again because it had something else, by organization.",
	}, []string{"organization"})
)

func init() {
	metrics.Registry.MustRegister(sweepsTotal, requestsTotal, contactsSeen, foundTotal, repairedTotal)
}

// CountFound counts a contact that has drifted.
func CountFound(organization string) { foundTotal.WithLabelValues(organization).Inc() }

// CountRepaired counts a contact that was repaired.
func CountRepaired(organization string) { repairedTotal.WithLabelValues(organization).Inc() }

// forgetCounts ends the series of an organization that is gone.
func forgetCounts(organization string) {
	for _, counts := range []*prometheus.CounterVec{sweepsTotal, requestsTotal, contactsSeen, foundTotal, repairedTotal} {
		counts.DeletePartialMatch(prometheus.Labels{"organization": organization})
	}
}
