//go:build platforms

package monitoring

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// shape is what a metric looks like, as a row of the page's table says it.
type shape struct{ Type, Labels string }

// shapes are those of the operator's own metrics in a scrape.
func shapes(text string) map[string]shape {
	GinkgoHelper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	Expect(err).NotTo(HaveOccurred())
	all := map[string]shape{}
	for name, family := range families {
		if !strings.HasPrefix(name, "opencx_") {
			continue
		}
		labels := map[string]bool{}
		for _, metric := range family.Metric {
			for _, label := range metric.Label {
				labels["`"+label.GetName()+"`"] = true
			}
		}
		all[name] = shape{strings.ToLower(dto.MetricType_name[int32(family.GetType())]), strings.Join(slices.Sorted(maps.Keys(labels)), ", ")}
	}
	return all
}

// shapesOfPage are those in the page's table, with the labels in order.
func shapesOfPage() map[string]shape {
	all := map[string]shape{}
	row := regexp.MustCompile("(?m)^\\| `(opencx_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\| [^|]+ \\|$")
	for _, found := range row.FindAllStringSubmatch(page.Text, -1) {
		labels := slices.Sorted(slices.Values(strings.Split(strings.TrimSpace(found[3]), ", ")))
		all[found[1]] = shape{found[2], strings.Join(labels, ", ")}
	}
	return all
}

var _ = Describe("The metrics", func() {
	It("are those of docs/monitoring.md", func(ctx SpecContext) {
		Eventually(func() map[string]shape {
			status, text := replicas[0].scrape(ctx, token)
			Expect(status).To(Equal(http.StatusOK))
			return shapes(text)
		}).WithTimeout(firstLook).Should(Equal(shapesOfPage()))
		_, text := replicas[1].scrape(ctx, token)
		Expect(text).To(ContainSubstring("\nopencx_operator_leader 0\n"))
		Expect(text).NotTo(ContainSubstring("organization="), "only the leader has series by organization")
	})

	It("are what Prometheus wants metrics to be", func(ctx SpecContext) {
		_, text := replicas[0].scrape(ctx, token)
		printed, err := promtool(ctx, "", text, "check", "metrics")
		Expect(err).NotTo(HaveOccurred())
		Expect(printed).To(BeEmpty())
	})

	It("tell the version, and nothing private", func(ctx SpecContext) {
		_, text := replicas[0].scrape(ctx, token)
		Expect(text).To(MatchRegexp(`opencx_operator_build_info\{go_version="go1[^"]+",revision="[^"]+",version="` + version + `"\} 1`))
		for _, private := range []string{goodKey, badKey, email, "acme-1"} {
			Expect(strings.Contains(text, private)).To(BeFalse(), private)
		}
	})

	It("are refused without a good token, in one line of the log at most", func(ctx SpecContext) {
		before := len(strings.Split(replicas[1].Log(), "\n"))
		for _, token := range []string{"", "bogus", strings.Repeat("x", 300) + ".y.z"} {
			status, text := replicas[1].scrape(ctx, token)
			Expect(status).To(Equal(http.StatusUnauthorized), "%q: %s", token, text)
		}
		log := strings.Split(replicas[1].Log(), "\n")
		Expect(len(log)-before).To(BeNumerically("<=", 3), strings.Join(log[before-1:], "\n"))
		kubectl("create", "serviceaccount", "nobody", "--namespace=monitoring")
		nobody := strings.TrimSpace(kubectl("create", "token", "nobody", "--namespace=monitoring"))
		status, _ := replicas[1].scrape(ctx, nobody)
		Expect(status).To(Equal(http.StatusForbidden))
	})
})
