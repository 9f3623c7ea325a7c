package docs

import (
	"net/http"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// introduce follows docs/drift.md with contacts that OpenCX has already: one as its example
// declares it but for its plan, and one as it is declared.
func introduce(ctx SpecContext, r reader, simulator *operatortest.Simulator) {
	GinkgoHelper()
	const jane, john = "5b8f4a52-3a0e-4c55-9d0a-6f1f1d2c7e10", "7d1f0c52-9b7e-4e0b-a1d4-0c1f6a3d2b41"
	r.shell(ctx, "kubectl delete oxc --all")
	simulator.AddContacts(jane, john)
	simulator.Edit(jane, func(c *opencxtest.Contact) {
		c.Fields = map[string]any{"email": "Jane.Roe@example.com", "custom_data": map[string]any{"plan": "free"}}
	})
	simulator.Edit(john, func(c *opencxtest.Contact) { c.Fields = map[string]any{"name": "John Roe"} })
	simulator.ResetJournal()
	apply(ctx, "docs/drift.md", 2)
	r.shell(ctx, `kubectl apply -f config/samples/john-roe.yaml --dry-run=client -o json |
sed 's/"spec": {/"spec": {"organizationRef": {"name": "default", "namespace": "crm"}, "driftPolicy": "Report",/' | kubectl apply -f -`)

	commands := commandsOf("docs/drift.md")
	last := len(commands) - 1
	var printed []string
	for _, b := range commands[:last] {
		printed = append(printed, r.read(ctx, b))
	}
	Expect(printed[last-1]).To(MatchRegexp(`jane-roe +Reported +\[customData.plan\] +<none>\njohn-roe +Synced +<none> +<none>\n`))
	for _, request := range simulator.Journal() {
		Expect(request.Method).To(Equal(http.MethodGet))
	}
	r.read(ctx, commands[last])
	janes, _ := simulator.Contact(jane)
	Expect(janes.Fields).To(HaveKeyWithValue("custom_data", HaveKeyWithValue("plan", "enterprise")))
	johns, _ := simulator.Contact(john)
	Expect(johns.Patches).To(BeZero())
}
