//go:build platforms

package flux

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

var _ = Describe("Flux", func() {
	It("applies an organization with contacts, waits until OpenCX has them, and changes nothing the second time", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.contact("jane", "email: jane.doe@example.com", "customData: {}", `phone: ""`)
		w.contact("john", "name: John Roe", "resyncInterval: 24h")
		revision := w.push(ctx)
		w.kustomize(ctx, nil)
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("True ReconciliationSucceeded"))
		Expect(w.journal()).To(ConsistOf(
			`200 jane {"contact":{"email":"jane.doe@example.com","phone":"","custom_data":{}}}`, `200 john {"contact":{"name":"John Roe"}}`))

		By("reconciling once more")
		settle(ctx, w)
		before := w.versions(ctx)
		w.reconcile(ctx, "now")
		Expect(w.versions(ctx)).To(Equal(before))
		Consistently(w.journal).Should(HaveLen(2))

		By("removing a manifest, which is pruned, and OpenCX is not told")
		delete(w.files, "john.yaml")
		revision = w.push(ctx)
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("True ReconciliationSucceeded"))
		Expect(w.kubectl(ctx, "", "get", "oxc", "-o", "name")).To(Equal("opencxcontact.contacts.open.cx/jane\n"))
		Consistently(w.journal).Should(HaveLen(2))
	})

	It("tells what the API server refuses, and applies nothing", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.contact("jane", "email: jane.doe")
		revision := w.push(ctx)
		w.kustomize(ctx, nil)
		Eventually(w.flux(ctx, revision)).Should(And(HavePrefix("False ReconciliationFailed"),
			ContainSubstring("OpenCXContact/"+w.namespace+"/jane"), ContainSubstring("email must be an address that OpenCX accepts")))
		Expect(w.kubectl(ctx, "", "get", "oxc", "-o", "name")).To(BeEmpty())
		Expect(w.journal()).To(BeEmpty())
	})

	It("fails at once, and not after its timeout, for a contact that OpenCX refuses", func(ctx SpecContext) {
		w := newWorld(ctx)
		simulator.InjectContact(w.id("jane"), opencxtest.Failure(422, "name is too funny"))
		w.contact("jane", "name: Jane")
		w.contact("john", "name: John")
		revision := w.push(ctx)
		w.kustomize(ctx, nil) // with a timeout of five minutes
		Eventually(w.flux(ctx, revision)).Should(And(HavePrefix("False HealthCheckFailed"),
			ContainSubstring("failed early due to stalled resources: [OpenCXContact/"+w.namespace+"/jane status: 'Failed'")))
		Expect(w.status(ctx, "jane")).To(And(HavePrefix("False Rejected"), ContainSubstring("name is too funny")))
		Eventually(func() []string { return events.of(w.namespace) }).Should(ContainElement(And(
			HavePrefix("Kustomization error HealthCheckFailed"), ContainSubstring("OpenCXContact/"+w.namespace+"/jane status: 'Failed'"))))
		Expect(w.journal()).To(ConsistOf(HavePrefix("422 jane"), HavePrefix("200 john")))

		By("correcting the manifest")
		simulator.ClearContact(w.id("jane"))
		w.contact("jane", "name: Jane Doe")
		revision = w.push(ctx)
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("True ReconciliationSucceeded"))
	})

	It("stays in progress while OpenCX throttles, and becomes ready afterwards", func(ctx SpecContext) {
		w := newWorld(ctx)
		tooMany := opencxtest.Failure(429, "Rate limit exceeded")
		tooMany.Header["Retry-After"] = "10"
		simulator.InjectContact(w.id("jane"), tooMany)
		w.contact("jane", "name: Jane")
		revision := w.push(ctx)
		w.kustomize(ctx, nil)
		Eventually(func() string { return w.kubectl(ctx, "", "get", "oxc", "-o", "name") }).ShouldNot(BeEmpty())
		Eventually(func() string { return w.status(ctx, "jane") }).Should(HavePrefix("Unknown RateLimited"))
		Consistently(w.flux(ctx, revision)).Should(HavePrefix("Unknown Progressing"))
		simulator.ClearContact(w.id("jane"))
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("True ReconciliationSucceeded"))
		Expect(w.journal()).To(HaveExactElements(HavePrefix("429 jane"), HavePrefix("200 jane")))
	})

	It("takes a suspended contact that OpenCX has as it is for ready, and waits for one that it has not", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.contact("jane", "name: Jane")
		revision := w.push(ctx)
		w.kustomize(ctx, map[string]any{"timeout": "10s"})
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("True ReconciliationSucceeded"))
		w.contact("jane", "name: Jane", "suspend: true")
		revision = w.push(ctx)
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("True ReconciliationSucceeded"))
		w.contact("jane", "name: Janet", "suspend: true")
		revision = w.push(ctx)
		Eventually(w.flux(ctx, revision)).Should(And(HavePrefix("False HealthCheckFailed"),
			ContainSubstring("timeout waiting for: [OpenCXContact/"+w.namespace+"/jane status: 'InProgress'")))
		Expect(w.status(ctx, "jane")).To(HavePrefix("Unknown Suspended"))
		Expect(w.journal()).To(HaveLen(1))
	})

	It("applies contacts that depend on an organization when that is usable", func(ctx SpecContext) {
		w := newWorldWithoutKey(ctx)
		organization := w.pushTo(ctx, "organization", map[string]string{"organization.yaml": organizationManifest})
		w.kustomizeFrom(ctx, "organization", nil)
		delete(w.files, "organization.yaml")
		w.contact("jane", "name: Jane")
		contacts := w.push(ctx)
		w.kustomize(ctx, map[string]any{"dependsOn": []any{map[string]any{"name": "organization"}}})
		waits := func() string {
			return w.kubectl(ctx, "", "get", "kustomization", "contacts", "-o",
				`jsonpath={.status.conditions[?(@.type=="Ready")].reason}`)
		}
		Eventually(waits).Should(Equal("DependencyNotReady"))
		Eventually(w.fluxOf(ctx, "organization", organization)).Should(HavePrefix("Unknown Progressing"))
		Consistently(waits).Should(Equal("DependencyNotReady"))
		Expect(w.kubectl(ctx, "", "get", "oxc", "-o", "name")).To(BeEmpty())
		w.createKey(ctx)
		Eventually(w.fluxOf(ctx, "organization", organization)).Should(HavePrefix("True ReconciliationSucceeded"))
		Eventually(w.flux(ctx, contacts)).Should(HavePrefix("True ReconciliationSucceeded"))
		Expect(w.journal()).To(HaveLen(1))
	})

	It("changes a contactID only when it is told to replace the object", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.contact("jane", "name: Jane")
		revision := w.push(ctx)
		w.kustomize(ctx, nil)
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("True ReconciliationSucceeded"))
		w.files["jane.yaml"] = strings.Replace(w.files["jane.yaml"], w.id("jane"), w.id("janet"), 1)
		revision = w.push(ctx)
		Eventually(w.flux(ctx, revision)).Should(And(HavePrefix("False ReconciliationFailed"), ContainSubstring("contactID is immutable")))
		Expect(w.journal()).To(HaveLen(1))

		w.files["jane.yaml"] = strings.Replace(w.files["jane.yaml"], "  name: jane\n",
			"  name: jane\n  annotations:\n    kustomize.toolkit.fluxcd.io/force: Enabled\n", 1)
		revision = w.push(ctx)
		Eventually(w.flux(ctx, revision)).Should(HavePrefix("True ReconciliationSucceeded"))
		Expect(w.journal()).To(Equal([]string{`200 jane {"contact":{"name":"Jane"}}`, `200 janet {"contact":{"name":"Jane"}}`}))

		By("leaving the annotation, which replaces nothing that need not be")
		settle(ctx, w)
		before := w.versions(ctx)
		w.reconcile(ctx, "now")
		Expect(w.versions(ctx)).To(Equal(before))
		Consistently(w.journal).Should(HaveLen(2))
	})
})

// settle waits until the operator has counted the contacts of the organization, which it
// does at most every ten seconds.
func settle(ctx SpecContext, w *world) {
	GinkgoHelper()
	last, since := "", time.Now()
	Eventually(func() bool {
		if now := w.versions(ctx); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 12*time.Second
	}).Should(BeTrue())
}
