//go:build platforms

package chart

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// effects has, for each value, a setting and what is then rendered that is not rendered
// without it.
var effects = []struct{ value, setting, rendered string }{
	{"image.repository", "image.repository=registry.example.com/op", "image: \"registry.example.com/op:0.1.0"},
	{"image.tag", "image.tag=v9", "image: \"opencx-operator:v9"},
	{"image.digest", "image.digest=sha256:" + digest, "image: \"opencx-operator@sha256:" + digest},
	{"image.pullPolicy", "image.pullPolicy=Always", "imagePullPolicy: Always"},
	{"imagePullSecrets", "imagePullSecrets[0].name=pull", "imagePullSecrets:\n      - name: pull"},
	{"replicas", "replicas=3", "replicas: 3"},
	{"crds.keep", "crds.keep=false", "    helm.sh/chart: opencx-operator-0.1.0\n  annotations:\n    controller-gen"},
	{"watchNamespaces", "watchNamespaces={shop,crm}", "- --watch-namespaces=shop,crm\n"},
	{"watchLabelSelector", "watchLabelSelector=shard=a", `- "--watch-label-selector=shard=a"`},
	{"apiURL", "apiURL=https://opencx.example.com", `- "--opencx-api-url=https://opencx.example.com"`},
	{"rateLimit", "rateLimit=60/1m", `- "--opencx-rate-limit=60/1m"`},
	{"budgetShare", "budgetShare=0.5", `- "--budget-share=0.5"`},
	{"budgetShare", "budgetShare:0.25", `- "--budget-share=0.25"`},
	{"defaultOrganization", "defaultOrganization=crm/main", `- "--default-organization=crm/main"`},
	{"defaultAPIKeySecret", "watchNamespaces={shop},defaultAPIKeySecret=k", "- --default-api-key-secret=k\n"},
	{"resyncInterval", "resyncInterval=12h", `- "--resync-interval=12h"`},
	{"maxConcurrentReconciles", "maxConcurrentReconciles=20", `- "--max-concurrent-reconciles=20"`},
	{"eventsAddr", "eventsAddr=http://notification-controller.flux-system.svc/", `- "--events-addr=http://notification-controller.flux-system.svc/"`},
	{"eventsAddr", "networkPolicy.enabled=true,eventsAddr=http://notification-controller.flux-system.svc/", "  - ports:\n    - {protocol: TCP, port: 9090}\n    to:\n"},
	{"logging.level", "logging.level=debug", `- "--zap-log-level=debug"`},
	{"logging.encoder", "logging.encoder=console", `- "--zap-encoder=console"`},
	{"logging.timeEncoding", "logging.timeEncoding=iso8601", `- "--zap-time-encoding=iso8601"`},
	{"extraArgs", "extraArgs={--zap-devel}", `- "--zap-devel"`},
	{"extraEnv", "extraEnv[0].name=HTTPS_PROXY,extraEnv[0].value=http://proxy.example.com", "- name: HTTPS_PROXY\n          value: http://proxy.example.com\n"},
	{"resources", "resources.limits.memory=1.5Gi", "memory: 1.5Gi"},
	{"resources", "resources.limits.memory=1.5Gi", "value: \"1200MiB\""},
	{"resources", "resources.limits.memory=512M", "value: \"381MiB\""},
	{"resources", "resources.requests.cpu=2", "cpu: 2"},
	{"goMemLimit", "goMemLimit=100MiB", "value: \"100MiB\""},
	{"podDisruptionBudget.maxUnavailable", "podDisruptionBudget.maxUnavailable=50%", "maxUnavailable: 50%"},
	{"nodeSelector", "nodeSelector.disk=ssd", "nodeSelector:\n        disk: ssd"},
	{"tolerations", "tolerations[0].operator=Exists", "tolerations:\n      - operator: Exists"},
	{"affinity", "affinity.nodeAffinity.x=y", "affinity:\n        nodeAffinity:\n          x: \"y\""},
	{"topologySpreadConstraints", "topologySpreadConstraints[0].maxSkew=7", "maxSkew: 7"},
	{"priorityClassName", "priorityClassName=high", "priorityClassName: high"},
	{"podAnnotations", "podAnnotations.team=crm", "    metadata:\n      annotations:\n        team: crm\n"},
	{"podLabels", "podLabels.team=crm", "      labels:\n        app.kubernetes.io/name: opencx-operator\n        team: crm\n"},
	{"podSecurityContext", "podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null", "      securityContext:\n        runAsNonRoot: true\n        seccompProfile:"},
	{"securityContext", "securityContext.runAsNonRoot=true", "          readOnlyRootFilesystem: true\n          runAsNonRoot: true\n"},
	{"serviceAccount.annotations", "serviceAccount.annotations.role=crm", "  annotations:\n    role: crm\n"},
	{"networkPolicy.enabled", "networkPolicy.enabled=true", "kind: NetworkPolicy"},
	{"networkPolicy.metricsFrom", "networkPolicy.enabled=true,networkPolicy.metricsFrom[0].podSelector.matchLabels.app=prometheus", "    from:\n    - podSelector:\n        matchLabels:\n          app: prometheus\n"},
	{"networkPolicy.egressPorts", "networkPolicy.enabled=true,networkPolicy.egressPorts={8443}", "  - ports:\n    - {protocol: TCP, port: 8443}\n\n"},
	{"prometheus.serviceMonitor.enabled", "prometheus.serviceMonitor.enabled=true", "kind: ServiceMonitor"},
	{"prometheus.rules.enabled", "prometheus.rules.enabled=true", "kind: PrometheusRule"},
	{"prometheus.labels", "prometheus.rules.enabled=true,prometheus.labels.release=main", "    release: main\nspec:\n  groups:"},
	{"grafana.dashboard.enabled", "grafana.dashboard.enabled=true", "    grafana_dashboard: \"1\"\ndata:\n  opencx-operator.json: |\n    {"},
	{"grafana.dashboard.labels", "grafana.dashboard.enabled=true,grafana.dashboard.labels.team=crm", "    team: crm\ndata:\n"},
}

// set makes arguments of helm of name=value, or of name:JSON.
func set(setting string) []string {
	if before, after, isJSON := strings.Cut(setting, ":"); isJSON && !strings.Contains(before, "=") {
		return []string{"--set-json", before + "=" + after}
	}
	return []string{"--set", setting}
}

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var _ = Describe("Values", func() {
	It("have an effect, each of them", func() {
		without := rendered()
		tested := map[string]bool{"crds.install": true, "podDisruptionBudget.enabled": true} // below
		for _, effect := range effects {
			with := rendered(set(effect.setting)...) + "\n\n"
			Expect(with).To(ContainSubstring(effect.rendered), effect.setting)
			Expect(without).NotTo(ContainSubstring(effect.rendered), effect.setting)
			tested[effect.value] = true
		}
		values, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
		Expect(err).NotTo(HaveOccurred())
		all := documented(string(values))
		Expect(all).To(HaveLen(len(tested)))
		for _, value := range all {
			Expect(tested).To(HaveKey(value.name))
		}
	})

	It("leave out what is switched off", func() {
		Expect(rendered("--set", "crds.install=false")).NotTo(ContainSubstring("kind: CustomResourceDefinition"))
		Expect(rendered("--set", "podDisruptionBudget.enabled=false")).NotTo(ContainSubstring("kind: PodDisruptionBudget"))
		Expect(rendered("--set", "resources.limits=null")).NotTo(ContainSubstring("GOMEMLIMIT"))
	})

	It("watch the operator's own namespace in the one Role of that name", func() {
		objects := objectsIn(rendered("--set", "watchNamespaces={shop,opencx-system}"))
		Expect(objects["Role opencx-system/opencx-manager-role"]).To(And(ContainSubstring("- secrets\n"), ContainSubstring("- opencx-operator-budget\n")))
		Expect(objects).NotTo(HaveKey("Role opencx-system/opencx-own-namespace-role"))
		Expect(objects).To(HaveKey("Role shop/opencx-manager-role"))
	})

	It("read the default organization's one Secret where that is", func() {
		objects := objectsIn(rendered("--set", "watchNamespaces={shop},defaultOrganization=crm/main,defaultAPIKeySecret=k"))
		Expect(objects["Role crm/opencx-own-namespace-role"]).To(ContainSubstring("resourceNames:\n  - k\n"))
		Expect(objects).NotTo(HaveKey("Role opencx-system/opencx-own-namespace-role"))
	})
})

var _ = DescribeTable("A text stays one, which YAML takes for something else without quotes",
	func(setting, object, want string) {
		Expect(objectsIn(rendered(set(setting)...))[object]).To(ContainSubstring(want))
	},
	Entry("off", "goMemLimit=off", "Deployment opencx-system/opencx-controller-manager", "value: \"off\"\n"),
	Entry("a namespace of digits", `watchNamespaces:["123"]`, "Role 123/opencx-manager-role", "namespace: \"123\"\n"),
	Entry("a namespace that is called null", `watchNamespaces:["null"]`, "Role null/opencx-manager-role", "namespace: \"null\"\n"),
	// Without quotes it is the name "", by which RBAC lets all Secrets be listed.
	Entry("a Secret that is called null", `watchNamespaces:["shop"],defaultAPIKeySecret="null"`, "Role opencx-system/opencx-own-namespace-role", "resourceNames:\n  - \"null\"\n"),
	Entry("an image that begins with a sign", "image.repository=&a", "Deployment opencx-system/opencx-controller-manager", "image: '&a:0.1.0'\n"),
)

var _ = DescribeTable("A mistake is refused by name",
	func(setting, name string) {
		text, err := template(chart, set(setting)...)
		Expect(err).To(HaveOccurred(), text)
		Expect(text).To(And(ContainSubstring("specifications of the schema"), ContainSubstring(name)))
	},
	Entry("a value that is not there", "replica=3", "'replica'"),
	Entry("one in a group", "image.name=x", "'/image': additional properties 'name'"),
	Entry("a group that is no group", "crds=true", "'/crds'"),
	Entry("an empty repository", "image.repository=", "'/image/repository'"),
	Entry("a tag with a space", "image.tag=a b", "'/image/tag'"),
	Entry("a digest without its kind", "image.digest="+digest, "'/image/digest'"),
	Entry("a pull policy", "image.pullPolicy=Sometimes", "'/image/pullPolicy'"),
	Entry("a name instead of an object", "imagePullSecrets={pull}", "'/imagePullSecrets/0'"),
	Entry("a negative number", "replicas=-1", "'/replicas'"),
	Entry("a text for a switch", "crds.keep=please", "'/crds/keep'"),
	Entry("a text for a list", "watchNamespaces=shop", "'/watchNamespaces'"),
	Entry("a namespace in capitals", "watchNamespaces={Shop}", "'/watchNamespaces/0'"),
	Entry("an address without https", "apiURL=opencx.example.com", "'/apiURL'"),
	Entry("a rate without a window", "rateLimit=100", "'/rateLimit'"),
	Entry("a share of nothing", "budgetShare=0", "'/budgetShare'"),
	Entry("a share of too much", "budgetShare:1.5", "'/budgetShare'"),
	Entry("a share in words", "budgetShare=half", "'/budgetShare'"),
	Entry("an organization without a namespace", "defaultOrganization=main", "'/defaultOrganization'"),
	Entry("a Secret without a name", "defaultAPIKeySecret=", "'/defaultAPIKeySecret'"),
	Entry("an interval without a unit", `resyncInterval:"24"`, "'/resyncInterval'"),
	Entry("too many at once", "maxConcurrentReconciles=101", "'/maxConcurrentReconciles'"),
	Entry("an address of Flux without http", "eventsAddr=notification-controller", "'/eventsAddr'"),
	Entry("a level", "logging.level=loud", "'/logging/level'"),
	Entry("an argument that is no flag", "extraArgs={debug}", "'/extraArgs/0'"),
	Entry("a variable without a name", "extraEnv[0].value=x", "'/extraEnv/0'"),
	Entry("memory that GOMEMLIMIT cannot follow", "resources.limits.memory=1Ti", "'/resources/limits/memory'"),
	Entry("GOMEMLIMIT in the units of Kubernetes", "goMemLimit=200Mi", "'/goMemLimit'"),
	Entry("a part that is none", "podDisruptionBudget.maxUnavailable=half", "'/podDisruptionBudget/maxUnavailable'"),
	Entry("a label that finds the Pods", `podLabels:{"app.kubernetes.io/name":"x"}`, "'/podLabels/app.kubernetes.io~1name'"),
	Entry("a port that is none", "networkPolicy.egressPorts={0}", "'/networkPolicy/egressPorts/0'"),
)
