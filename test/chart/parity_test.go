//go:build platforms

package chart

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// helmLabels are those that the chart gives to every object. Kustomize's objects have at
// most the first one. Labels of Pods are compared as they are.
var helmLabels = []string{
	"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version",
	"app.kubernetes.io/managed-by", "helm.sh/chart",
}

// objectsIn returns the objects of some YAML by kind and name, without what Helm and
// kustomize do differently on purpose: the labels above, the annotation that keeps CRDs,
// and the Namespace, which helm install --create-namespace makes.
func objectsIn(text string) map[string]string {
	GinkgoHelper()
	objects := map[string]string{}
	for document := range strings.SplitSeq("\n"+text, "\n---\n") {
		object := unstructured.Unstructured{}
		Expect(yaml.Unmarshal([]byte(strings.TrimPrefix(document, "\n---")), &object.Object)).To(Succeed(), document)
		if object.Object == nil || object.GetKind() == "Namespace" {
			continue
		}
		labels, annotations := object.GetLabels(), object.GetAnnotations()
		maps.DeleteFunc(labels, func(key, _ string) bool { return slices.Contains(helmLabels, key) })
		delete(annotations, "helm.sh/resource-policy")
		object.SetLabels(noneIfEmpty(labels))
		object.SetAnnotations(noneIfEmpty(annotations))
		name := fmt.Sprintf("%s %s/%s", object.GetKind(), object.GetNamespace(), object.GetName())
		Expect(objects).NotTo(HaveKey(name))
		plain, err := yaml.Marshal(object.Object)
		Expect(err).NotTo(HaveOccurred())
		objects[name] = string(plain)
	}
	return objects
}

func noneIfEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// differences says what is not the same.
func differences(kustomize, helm map[string]string) []string {
	var all []string
	for name, want := range kustomize {
		if got, there := helm[name]; !there {
			all = append(all, name+" is not in the chart")
		} else if got != want {
			all = append(all, fmt.Sprintf("%s differs: kustomize has\n%s\nand the chart\n%s", name, want, got))
		}
	}
	for name := range helm {
		if _, there := kustomize[name]; !there {
			all = append(all, name+" is only in the chart")
		}
	}
	slices.Sort(all)
	return all
}

// kustomized builds a base of config with components of config laid over it.
func kustomized(base string, components ...string) map[string]string {
	GinkgoHelper()
	folder := GinkgoT().TempDir()
	full, err := filepath.Abs(filepath.Join(root, "config"))
	Expect(err).NotTo(HaveOccurred())
	config, err := filepath.Rel(folder, full)
	Expect(err).NotTo(HaveOccurred())
	kustomization := "resources:\n- " + filepath.Join(config, base) + "\ncomponents:\n"
	for _, component := range components {
		kustomization += "- " + filepath.Join(config, component) + "\n"
	}
	Expect(os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(kustomization), 0o600)).To(Succeed())
	text, err := run(kubectl, "kustomize", folder)
	Expect(err).NotTo(HaveOccurred(), text)
	return objectsIn(text)
}

const (
	latest   = "image.tag=latest" // which config has until it is deployed
	notified = "eventsAddr=http://notification-controller.flux-system.svc.cluster.local./"
)

var _ = DescribeTable("The chart is what kustomize makes of",
	func(kustomization []string, values ...string) {
		kustomize := kustomized(kustomization[0], kustomization[1:]...)
		helm := objectsIn(rendered("--set", strings.Join(append(values, latest), ",")))
		Expect(differences(kustomize, helm)).To(BeEmpty())
		Expect(len(helm)).To(BeNumerically(">", 15))
	},
	Entry("config/default", []string{"default"}),
	Entry("config/namespaced", []string{"namespaced"}, "watchNamespaces={shop}"),
	Entry("config/default with config/network-policy", []string{"default", "network-policy"}, "networkPolicy.enabled=true"),
	Entry("config/default with config/prometheus", []string{"default", "prometheus"}, "prometheus.serviceMonitor.enabled=true", "prometheus.rules.enabled=true"),
	Entry("config/default with config/flux", []string{"default", "flux"}, notified),
	Entry("config/default with config/network-policy and config/flux", []string{"default", "network-policy", "flux"}, "networkPolicy.enabled=true", notified),
	Entry("config/namespaced with config/network-policy", []string{"namespaced", "network-policy"}, "watchNamespaces={shop}", "networkPolicy.enabled=true"),
)

var _ = Describe("The chart's dashboard", func() {
	It("is that of config/grafana, as it is", func() {
		dashboard, err := os.ReadFile(filepath.Join(root, "config", "grafana", "opencx-operator.json"))
		Expect(err).NotTo(HaveOccurred())
		config := corev1.ConfigMap{}
		text := objectsIn(rendered("--set", "grafana.dashboard.enabled=true"))["ConfigMap opencx-system/opencx-dashboard"]
		Expect(yaml.Unmarshal([]byte(text), &config)).To(Succeed())
		Expect(config.Data).To(HaveKeyWithValue("opencx-operator.json", MatchJSON(dashboard)))
	})
})

var _ = Describe("The comparison of chart and kustomize", func() {
	It("finds what somebody changes in one of them alone", func() {
		changed := filepath.Join(GinkgoT().TempDir(), "chart")
		Expect(os.CopyFS(changed, os.DirFS(chart))).To(Succeed())
		for file, edit := range map[string][2]string{
			"templates/rbac.yaml":                             {"verbs: [get, update]", "verbs: [get]"},
			"templates/metrics_service.yaml":                  {"-metrics\n", "-numbers\n"},
			"files/crds/contacts.open.cx_opencxcontacts.yaml": {"maxLength: 320", "maxLength: 321"},
			"templates/deployment.yaml":                       {"terminationGracePeriodSeconds: 35", "terminationGracePeriodSeconds: 30"},
		} {
			path := filepath.Join(changed, file)
			text, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred())
			Expect(string(text)).To(ContainSubstring(edit[0]))
			Expect(os.WriteFile(path, []byte(strings.Replace(string(text), edit[0], edit[1], 1)), 0o600)).To(Succeed())
		}
		text, err := template(changed, "--set", latest)
		Expect(err).NotTo(HaveOccurred(), text)
		Expect(differences(kustomized("default"), objectsIn(text))).To(HaveExactElements(
			HavePrefix("CustomResourceDefinition /opencxcontacts.contacts.open.cx differs"),
			HavePrefix("Deployment opencx-system/opencx-controller-manager differs"),
			HavePrefix("Role opencx-system/opencx-leader-election-role differs"),
			Equal("Service opencx-system/opencx-controller-manager-metrics is not in the chart"),
			Equal("Service opencx-system/opencx-controller-manager-numbers is only in the chart"),
		))
	})
})
