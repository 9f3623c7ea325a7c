package e2e

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// renderings are what kubectl printed of kustomizations.
var renderings = map[string]string{}

// rendered returns the objects of a kustomization that are of the kind of T.
func rendered[T client.Object](folder, kind string) []T {
	GinkgoHelper()
	if renderings[folder] == "" {
		renderings[folder] = kubectl("kustomize", folder)
	}
	var objects []T
	for document := range strings.SplitSeq(renderings[folder], "\n---\n") {
		if !strings.Contains("\n"+document, "\nkind: "+kind+"\n") {
			continue
		}
		var object T
		Expect(yaml.UnmarshalStrict([]byte(document), &object)).To(Succeed())
		objects = append(objects, object)
	}
	return objects
}

// rulesIn returns the rules of all roles of a kustomization, by kind and name.
func rulesIn(folder string) map[string][]rbacv1.PolicyRule {
	GinkgoHelper()
	all := map[string][]rbacv1.PolicyRule{}
	for _, role := range rendered[*rbacv1.ClusterRole](folder, "ClusterRole") {
		all["ClusterRole "+role.Name] = role.Rules
	}
	for _, role := range rendered[*rbacv1.Role](folder, "Role") {
		all["Role "+role.Namespace+"/"+role.Name] = role.Rules
	}
	return all
}

// grantsIn says who may do what with a resource, as "role: verbs names".
func grantsIn(folder, resource string) []string {
	GinkgoHelper()
	var grants []string
	for role, rules := range rulesIn(folder) {
		for _, rule := range rules {
			if slices.Contains(rule.Resources, resource) {
				grants = append(grants, fmt.Sprintf("%s: %v %v", role, rule.Verbs, rule.ResourceNames))
			}
		}
	}
	return grants
}

var _ = Describe("The shipped manifests", func() {
	clusterWide, namespaced := filepath.Join(root, "config", "default"), filepath.Join(root, "config", "namespaced")

	It("grant no wildcard", func() {
		for _, folder := range []string{clusterWide, namespaced} {
			roles := rulesIn(folder)
			Expect(roles).To(HaveKey("ClusterRole opencx-metrics-auth-role"))
			for role, rules := range roles {
				Expect(rules).NotTo(BeEmpty(), role)
				for _, rule := range rules {
					Expect(slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs, rule.NonResourceURLs)).NotTo(ContainElement(ContainSubstring("*")), role)
				}
			}
		}
	})

	It("let nobody write Secrets, and the operator read one alone in a namespace without contacts", func() {
		Expect(grantsIn(clusterWide, "secrets")).To(ConsistOf("ClusterRole opencx-manager-role: [get list watch] []"))
		Expect(grantsIn(namespaced, "secrets")).To(ConsistOf(
			"Role shop/opencx-manager-role: [get list watch] []",
			"Role opencx-system/opencx-own-namespace-role: [get list watch] [opencx-api-key]"))
	})

	It("let the operator write in its namespace what is its own, where Kubernetes can tell", func() {
		for _, folder := range []string{clusterWide, namespaced} {
			// The name of what is created is not known when a rule is looked at.
			Expect(grantsIn(folder, "leases")).To(ConsistOf(
				"Role opencx-system/opencx-leader-election-role: [create] []",
				"Role opencx-system/opencx-leader-election-role: [get update] [opencx-operator.open.cx]"))
			Expect(grantsIn(folder, "configmaps")).To(ContainElements(
				"Role opencx-system/opencx-manager-role: [create] []",
				"Role opencx-system/opencx-manager-role: [get update] [opencx-operator-budget]"))
		}
	})

	It("let tenants read status, and the operator alone write it", func() {
		for _, folder := range []string{clusterWide, namespaced} {
			aggregated := 0
			for _, role := range rendered[*rbacv1.ClusterRole](folder, "ClusterRole") {
				if !strings.Contains(fmt.Sprint(role.Labels), "aggregate-to-") {
					continue
				}
				aggregated++
				for _, rule := range role.Rules {
					if slices.ContainsFunc(rule.Resources, func(resource string) bool { return strings.HasSuffix(resource, "/status") }) {
						Expect(rule.Verbs).To(Equal([]string{"get"}), role.Name)
					}
				}
			}
			Expect(aggregated).To(Equal(4))
		}
		Expect(grantsIn(clusterWide, "opencxcontacts/status")).To(ConsistOf(
			"ClusterRole opencx-manager-role: [patch] []",
			"ClusterRole opencx-opencxcontact-editor-role: [get] []", "ClusterRole opencx-opencxcontact-viewer-role: [get] []"))
		Expect(grantsIn(clusterWide, "opencxorganizations/status")).To(ConsistOf(
			"ClusterRole opencx-manager-role: [patch] []",
			"ClusterRole opencx-opencxorganization-editor-role: [get] []", "ClusterRole opencx-opencxorganization-viewer-role: [get] []"))
	})

	It("give a token to the Pods of the operator alone", func() {
		for _, folder := range []string{clusterWide, namespaced} {
			account := rendered[*corev1.ServiceAccount](folder, "ServiceAccount")[0]
			pod := rendered[*appsv1.Deployment](folder, "Deployment")[0].Spec.Template.Spec
			Expect(account.AutomountServiceAccountToken).To(HaveValue(BeFalse()))
			Expect(pod.ServiceAccountName).To(Equal(account.Name))
			Expect(pod.AutomountServiceAccountToken).To(HaveValue(BeTrue()))
		}
	})

	It("have Go collect garbage before the container's limit kills", func() {
		container := rendered[*appsv1.Deployment](clusterWide, "Deployment")[0].Spec.Template.Spec.Containers[0]
		i := slices.IndexFunc(container.Env, func(env corev1.EnvVar) bool { return env.Name == "GOMEMLIMIT" })
		Expect(i).To(BeNumerically(">=", 0))
		soft := resource.MustParse(strings.TrimSuffix(container.Env[i].Value, "B")) // Go writes MiB
		hard := container.Resources.Limits[corev1.ResourceMemory]
		Expect(soft.Value()).To(BeNumerically(">", hard.Value()/2))
		Expect(soft.Value()).To(BeNumerically("<", hard.Value()*9/10))
	})

	It("have a NetworkPolicy that lets through what the operator serves and asks", func() {
		folder := filepath.Join(root, "config", "overlays", "network-policy")
		kubectl("apply", "--server-side", "--dry-run=server", "--field-manager=dry-run", "--force-conflicts", "-k", folder)
		Expect(rendered[*networkingv1.NetworkPolicy](clusterWide, "NetworkPolicy")).To(BeEmpty())
		policies := rendered[*networkingv1.NetworkPolicy](folder, "NetworkPolicy")
		Expect(policies).To(HaveLen(1))
		deployment := rendered[*appsv1.Deployment](folder, "Deployment")[0]
		container := deployment.Spec.Template.Spec.Containers[0]
		policy := policies[0].Spec
		Expect(policies[0].Namespace).To(Equal(deployment.Namespace))
		Expect(policy.PodSelector.MatchLabels).To(Equal(deployment.Spec.Template.Labels))
		Expect(policy.PolicyTypes).To(ConsistOf(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress))

		i := slices.IndexFunc(container.Ports, func(port corev1.ContainerPort) bool { return port.Name == "metrics" })
		metrics := container.Ports[i].ContainerPort
		Expect(container.Args).To(ContainElement(fmt.Sprintf("--metrics-bind-address=:%d", metrics)))
		Expect(policy.Ingress).To(HaveLen(1))
		Expect(portsOf(policy.Ingress[0].Ports)).To(Equal([]string{fmt.Sprintf("TCP %d", metrics)}))
		Expect(policy.Ingress[0].From).To(BeEmpty())

		var out []string
		for _, rule := range policy.Egress {
			Expect(rule.To).To(BeEmpty())
			out = append(out, portsOf(rule.Ports)...)
		}
		Expect(out).To(Equal([]string{"UDP 53", "TCP 53", "TCP 443", "TCP 6443"}))
		api, err := url.Parse(opencx.DefaultBaseURL)
		Expect(err).NotTo(HaveOccurred())
		Expect(api.Scheme + api.Port()).To(Equal("https")) // which is 443
	})
})

func portsOf(ports []networkingv1.NetworkPolicyPort) []string {
	var all []string
	for _, port := range ports {
		all = append(all, fmt.Sprintf("%s %s", *port.Protocol, port.Port))
	}
	return all
}
