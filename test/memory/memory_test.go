//go:build linux

// Package memory tests that nobody can make the operator's real binary need more
// memory than config/manager gives it, beside 10 000 contacts that have nothing to do
// with it. It needs Linux, which tells how much memory a process has.
package memory

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

func TestMemory(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyPollingInterval(200 * time.Millisecond)
	RunSpecs(t, "Memory")
}

var w *world

var _ = BeforeSuite(func(ctx SpecContext) {
	binary, err := gexec.Build("github.com/opencx-labs/opencx-operator")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(gexec.CleanupBuildArtifacts)
	controlPlane, err := operatortest.StartControlPlane(filepath.Join("..", "..", "config", "crd", "bases"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(controlPlane.Stop()).To(Succeed()) })
	container, err := deployed()
	Expect(err).NotTo(HaveOccurred())
	keys := []string{apiKey}
	for i := range hostileKeys {
		keys = append(keys, hostileKey(i))
	}
	simulator := opencxtest.New(opencxtest.Options{Keys: keys, AcceptAnyContact: true, Limit: -1})
	server := httptest.NewServer(hostile{simulator, answers})
	DeferCleanup(server.Close)
	DeferCleanup(func() {
		if w.operator != nil {
			w.operator.Kill()
		}
	})
	w = &world{binary: binary, url: server.URL, container: container, controlPlane: controlPlane, k8s: controlPlane.Client, simulator: simulator}
	Expect(controlPlane.CreateOrganization(ctx, organization, apiKey)).To(Succeed())
	w.declareOrdinary(ctx)
})

var _ = Describe("Within the memory of its container the operator", Ordered, ContinueOnFailure, func() {
	BeforeEach(func(ctx SpecContext) {
		w.clear(ctx)
		w.startOperator(ctx) // the first time, and when an attack has ended it
		w.simulator.ResetJournal()
		Expect(w.operator.forgetPeak()).To(Succeed())
	})

	AfterEach(func(ctx SpecContext) {
		peak := w.operator.peakMiB()
		AddReportEntry(fmt.Sprintf("at its peak it had %d MiB, and %d requests were sent", peak, len(w.simulator.Journal())))
		Expect(w.operator.end()).To(Succeed())
		w.editIsAccepted(ctx)
		w.showsNoValue(ctx)
		Expect(w.operator.peakMiB()).To(BeNumerically("<", w.operator.limit>>20))
	})

	It("keeps 10 000 contacts", func(ctx SpecContext) {
		w.operator.Kill()
		w.startOperator(ctx) // with all of them to begin with
	})

	DescribeTable("refuses", func(ctx SpecContext, a attack) {
		w.mount(ctx, a)
		w.eachIs(ctx, a.contacts, v1alpha1.ValueInvalidReason, a.tells)
		Expect(w.requests(mallory)).To(BeEmpty())
	},
		Entry("a value of 1 MB in 320 places", attack{
			contacts: 1, objects: configMaps(1, plainText), source: sameKey(configMap), tells: anyField,
		}),
		Entry("a dozen contacts with a value of 1 MB in 320 places", attack{
			contacts: dozen, objects: configMaps(1, plainText), source: sameKey(configMap), tells: anyField,
		}),
		Entry("a value of 1 MB of a Secret", attack{
			contacts: dozen, objects: secrets(1, plainText), source: sameKey(secret), tells: anyField,
		}),
		Entry("a value of 1 MB in one map", attack{
			contacts: dozen, objects: configMaps(1, plainText), source: sameKey(configMap), tells: anyField, oneMap: true,
		}),
		Entry("a value of 1 MB that JSON makes six times as large", attack{
			contacts: dozen, objects: configMaps(1, controls), source: sameKey(configMap), tells: anyField,
		}),
		Entry("a value of 1 MB of binaryData", attack{
			contacts: dozen, objects: binaryData(plainText), source: sameKey(configMap), tells: anyField,
		}),
		Entry("bytes that are no text", attack{
			contacts: dozen, objects: binaryData(noText), source: sameKey(configMap), tells: anyField,
		}),
		Entry("320 values of a ConfigMap of 1 MB", attack{
			contacts: dozen, objects: manyKeys(3000, "x"), source: ownKey, tells: anyField,
		}),
		Entry("a dozen ConfigMaps of 1 MB", attack{
			contacts: dozen, objects: configMaps(dozen, plainText), source: inTurns, tells: anyField,
		}),
		Entry("320 optional values that do not exist", attack{
			contacts: dozen, source: missing(320), tells: "^spec takes values from 320 Secrets and ConfigMaps",
		}),
		Entry("values that are small, and a body that is not", attack{
			contacts: dozen, objects: manyKeys(600, "\U00010348"), source: ownKey, tells: "^spec has .* longest part of it",
		}),
	)

	It("leaves out 32 optional values that do not exist", func(ctx SpecContext) {
		w.mount(ctx, attack{contacts: dozen, source: missing(32)})
		w.eachIs(ctx, dozen, v1alpha1.SyncedReason, "")
		Expect(w.requests(mallory)).To(HaveLen(dozen))
	})

	DescribeTable("reads no more than it needs of", func(ctx SpecContext, kind, reason string) {
		const contacts = 4
		w.declareHostile(ctx, kind, contacts)
		w.eachIs(ctx, contacts, reason, "")
	},
		Entry("an endless body in a small one, with 200", "bomb-200", v1alpha1.SyncedReason),
		Entry("an endless body in a small one, with 422", "bomb-422", v1alpha1.RejectedReason),
		Entry("an endless body in a small one, with 500", "bomb-500", v1alpha1.ServerErrorReason),
		Entry("a short text with thousands of readings", "riddle", v1alpha1.RejectedReason),
		Entry("huge headers", "headers", v1alpha1.UnreachableReason),
		Entry("a body that never ends, with 200", "trickle-200", v1alpha1.SyncedReason),
		Entry("a body that never ends, with 422", "trickle-422", v1alpha1.RejectedReason),
	)

	It("takes a flood of changes of a Secret of 1 MB, and of Kubernetes events", func(ctx SpecContext) {
		users := w.declareUsersOfOneSecret(ctx)
		const picky = 4
		w.declareHostile(ctx, "picky", picky)
		w.eachIs(ctx, users+picky, v1alpha1.SyncedReason, "")
		w.flood(ctx, 10*time.Second)
		w.eachIs(ctx, users+picky, v1alpha1.SyncedReason, "")
		Expect(w.events(ctx)).To(ContainSubstring(v1alpha1.RejectedReason))
		// To label a Secret is to change no value.
		Expect(w.requests(mallory + ".user")).To(HaveLen(users))
	})

	It("keeps little of headers that do not end", func(ctx SpecContext) {
		w.operator.openHeaders(ctx, 300)
	})

	It("keeps one of the largest pages of OpenCX's list at a time", func(ctx SpecContext) {
		for i := range hostileKeys {
			name := types.NamespacedName{Namespace: mallory, Name: fmt.Sprint("lists-", i)}
			Expect(w.controlPlane.CreateOrganization(ctx, name, hostileKey(i), func(o *v1alpha1.OpenCXOrganization) {
				o.Spec.DriftCheckInterval = &metav1.Duration{Duration: time.Minute}
			})).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(w.controlPlane.DeleteOrganization(ctx, name)).To(Succeed()) })
			w.declare(ctx, mallory, 1, v1alpha1.OpenCXContactSpec{OrganizationRef: &v1alpha1.OrganizationReference{Name: name.Name}, Name: new("accepted")})
		}
		w.eachIs(ctx, hostileKeys, v1alpha1.SyncedReason, "")
		w.soon(ctx, func(g Gomega) {
			var organizations v1alpha1.OpenCXOrganizationList
			g.Expect(w.k8s.List(ctx, &organizations, client.InNamespace(mallory))).To(Succeed())
			g.Expect(organizations.Items).To(HaveLen(hostileKeys))
			for _, organization := range organizations.Items {
				g.Expect(organization.Status.Sweep).NotTo(BeNil(), organization.Name)
				g.Expect(organization.Status.Sweep.ContactsSeen).To(HaveValue(BeEquivalentTo(4)))
			}
		})
	})

	It("refuses an API key of 1 MB", func(ctx SpecContext) {
		Expect(w.controlPlane.CreateOrganization(ctx, hostileOrganization, plainText())).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			Expect(w.controlPlane.DeleteOrganization(ctx, hostileOrganization)).To(Succeed())
		})
		w.declare(ctx, mallory, dozen, v1alpha1.OpenCXContactSpec{OrganizationRef: &v1alpha1.OrganizationReference{Name: hostileOrganization.Name}, Name: new("accepted")})
		w.eachIs(ctx, dozen, v1alpha1.APIKeyInvalidReason, "")
		Expect(w.requests(mallory)).To(BeEmpty())
	})
})

// requests are those of the contacts whose contactID begins with prefix.
func (w *world) requests(prefix string) (paths []string) {
	for _, request := range w.simulator.Journal() {
		if strings.HasPrefix(request.Path, "/contacts/"+prefix) {
			paths = append(paths, request.Path)
		}
	}
	return paths
}

// startOperator starts the operator, unless it runs, and waits until OpenCX has all
// ordinary contacts.
func (w *world) startOperator(ctx SpecContext) {
	GinkgoHelper()
	if w.operator == nil || w.operator.end() != nil {
		w.starts++
		operator, err := start(ctx, w.container, operatortest.OperatorOptions{
			Binary: w.binary, Kubeconfig: w.controlPlane.Kubeconfig, APIURL: w.url,
			Args:    []string{"--opencx-rate-limit=1000/1s"}, // so that 10 000 take seconds
			LogFile: filepath.Join(w.controlPlane.Folder, fmt.Sprintf("operator-%d.log", w.starts)),
		})
		Expect(err).NotTo(HaveOccurred())
		w.operator = operator
	}
	synced := fmt.Sprintf(`opencx_contacts{organization=%q,ready="True",reason="Synced"} %d`, organization, ordinary)
	w.soon(ctx, func(g Gomega) {
		metrics, err := w.operator.scrape(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(strings.Contains(metrics, synced+"\n")).To(BeTrue(), synced)
	})
}

// soon waits for what the operator shall bring about, as long as it runs.
func (w *world) soon(ctx SpecContext, holds func(Gomega)) {
	GinkgoHelper()
	Eventually(ctx, func(g Gomega) {
		if err := w.operator.end(); err != nil {
			StopTrying(err.Error()).Now()
		}
		holds(g)
	}).WithTimeout(5 * time.Minute).Should(Succeed()) // generous: a busy machine is slow
}

// sorted returns the messages of contacts, each once.
func sorted(messages map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(messages)), "\n")
}
