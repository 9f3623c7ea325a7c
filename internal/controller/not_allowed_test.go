package controller

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

// seenFrom is the same world, seen from another of its namespaces.
func (w *world) seenFrom(namespace string) *world {
	elsewhere := *w
	elsewhere.namespace = namespace
	return &elsewhere
}

// label gives a namespace a label; null takes it away.
func label(ctx context.Context, namespace, key, value string) {
	GinkgoHelper()
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, key, value)
	Expect(k8s.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// strangers are contacts of one namespace, by the organization that each names and may
// not use.
type strangers struct {
	*world
	organizations map[string]types.NamespacedName // by contact
	mu            sync.Mutex
	stored        map[string][]string // each version of each contact's status
}

// newStrangers creates one contact for each of organizations; one whose name is "" names
// none.
func newStrangers(ctx context.Context, w *world, namespace string, organizations map[string]types.NamespacedName) *strangers {
	GinkgoHelper()
	s := &strangers{world: w.seenFrom(namespace), organizations: organizations, stored: map[string][]string{}}
	DeferCleanup(s.follow(ctx, func(contact *v1alpha1.OpenCXContact) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stored[contact.Name] = append(s.stored[contact.Name], asJSON(contact.Status))
	}))
	for name, organization := range organizations {
		spec := `{"organizationRef":` + asJSON(v1alpha1.OrganizationReference{Name: organization.Name, Namespace: organization.Namespace}) + `}`
		if name == "names-none" {
			spec = `{}`
		}
		s.declare(ctx, name, spec)
	}
	return s
}

var transition = regexp.MustCompile(`"lastTransitionTime":"[^"]+"`)

// unnamed is text without what has to differ: the organization's name, and times.
func (s *strangers) unnamed(contact, text string) string {
	o := s.organizations[contact]
	text = strings.NewReplacer(s.namespace, "OWN", o.String(), "ORGANIZATION", "keeps namespace "+o.Namespace, "keeps namespace THAT").Replace(text)
	return transition.ReplaceAllString(text, `"lastTransitionTime":"T"`)
}

// history is every version of a contact's status, without what has to differ.
func (s *strangers) history(contact string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.stored[contact] {
		all = append(all, s.unnamed(contact, text))
	}
	return all
}

// versions are the contacts' own, by name.
func (s *strangers) versions(ctx context.Context) map[string]string {
	GinkgoHelper()
	versions := map[string]string{}
	for name := range s.organizations {
		versions[name] = s.get(ctx, name).ResourceVersion
	}
	return versions
}

// expectUnwritten asserts that nobody has stored any of the contacts since before.
func (s *strangers) expectUnwritten(ctx context.Context, before map[string]string) {
	GinkgoHelper()
	s.mu.Lock()
	stored := asJSON(s.stored)
	s.mu.Unlock()
	Consistently(func() map[string]string { return s.versions(ctx) }).Should(Equal(before), stored)
}

// expectAlike asserts that what was stored and told of each contact is the same.
func (s *strangers) expectAlike(ctx context.Context, want []string, events []string) {
	GinkgoHelper()
	for name := range s.organizations {
		Eventually(func() []string { return s.history(name) }).Should(Equal(want), name)
		told := func() (all []string) {
			for _, event := range s.events(ctx, name) {
				all = append(all, s.unnamed(name, event))
			}
			return all
		}
		Eventually(told).Should(Equal(events), name)
	}
}

const (
	closedSentence = "OpenCXOrganization ORGANIZATION does not exist, or does not allow contacts of namespace OWN: ask who keeps namespace THAT to create it, or to allow OWN in its spec.allowedNamespaces"
	closedState    = `{"conditions":[` +
		`{"type":"Ready","status":"False","observedGeneration":1,"lastTransitionTime":"T","reason":"OrganizationNotFound","message":"` + closedSentence + `"},` +
		`{"type":%q,"status":"True","observedGeneration":1,"lastTransitionTime":"T","reason":"OrganizationNotFound","message":"` + closedSentence + `"}],"observedGeneration":1}`
	neverLookedAt = `{"observedGeneration":-1}`
)

// settles waits until the organization called default has seen its last edit, in state.
func (w *world) settles(ctx context.Context, state string) {
	GinkgoHelper()
	Eventually(func() string {
		o := w.getOrganization(ctx, "default")
		if o.Status.ObservedGeneration != o.Generation {
			return "not seen"
		}
		return strings.TrimSpace(conditionsOf(o.Status.Conditions))
	}).Should(HavePrefix(state))
}

// disturb does to the organization called default, of which contact own is, whatever its
// keepers can, without opening it to the strangers.
func (w *world) disturb(ctx context.Context, own, selected string) {
	GinkgoHelper()
	By("editing, suspending and resuming it")
	w.editOrganization(ctx, "default", `{"spec":{"resyncInterval":"48h","suspend":true}}`)
	w.settles(ctx, "Ready=Unknown:Suspended")
	w.editOrganization(ctx, "default", `{"spec":{"resyncInterval":null,"suspend":null}}`)
	w.settles(ctx, "Ready=True:Usable")

	By("rotating its key, spoiling it, and taking it away")
	w.key = secret("ocx_live_")
	w.simulator.SetKeys(w.key)
	w.put(ctx, "default-api-key", map[string]string{"apiKey": w.key})
	w.put(ctx, "default-api-key", map[string]string{"apiKey": "two\nlines"})
	w.settles(ctx, "Ready=False:APIKeyInvalid")
	w.remove(ctx, "Secret", "default-api-key")
	w.settles(ctx, "Ready=False:APIKeyNotFound")
	w.put(ctx, "default-api-key", map[string]string{"apiKey": w.key})
	w.settles(ctx, "Ready=True:Usable")

	By("having its contacts refused and accepted")
	w.simulator.InjectContact("jane", opencxtest.Failure(422, "no"))
	w.edit(ctx, own, `{"spec":{"name":"refused"}}`)
	Eventually(func() string { return w.summary(ctx, own) }).Should(HaveSuffix("Stalled=True:Rejected"))
	w.simulator.ClearContact("jane")
	w.edit(ctx, own, `{"spec":{"name":"accepted"}}`)
	Eventually(func() string { return w.summary(ctx, own) }).Should(HaveSuffix("Ready=True:Synced"))

	By("opening it to others")
	w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":{"from":"Selector","selector":{"matchLabels":{"team":"sales"}}}}}`)
	w.settles(ctx, "Ready=True:Usable")
	another := w.seenFrom(selected)
	label(ctx, selected, "team", `"sales"`)
	Eventually(func() string { return another.summary(ctx, "selected") }).Should(HaveSuffix("Ready=True:Synced"))
	label(ctx, selected, "team", `null`)
	Eventually(func() string { return another.summary(ctx, "selected") }).Should(HaveSuffix("=True:OrganizationNotFound"))

	By("deleting it and creating it again")
	Expect(controlPlane.DeleteOrganization(ctx, w.organization("default"))).To(Succeed())
	Eventually(func() string { return w.summary(ctx, own) }).Should(HaveSuffix("=True:OrganizationNotFound"))
	w.createOrganization(ctx, "default", w.key, closed)
	Eventually(func() string { return w.summary(ctx, own) }).Should(HaveSuffix("Ready=True:Synced"))
}

// closed closes an organization to other namespaces.
func closed(o *v1alpha1.OpenCXOrganization) { o.Spec.AllowedNamespaces = nil }

var _ = Describe("A namespace that an organization does not allow", func() {
	It("cannot tell a closed organization from a missing one, whatever happens to it", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.editOrganization(ctx, "default", `{"spec":{"allowedNamespaces":null}}`)
		w.createOrganization(ctx, "selects", secret("ocx_live_"), func(o *v1alpha1.OpenCXOrganization) {
			o.Spec.AllowedNamespaces = &v1alpha1.AllowedNamespaces{From: v1alpha1.NamespacesFromSelector, Selector: &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "hr"}}}
		})
		w.moreNamespaces = append(w.moreNamespaces, "nowhere") // it is looked at, and does not exist
		other := w.addNamespace(ctx)
		selected := w.addNamespace(ctx)
		s := newStrangers(ctx, w, other, map[string]types.NamespacedName{
			"jane":       w.organization("default"), // a contactID of somebody who is allowed, too
			"names-none": w.organization("default"),
			"selects":    w.organization("selects"),
			"missing":    w.organization("missing"),
			"nowhere":    {Namespace: "nowhere", Name: "default"},
		})
		reconciling := []string{neverLookedAt, fmt.Sprintf(closedState, "Reconciling")}
		event := []string{"Warning OrganizationNotFound " + closedSentence}
		s.expectAlike(ctx, reconciling, event)
		before := s.versions(ctx)

		By("accepting a younger contact of the same contactID, which nobody is in the way of")
		w.claim(ctx, w.namespace, "own", "jane", "default")
		w.claim(ctx, selected, "selected", "selected", "default")
		w.expectSynced(ctx, "own", 1)

		w.disturb(ctx, "own", selected)
		label(ctx, other, "team", `"research"`) // which no organization selects
		w.stop()
		w.startOperator()
		w.expectSynced(ctx, "own", 3)
		s.expectUnwritten(ctx, before)
		s.expectAlike(ctx, reconciling, event)

		By("letting two minutes pass")
		w.stop()
		for name := range s.organizations {
			s.age(ctx, name, 2*time.Minute)
		}
		w.startOperator()
		stalled := append(reconciling, fmt.Sprintf(closedState, "Reconciling"), fmt.Sprintf(closedState, "Stalled")) // with the aged one
		s.expectAlike(ctx, stalled, event)
		before = s.versions(ctx)
		w.disturb(ctx, "own", selected)
		s.expectUnwritten(ctx, before)
		s.expectAlike(ctx, stalled, event)
		for _, line := range w.journal() {
			Expect(line).To(Or(HavePrefix("200 jane {\"contact\":{\"name\":\"own\"}}"), HavePrefix("200 jane {\"contact\":{\"name\":\"accepted\"}}"),
				HavePrefix("422 jane {\"contact\":{\"name\":\"refused\"}}"), HavePrefix("200 selected ")))
		}
	}, SpecTimeout(4*time.Minute))
})
