//go:build platforms

package monitoring

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// prometheus is one that runs.
type prometheus struct{ url string }

// applied is an object of the Prometheus operator, as the API server has it.
func applied(ctx context.Context, kind, name string) map[string]any {
	GinkgoHelper()
	object := &unstructured.Unstructured{}
	object.SetAPIVersion("monitoring.coreos.com/v1")
	object.SetKind(kind)
	Expect(controlPlane.Client.Get(ctx, types.NamespacedName{Namespace: "opencx-system", Name: name}, object)).To(Succeed())
	return object.Object["spec"].(map[string]any)
}

// startPrometheus starts one that scrapes the replicas as the applied ServiceMonitor
// says, and has the applied rules.
func startPrometheus(ctx context.Context) prometheus {
	GinkgoHelper()
	folder := filepath.Join(controlPlane.Folder, "prometheus")
	Expect(os.MkdirAll(folder, 0o700)).To(Succeed())
	endpoint := applied(ctx, "ServiceMonitor", "opencx-controller-manager-metrics")["endpoints"].([]any)[0].(map[string]any)
	targets := []string{}
	for _, replica := range replicas {
		targets = append(targets, replica.address)
	}
	write := func(name string, content any) {
		GinkgoHelper()
		text, err := yaml.Marshal(content)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(filepath.Join(folder, name), text, 0o600)).To(Succeed())
	}
	Expect(os.WriteFile(filepath.Join(folder, "token"), []byte(token), 0o600)).To(Succeed())
	Expect(endpoint["bearerTokenFile"]).To(Equal("/var/run/secrets/kubernetes.io/serviceaccount/token"))
	write("rules.yaml", applied(ctx, "PrometheusRule", "opencx-controller-manager"))
	write("prometheus.yaml", map[string]any{
		"global":     map[string]any{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files": []string{"rules.yaml"},
		"scrape_configs": []any{map[string]any{
			"job_name": "opencx-controller-manager-metrics", "scheme": endpoint["scheme"], "metrics_path": endpoint["path"],
			"authorization": map[string]any{"credentials_file": "token"},
			"tls_config": map[string]any{
				"insecure_skip_verify": endpoint["tlsConfig"].(map[string]any)["insecureSkipVerify"],
			},
			"static_configs": []any{map[string]any{"targets": targets}},
		}},
	})
	address, err := operatortest.FreeAddress(ctx)
	Expect(err).NotTo(HaveOccurred())
	process := exec.CommandContext(context.Background(), "prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--web.listen-address="+address, "--log.level=warn")
	process.Dir, process.Stdout, process.Stderr = folder, GinkgoWriter, GinkgoWriter
	Expect(process.Start()).To(Succeed())
	DeferCleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	p := prometheus{url: "http://" + address}
	Eventually(func() (int, error) { return p.count(ctx, "up == 1") }).Should(Equal(len(replicas)), "Prometheus scrapes all replicas")
	return p
}

// get decodes the data of an answer of Prometheus.
func (p prometheus) get(ctx context.Context, path string, query url.Values, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	answer := struct{ Data any }{into}
	return json.Unmarshal(body, &answer)
}

// count is how many series an expression has now with a number.
func (p prometheus) count(ctx context.Context, expression string) (int, error) {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(ctx, "/api/v1/query", url.Values{"query": {expression}}, &data); err != nil {
		return 0, err
	}
	numbers := 0
	for _, series := range data.Result {
		if value, is := series.Value[1].(string); is && value != "NaN" && !strings.HasSuffix(value, "Inf") {
			numbers++
		}
	}
	return numbers, nil
}

var _ = Describe("config/prometheus", func() {
	It("names a Service and a port that are there", func(ctx SpecContext) {
		monitor := applied(ctx, "ServiceMonitor", "opencx-controller-manager-metrics")
		Expect(monitor["namespaceSelector"]).To(Equal(map[string]any{"matchNames": []any{"opencx-system"}}))
		Expect(kubectl("get", "services", "--namespace=opencx-system", "--selector=app.kubernetes.io/name=opencx-operator",
			"--output=jsonpath={.items[*].metadata.name} {.items[*].spec.ports[*].name}")).To(Equal("opencx-controller-manager-metrics https"))
		Expect(monitor["selector"]).To(Equal(map[string]any{"matchLabels": map[string]any{"app.kubernetes.io/name": "opencx-operator"}}))
		Expect(monitor["endpoints"].([]any)[0].(map[string]any)["port"]).To(Equal("https"))
	})

	It("has alerts that fire when they shall, and not otherwise", func(ctx SpecContext) {
		folder := GinkgoT().TempDir()
		rules, err := yaml.Marshal(applied(ctx, "PrometheusRule", "opencx-controller-manager"))
		Expect(err).NotTo(HaveOccurred())
		for name, content := range map[string][]byte{"rules.yaml": rules, "alerts.yaml": []byte(read("test", "monitoring", "alerts.yaml"))} {
			Expect(os.WriteFile(filepath.Join(folder, name), content, 0o600)).To(Succeed())
		}
		_, err = promtool(ctx, folder, "", "check", "rules", "rules.yaml")
		Expect(err).NotTo(HaveOccurred())
		_, err = promtool(ctx, folder, "", "test", "rules", "alerts.yaml")
		Expect(err).NotTo(HaveOccurred())
	})

	It("has alerts that Prometheus evaluates on what the operator tells, each with a runbook", func(ctx SpecContext) {
		Eventually(func() (map[string]string, error) { return server.alerts(ctx) }).Should(Equal(map[string]string{
			"OpenCXOperatorNotRunning": "inactive", "OpenCXKeyRejected": "pending", "OpenCXUnreachable": "inactive",
			"OpenCXContactsNotSynced": "inactive", "OpenCXOrganizationOvercommitted": "pending",
			"OpenCXDriftNotChecked": "inactive",
		}))
	})
})

// alerts are the states of all alerts that are evaluated without a failure and have a
// runbook in the page.
func (p prometheus) alerts(ctx context.Context) (map[string]string, error) {
	var data struct {
		Groups []struct {
			Rules []struct {
				Name, State, Health string
				Annotations         map[string]string
			}
		}
	}
	if err := p.get(ctx, "/api/v1/rules", nil, &data); err != nil {
		return nil, err
	}
	states := map[string]string{}
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			hasRunbook := rule.Annotations["runbook"] == "docs/monitoring.md#"+strings.ToLower(rule.Name) &&
				strings.Contains(page.Text, "\n### "+rule.Name+"\n")
			if hasRunbook && rule.Health == "ok" {
				states[rule.Name] = rule.State
			}
		}
	}
	return states, nil
}
