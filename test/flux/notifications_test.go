//go:build platforms

package flux

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

const v1beta3 = "notification.toolkit.fluxcd.io/v1beta3"

var _ = Describe("Flux's notification-controller", Ordered, func() {
	var chat *receiver

	BeforeAll(func() {
		chat = receiveEvents()
		DeferCleanup(chat.server.Close)
	})

	// alert is the Alert of docs/gitops.md with its Provider, which posts to chat.
	alert := func(w *world) string {
		GinkgoHelper()
		text := shown(v1beta3, "Provider")
		Expect(text).To(And(ContainSubstring("namespace: shop\n"), ContainSubstring("https://hooks.example.com/contacts\n")))
		return strings.NewReplacer("namespace: shop", "namespace: "+w.namespace, "https://hooks.example.com/contacts", chat.server.URL).Replace(text)
	}

	It("takes contacts and organizations as sources of an Alert with the patch alone, and tells of both", func(ctx SpecContext) {
		w := newWorldWithoutKey(ctx)
		_, err := controlPlane.Kubectl(ctx, alert(w), "apply", "-f", "-")
		Expect(err).To(MatchError(And(ContainSubstring(`Unsupported value: "OpenCXContact"`), ContainSubstring(`Unsupported value: "OpenCXOrganization"`))))
		fluxOnly := strings.NewReplacer("kind: OpenCXContact", "kind: Kustomization", "kind: OpenCXOrganization", "kind: GitRepository").Replace(alert(w))
		w.kubectl(ctx, fluxOnly, "apply", "--dry-run=server", "-f", "-")

		By("patching the CRD")
		apply := []string{"apply", "--server-side", "--force-conflicts", "-k", gitOfFlux(ctx)}
		_, err = controlPlane.Kubectl(ctx, "", apply...)
		Expect(err).NotTo(HaveOccurred())
		Eventually(func() string { return w.kubectl(ctx, "", kubectlOfPage()...) }).Should(
			And(ContainSubstring("OpenCXContact"), ContainSubstring("OpenCXOrganization"), ContainSubstring("Kustomization")))
		Eventually(func() error {
			_, err := controlPlane.Kubectl(ctx, alert(w), "apply", "-f", "-")
			return err
		}).Should(Succeed())
		// The API server ends watches of a CRD that changes, so that it knows the Alert late.
		notifier.restart(ctx)

		By("having OpenCX refuse a contact")
		simulator.InjectContact(w.id("jane"), opencxtest.Failure(422, "name is too funny"))
		w.contact("jane", "name: Jane")
		w.contact("john", "name: John")
		w.createKey(ctx)
		organize(ctx, w)
		w.kubectl(ctx, w.files["jane.yaml"], "apply", "-f", "-")
		w.kubectl(ctx, w.files["john.yaml"], "apply", "-f", "-")
		const refused = "OpenCXContact error Rejected: "
		Eventually(func() []string { return chat.of(w.namespace) }).Should(ContainElements(
			HavePrefix(refused), HavePrefix("OpenCXOrganization info Usable: ")))
		Eventually(func() string {
			return w.kubectl(ctx, "", "get", "events.events.k8s.io", "-o", `jsonpath={range .items[?(@.reason=="Rejected")]}{.note}{"\n"}{end}`)
		}).ShouldNot(BeEmpty())
		note := w.kubectl(ctx, "", "get", "events.events.k8s.io", "-o", `jsonpath={.items[?(@.reason=="Rejected")].note}`)
		Expect(chat.of(w.namespace)).To(ContainElement(refused + note))
		Expect(note).NotTo(Or(ContainSubstring("funny"), ContainSubstring("Jane")))

		By("correcting it")
		simulator.ClearContact(w.id("jane"))
		w.contact("jane", "name: Jane Doe")
		w.kubectl(ctx, w.files["jane.yaml"], "apply", "-f", "-")
		Eventually(func() []string { return chat.of(w.namespace) }).Should(ContainElement(HavePrefix("OpenCXContact info Synced: ")))
		Expect(w.journal()).To(ConsistOf(HavePrefix("422 jane"), HavePrefix("200 john"), HavePrefix("200 jane")))
		Expect(chat.of(w.namespace)).To(HaveLen(3)) // nothing of john, with whom all goes as it should
	})

	It("chooses contacts by label with the role alone", func(ctx SpecContext) {
		const binding = "notification-controller-opencx-reader"
		_, err := controlPlane.Kubectl(ctx, "", "delete", "clusterrolebinding", binding)
		Expect(err).NotTo(HaveOccurred())
		notifier.restart(ctx)
		w := newWorld(ctx)
		byLabel := strings.Replace(alert(w), "- kind: OpenCXContact\n    name: \"*\"\n", "- kind: OpenCXContact\n    name: \"*\"\n    matchLabels: {team: crm}\n", 1)
		Expect(byLabel).NotTo(Equal(alert(w)))
		w.kubectl(ctx, byLabel, "apply", "-f", "-")
		organize(ctx, w)
		declare := func(name, team string) {
			GinkgoHelper()
			simulator.InjectContact(w.id(name), opencxtest.Failure(404, "Contact not found"))
			w.contact(name, "name: Jane")
			labelled := strings.Replace(w.files[name+".yaml"], "  name: "+name+"\n", "  name: "+name+"\n  labels: {team: "+team+"}\n", 1)
			w.kubectl(ctx, labelled, "apply", "-f", "-")
		}
		declare("jane", "crm")
		Eventually(func() string {
			return w.kubectl(ctx, "", "get", "events", "-o", `jsonpath={range .items[?(@.reason=="SourceFetchFailed")]}{.message}{"\n"}{end}`)
		}).Should(ContainSubstring("error getting source object OpenCXContact/" + w.namespace + "/jane"))

		By("giving it the role")
		_, err = controlPlane.Kubectl(ctx, shown("rbac.authorization.k8s.io/v1", "ClusterRole"), "apply", "-f", "-")
		Expect(err).NotTo(HaveOccurred())
		notifier.restart(ctx)
		declare("jack", "sales")
		declare("john", "crm")
		told := func() []string { return chat.names(w.namespace) }
		Eventually(told).Should(ContainElement("john"))
		Consistently(told).ShouldNot(ContainElement("jack"))
	})
})

// organize declares the organization, and returns when it can be used.
func organize(ctx context.Context, w *world) {
	GinkgoHelper()
	w.kubectl(ctx, organizationManifest, "apply", "-f", "-")
	w.kubectl(ctx, "", "wait", "--for=condition=Ready", "--timeout=60s", "oxo/acme")
}

// gitOfFlux is a folder with the kustomization of docs/gitops.md, and what it names: the
// real CRDs of notification-controller, in the place of all that Flux has there.
func gitOfFlux(ctx context.Context) string {
	GinkgoHelper()
	crds, err := filepath.Glob(filepath.Join(crdsOf(ctx, "notification-controller", ""), "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	components := ""
	for _, crd := range crds {
		text, err := os.ReadFile(crd)
		Expect(err).NotTo(HaveOccurred())
		components += "---\n" + string(text)
	}
	folder := GinkgoT().TempDir()
	for name, text := range map[string]string{
		"kustomization.yaml":   shown("kustomize.config.k8s.io/v1beta1", "Kustomization"),
		"gotk-components.yaml": components,
		"gotk-sync.yaml":       fluxSystem,
		"opencx-reader.yaml":   shown("rbac.authorization.k8s.io/v1", "ClusterRole"),
	} {
		Expect(os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600)).To(Succeed())
	}
	return folder
}

// kubectlOfPage are the arguments of the command that docs/gitops.md has run here.
func kubectlOfPage() []string {
	GinkgoHelper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "gitops.md"))
	Expect(err).NotTo(HaveOccurred())
	command := regexp.MustCompile("(?s)<!-- run by: ./test/flux -->\n```sh\nkubectl (.*?)\n```").FindStringSubmatch(string(page))
	Expect(command).NotTo(BeNil())
	return strings.Fields(command[1])
}
