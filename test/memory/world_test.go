//go:build linux

package memory

import (
	"encoding/json"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const (
	ordinary   = 10_000
	namespaces = 10
	apiKey     = "ocx_live_" + marker
	// marker is in every value of a Secret and of a ConfigMap.
	marker = "MARKED5550100"
	// mallory is the attacker's namespace, and how their contactIDs begin.
	mallory = "mallory"
)

var (
	organization        = types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: "default"}
	hostileOrganization = types.NamespacedName{Namespace: mallory, Name: "default"}
)

// world is what the specs share.
type world struct {
	binary, url  string
	container    corev1.Container
	controlPlane *operatortest.ControlPlane
	k8s          client.Client
	simulator    *opencxtest.Server
	operator     *process
	starts       int
	edits        int // of ordinary contacts
	attacks      int
}

// inParallel does something for each number below n.
func inParallel(n int, do func(i int) error) {
	GinkgoHelper()
	var group errgroup.Group
	group.SetLimit(20)
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	Expect(group.Wait()).To(Succeed())
}

// declareOrdinary creates the contacts of everybody else.
func (w *world) declareOrdinary(ctx SpecContext) {
	GinkgoHelper()
	for i := range namespaces {
		Expect(w.k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(i)}})).To(Succeed())
	}
	Expect(w.k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: mallory}})).To(Succeed())
	inParallel(ordinary, func(i int) error {
		return w.k8s.Create(ctx, &v1alpha1.OpenCXContact{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(i), Name: nameOf(i), Labels: map[string]string{"app.kubernetes.io/name": "shop"}},
			Spec: v1alpha1.OpenCXContactSpec{
				OrganizationRef: &v1alpha1.OrganizationReference{Namespace: organization.Namespace, Name: organization.Name},
				ContactID:       nameOf(i),
				Email:           new(fmt.Sprintf("jane.doe.%d@example.com", i)),
				Phone:           new("+12025550123"),
				Name:            new("Jane Doe"),
				CustomData:      map[string]string{"plan": "enterprise", "region": "europe", "seats": "25", "since": "2021-03-04", "tier": "gold"},
			},
		})
	})
}

func namespaceOf(i int) string { return fmt.Sprintf("shop-%d", i%namespaces) }
func nameOf(i int) string      { return fmt.Sprintf("customer-%04d", i) }

// editIsAccepted edits an ordinary contact, which shall take one request, and be the
// only one of them that takes any.
func (w *world) editIsAccepted(ctx SpecContext) {
	GinkgoHelper()
	w.edits++
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOf(w.edits), Name: nameOf(w.edits)}}
	edited := fmt.Sprintf("Jane Doe, edited %d", w.edits)
	patch := fmt.Sprintf(`{"spec":{"name":%q}}`, edited)
	Expect(w.k8s.Patch(ctx, contact, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
	w.soon(ctx, func(g Gomega) {
		g.Expect(w.k8s.Get(ctx, client.ObjectKeyFromObject(contact), contact)).To(Succeed())
		g.Expect(contact.Status.ObservedGeneration).To(Equal(contact.Generation))
		g.Expect(meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition)).To(BeTrue())
	})
	Expect(w.requests("customer-")).To(ConsistOf("/contacts/" + contact.Name))
	kept, _ := w.simulator.Contact(contact.Name)
	Expect(kept.Fields).To(HaveKeyWithValue("name", edited))
}

// eachIs waits until each of n contacts of mallory is Ready for that reason, or not,
// with a message that matches.
func (w *world) eachIs(ctx SpecContext, n int, reason, message string) {
	GinkgoHelper()
	told := map[string]bool{}
	w.soon(ctx, func(g Gomega) {
		clear(told)
		var contacts v1alpha1.OpenCXContactList
		g.Expect(w.k8s.List(ctx, &contacts, client.InNamespace(mallory))).To(Succeed())
		g.Expect(contacts.Items).To(HaveLen(n))
		for _, contact := range contacts.Items {
			g.Expect(contact.Status.ObservedGeneration).To(Equal(contact.Generation))
			ready := meta.FindStatusCondition(contact.Status.Conditions, v1alpha1.ReadyCondition)
			g.Expect(ready).NotTo(BeNil())
			g.Expect(ready.Reason).To(Equal(reason), ready.Message)
			g.Expect(meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition)).To(Equal(reason == v1alpha1.SyncedReason))
			g.Expect(ready.Message).To(MatchRegexp(message))
			told[ready.Message] = true
		}
	})
	AddReportEntry(reason+":", sorted(told))
}

// events returns all Kubernetes events in JSON.
func (w *world) events(ctx SpecContext) string {
	GinkgoHelper()
	var events eventsv1.EventList
	Expect(w.k8s.List(ctx, &events)).To(Succeed())
	return inJSON(events)
}

func inJSON(object any) string {
	GinkgoHelper()
	text, err := json.Marshal(object)
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// showsNoValue looks for values wherever the operator writes.
func (w *world) showsNoValue(ctx SpecContext) {
	GinkgoHelper()
	var contacts v1alpha1.OpenCXContactList
	Expect(w.k8s.List(ctx, &contacts, client.InNamespace(mallory))).To(Succeed())
	var organizations v1alpha1.OpenCXOrganizationList
	Expect(w.k8s.List(ctx, &organizations)).To(Succeed())
	metrics, err := w.operator.scrape(ctx)
	Expect(err).NotTo(HaveOccurred())
	for place, text := range map[string]string{
		"contacts": inJSON(contacts), "organizations": inJSON(organizations), "events": w.events(ctx),
		"metrics": metrics, "log": w.operator.Log(),
	} {
		Expect(text).NotTo(BeEmpty(), place)
		// Not a matcher, which would print a text of megabytes.
		Expect(strings.Contains(text, marker)).To(BeFalse(), place)
	}
}

// clear removes everything of mallory's.
func (w *world) clear(ctx SpecContext) {
	GinkgoHelper()
	for _, kind := range []client.Object{&v1alpha1.OpenCXContact{}, &corev1.Secret{}, &corev1.ConfigMap{}, &eventsv1.Event{}} {
		Expect(w.k8s.DeleteAllOf(ctx, kind, client.InNamespace(mallory))).To(Succeed())
	}
}
