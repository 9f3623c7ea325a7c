//go:build platforms

package monitoring

import (
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// customResourceState is the part of kube-state-metrics' configuration that we use.
type customResourceState struct {
	Kind string
	Spec struct {
		Resources []struct {
			GroupVersionKind struct{ Group, Version, Kind string }
			MetricNamePrefix string
			LabelsFromPath   map[string][]string
			Metrics          []struct {
				Name, Help string
				Each       struct {
					Type        string
					Info, Gauge *struct {
						Path, ValueFrom []string
						LabelsFromPath  map[string][]string
						NilIsZero       bool
					}
				}
			}
		}
	}
}

// fieldAt follows a path into a schema; an array is passed through.
func fieldAt(schema *apiextensionsv1.JSONSchemaProps, path ...string) *apiextensionsv1.JSONSchemaProps {
	GinkgoHelper()
	for _, name := range path {
		field, has := schema.Properties[name]
		Expect(has).To(BeTrue(), "%s of %s", name, strings.Join(path, "."))
		schema = &field
		if schema.Items != nil {
			schema = schema.Items.Schema
		}
	}
	return schema
}

var _ = Describe("config/kube-state-metrics", func() {
	It("reads fields that there are, and labels nothing with what is private", func() {
		var config customResourceState
		Expect(yaml.UnmarshalStrict([]byte(read("config", "kube-state-metrics", "custom-resource-state.yaml")), &config)).To(Succeed())
		Expect(config.Kind).To(Equal("CustomResourceStateMetrics"))
		Expect(config.Spec.Resources).To(HaveLen(2))
		for _, resource := range config.Spec.Resources {
			var crd apiextensionsv1.CustomResourceDefinition
			plural := strings.ToLower(resource.GroupVersionKind.Kind) + "s"
			Expect(json.Unmarshal([]byte(kubectl("get", "crd", plural+"."+resource.GroupVersionKind.Group, "--output=json")), &crd)).To(Succeed())
			Expect(crd.Spec.Versions[0].Name).To(Equal(resource.GroupVersionKind.Version))
			schema := crd.Spec.Versions[0].Schema.OpenAPIV3Schema
			// A CRD does not say what metadata has. Annotations, for one, hold the whole manifest.
			schema.Properties["metadata"] = apiextensionsv1.JSONSchemaProps{Properties: map[string]apiextensionsv1.JSONSchemaProps{"creationTimestamp": {}}}
			Expect(resource.LabelsFromPath).To(Equal(map[string][]string{"namespace": {"metadata", "namespace"}, "name": {"metadata", "name"}}))
			for _, metric := range resource.Metrics {
				Expect(metric.Help).NotTo(BeEmpty())
				each := metric.Each.Gauge
				if metric.Each.Type == "Info" {
					each = metric.Each.Info
				}
				at := fieldAt(schema, append(each.Path, each.ValueFrom...)...)
				for _, path := range each.LabelsFromPath {
					fieldAt(at, path...)
					Expect(append(each.Path, path...)).NotTo(Or(ContainElement("spec"), ContainElement("message"), ContainElement("lastError")), metric.Name)
				}
				Expect(page.Text).To(ContainSubstring("| `"+resource.MetricNamePrefix+"_"+metric.Name+"` |"), "in the page's table")
			}
		}
	})

	It("is applied with the rights that it needs and no others", func(ctx SpecContext) {
		runFromPage(ctx, "kubectl apply --server-side -k config/kube-state-metrics")
		as := "--as=system:serviceaccount:monitoring:kube-state-metrics"
		for _, resource := range []string{"opencxcontacts.contacts.open.cx", "opencxorganizations.contacts.open.cx", "customresourcedefinitions.apiextensions.k8s.io"} {
			Expect(kubectl("auth", "can-i", "watch", resource, "--all-namespaces", as)).To(HavePrefix("yes"))
		}
		_, err := controlPlane.Kubectl(ctx, "", "auth", "can-i", "list", "secrets", "--all-namespaces", as)
		Expect(err).To(HaveOccurred())
	})
})
