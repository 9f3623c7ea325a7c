package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// writes counts what was written to the API server, in the way of the operator.
// status is that of contacts, organizations that of organizations.
type writes struct{ status, organizations, events, reservations, conflicts float64 }

func (a writes) minus(b writes) writes {
	return writes{a.status - b.status, a.organizations - b.organizations, a.events - b.events, a.reservations - b.reservations, a.conflicts - b.conflicts}
}

// writes asks the API server what has been written since its start.
func (w *world) writes() (found writes, err error) {
	clientset, err := rest.RESTClientFor(restConfigFor(w.controlPlane.Config))
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
	case label["resource"] == "opencxorganizations" && label["subresource"] == "status":
		a.organizations += n
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
