//go:build platforms

package flux

import (
	"context"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

var _ = Describe("Flux's Alert", func() {
	It("cannot be about contacts, because its CRD refuses them, and can be about their Kustomization", func(ctx SpecContext) {
		kubectl := func(stdin string, args ...string) (string, error) {
			return controlPlane.Kubectl(context.WithoutCancel(ctx), stdin, append([]string{"-n", "default"}, args...)...)
		}
		crds := filepath.Join(folderOf(ctx, notificationController), "config", "crd", "bases")
		_, err := kubectl("", "apply", "--server-side", "-f", crds)
		Expect(err).NotTo(HaveOccurred())
		_, err = kubectl("", "wait", "--for=condition=Established", "--timeout=30s", "crd/alerts.notification.toolkit.fluxcd.io")
		Expect(err).NotTo(HaveOccurred())

		alert := shown("Alert")
		_, err = kubectl(alert, "apply", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		about := strings.Replace(alert, "- kind: Kustomization", "- kind: OpenCXContact", 1)
		Expect(about).NotTo(Equal(alert))
		_, err = kubectl(about, "apply", "-f", "-")
		Expect(err).To(MatchError(ContainSubstring(`Unsupported value: "OpenCXContact"`)))
	})

	It("gets events from Flux's controllers alone: none about a contact that fails", func(ctx SpecContext) {
		w := newWorld(ctx)
		simulator.InjectContact(w.id("jane"), opencxtest.Failure(404, "Contact not found"))
		w.contact("jane", "name: Jane")
		revision := w.push(ctx)
		w.kustomize(ctx, nil)
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("False HealthCheckFailed"))
		Eventually(func() []string { return events.of(w.namespace) }).Should(ContainElement(HavePrefix("Kustomization error HealthCheckFailed")))
		// Kubernetes has the contact's own event, and nobody posts it.
		Eventually(func() string {
			return w.kubectl(ctx, "", "get", "events.events.k8s.io", "-o", `jsonpath={range .items[*]}{.regarding.kind} {.reason}{"\n"}{end}`)
		}).Should(ContainSubstring("OpenCXContact ContactNotFound"))
		Consistently(func() []string { return events.of(w.namespace) }).Should(HaveEach(HavePrefix("Kustomization ")))
	})
})
