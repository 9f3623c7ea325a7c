//go:build platforms

package monitoring

import (
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// dashboard is what is checked of config/grafana/opencx-operator.json.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Editable      bool
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource struct{ UID string }
			AllValue   string
		}
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ Type, UID string }
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ UID string }
	}
}

func readDashboard() dashboard {
	GinkgoHelper()
	var d dashboard
	Expect(json.Unmarshal([]byte(read("config", "grafana", "opencx-operator.json")), &d)).To(Succeed())
	return d
}

var _ = Describe("config/grafana/opencx-operator.json", func() {
	It("takes its data from where the reader chooses, and says what each panel shows", func() {
		d := readDashboard()
		Expect(d.Templating.List[0].Name + " " + d.Templating.List[0].Type).To(Equal("datasource datasource"))
		for _, variable := range d.Templating.List[1:] {
			Expect(variable.Datasource.UID).To(Equal("${datasource}"), variable.Name)
			Expect(variable.AllValue).NotTo(BeEmpty(), variable.Name)
		}
		ids, cells := map[int]bool{}, map[string]string{}
		for _, p := range d.Panels {
			Expect(ids).NotTo(HaveKey(p.ID))
			ids[p.ID] = true
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					cell := fmt.Sprint(x, " ", y)
					Expect(cells[cell]).To(BeEmpty(), "%s covers another panel", p.Title)
					cells[cell] = p.Title
					Expect(x).To(BeNumerically("<", 24), p.Title)
				}
			}
			if p.Type == "row" {
				continue
			}
			Expect(p.Description).NotTo(BeEmpty(), p.Title)
			Expect(p.FieldConfig.Defaults.Unit).NotTo(BeEmpty(), p.Title)
			Expect(p.Datasource.UID).To(Equal("${datasource}"), p.Title)
			Expect(p.Targets).NotTo(BeEmpty(), p.Title)
			for _, target := range p.Targets {
				Expect(target.Datasource.UID).To(Equal("${datasource}"), p.Title)
				Expect(target.LegendFormat).NotTo(BeEmpty(), p.Title)
				Expect(target.Expr).To(And(ContainSubstring(`job=~"$job"`), ContainSubstring(`instance=~"$instance"`)), p.Title)
			}
		}
	})

	It("has no query that gives no data", func(ctx SpecContext) {
		Eventually(func() map[string]int { return reasons(ctx) }).Should(And(
			HaveKey("Synced"), HaveKey("Waiting"), HaveKey("Rejected"), HaveKey("ServerError"), HaveKey("Unreachable"), HaveKey("Unauthorized"),
		), "the load has some of each")
		chosen := strings.NewReplacer("$job", "opencx-controller-manager-metrics", "$instance", ".+", "$organization", ".*", "$__rate_interval", "1m")
		queries := 0
		for _, p := range readDashboard().Panels {
			for _, target := range p.Targets {
				queries++
				Eventually(func() (int, error) { return server.count(ctx, chosen.Replace(target.Expr)) }).WithTimeout(firstLook).Should(BeNumerically(">", 0), "%s: %s", p.Title, target.Expr)
			}
		}
		Expect(queries).To(BeNumerically(">", 20))
		d := readDashboard()
		for _, variable := range d.Templating.List[1:] {
			query := variable.Query.(map[string]any)["query"].(string)
			metric, label, found := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(query, "label_values("), ")"), ", ")
			Expect(found).To(BeTrue(), query)
			Expect(server.count(ctx, "count by ("+label+") ("+chosen.Replace(metric)+")")).To(BeNumerically(">", 0), query)
		}
	})

	It("is put where Grafana's sidecar finds it", func(ctx SpecContext) {
		runFromPage(ctx, "kubectl create configmap opencx-dashboard --namespace monitoring \\\n  --from-file=config/grafana/opencx-operator.json\n"+
			"kubectl label configmap opencx-dashboard --namespace monitoring grafana_dashboard=1")
	})

	It("shows that what waits and fails is what the cluster says", func(ctx SpecContext) {
		Eventually(func(g Gomega) {
			counts := reasons(ctx)
			for _, reason := range []string{"Unauthorized", "Rejected"} {
				matching, err := server.count(ctx, fmt.Sprintf(`sum(opencx_contacts{reason=%q}) == %d`, reason, counts[reason]))
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(matching).To(Equal(1), "%s: %d", reason, counts[reason])
			}
		}).Should(Succeed())
	})
})
