package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

// makeLookDue has the next look at what OpenCX has be due once the requests made so far have
// settled, and returns since when it asks for changes. No operator may be running, which
// would know better.
func makeLookDue() (watermark string) {
	GinkgoHelper()
	const interval = time.Hour
	due := time.Now().Add(drift.DefaultTiming.Settling + 5*time.Second).Truncate(time.Second)
	last := due.Add(-interval).UTC().Format(time.RFC3339)
	watermark = due.Add(-3 * interval).UTC().Format("2006-01-02T15:04:05.000Z") // the operator's form
	kubectl("patch", "oxo", "default", "--type=merge", "-p", fmt.Sprintf(`{"spec":{"driftCheckInterval":%q}}`, interval))
	kubectl("patch", "oxo", "default", "--type=merge", "--subresource=status", "-p",
		fmt.Sprintf(`{"status":{"sweep":{"lastTime":%q,"watermark":%q}}}`, last, watermark))
	return watermark
}

// watchDrifted returns what Drifted of a contact has been, without repetitions, once its
// reason is until.
func watchDrifted(ctx SpecContext, watching watch.Interface, until string) (lines []string) {
	GinkgoHelper()
	_, err := watchtools.UntilWithoutRetry(ctx, watching, func(event watch.Event) (bool, error) {
		contact, is := event.Object.(*v1alpha1.OpenCXContact)
		if !is {
			return false, fmt.Errorf("the contact is %s", event.Type)
		}
		drifted := meta.FindStatusCondition(contact.Status.Conditions, v1alpha1.DriftedCondition)
		lines = append(lines, fmt.Sprintf("%s %s: %s", drifted.Status, drifted.Reason, drifted.Message))
		return drifted.Reason == until, nil
	})
	Expect(err).NotTo(HaveOccurred(), "%q", lines)
	return slices.Compact(lines)
}

var _ = Describe("An edit in OpenCX", func() {
	It("made while the operator is away is put right with one PATCH", func(ctx SpecContext) {
		simulator := startSimulator(ctx)
		first := startOperator(ctx, simulator.URL)
		Expect(k8s.Create(ctx, &v1alpha1.OpenCXContact{
			ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "jane"},
			Spec:       v1alpha1.OpenCXContactSpec{ContactID: "jane", Name: new("Declared Doe"), Phone: new("+12025550123")},
		})).To(Succeed())
		declare(ctx, "john") // of whom nothing differs
		Eventually(isReady(ctx, "jane")).Should(BeTrue())
		Eventually(isReady(ctx, "john")).Should(BeTrue())
		Expect(first.Stop()).To(Succeed())
		before := len(simulator.Journal())

		simulator.Edit("jane", func(c *opencxtest.Contact) { c.Fields["name"] = "Edited Doe" })
		watermark := makeLookDue()
		watcher, err := client.NewWithWatch(controlPlane.Config, client.Options{Scheme: controlPlane.Scheme})
		Expect(err).NotTo(HaveOccurred())
		watching, err := watcher.Watch(ctx, &v1alpha1.OpenCXContactList{}, client.InNamespace(metav1.NamespaceDefault), client.MatchingFields{"metadata.name": "jane"})
		Expect(err).NotTo(HaveOccurred())
		address, err := operatortest.FreeAddress(ctx)
		Expect(err).NotTo(HaveOccurred())
		second := startOperator(ctx, simulator.URL, "--metrics-bind-address="+address, "--metrics-secure=false")
		Expect(watchDrifted(ctx, watching, v1alpha1.RepairedReason)).To(Equal([]string{
			"Unknown NotVerified: What OpenCX has was not compared since it changed last",
			"True FieldsDiffer: OpenCX has something else than is declared in name; the contact is sent again",
			"False Repaired: OpenCX has accepted the contact again, after name differed",
		}))
		Eventually(func() (text string) {
			response, err := http.Get("http://" + address + "/metrics")
			Expect(err).NotTo(HaveOccurred())
			defer func() { _ = response.Body.Close() }()
			all, err := io.ReadAll(response.Body)
			Expect(err).NotTo(HaveOccurred())
			return string(all)
		}).Should(ContainSubstring(`opencx_drifts_repaired_total{organization="default/default"} 1` + "\n"))
		Consistently(simulator.Journal, time.Second).Should(HaveLen(before + 2))
		var requests []string
		for _, r := range simulator.Journal()[before:] {
			requests = append(requests, fmt.Sprintf("%s %s?%s %d %s", r.Method, r.Path, r.RawQuery, r.Status, r.Body))
		}
		Expect(requests).To(Equal([]string{
			"GET /contacts?" + url.Values{"updated_after": {watermark}}.Encode() + " 200 ",
			`PATCH /contacts/jane? 200 {"contact":{"phone":"+12025550123","name":"Declared Doe"}}`,
		}))
		Expect(first.Log() + second.Log()).NotTo(Or(ContainSubstring(" Doe"), ContainSubstring("5550123")))
		Expect(second.Log()).To(ContainSubstring(`"fields":["name"]`))
	})
})
