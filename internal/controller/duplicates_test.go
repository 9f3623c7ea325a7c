package controller

import (
	"context"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
)

// claim declares a contact whose contactID is jane, in the given namespace. The
// API server notes times in seconds, so the next one is created in another.
func (w *world) claim(ctx context.Context, namespace, name, contactName, key string) {
	GinkgoHelper()
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	contact.Spec = v1alpha1.OpenCXContactSpec{ContactID: "jane", Name: &contactName}
	if key != "" {
		contact.Spec.APIKeySecretRef = &v1alpha1.APIKeySecretReference{Name: key}
	}
	Expect(k8s.Create(ctx, contact)).To(Succeed())
	time.Sleep(time.Second)
}

const isDuplicate = "1/1 Ready=False:Duplicate Stalled=True:Duplicate"

var _ = Describe("A contactID that is claimed twice", func() {
	It("stays with the older contact until that goes", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.claim(ctx, w.namespace, "older", "Older", "")
		w.claim(ctx, w.namespace, "younger", "Younger", "")
		w.expectSynced(ctx, "older", 1)
		w.expectSummary(ctx, "younger", isDuplicate)
		Expect(w.message(ctx, "younger")).To(Equal("An older OpenCXContact named " + w.namespace + "/older has the same contactID and the same API key: delete one of the two. Nothing is sent for this one"))
		w.expectNoMore(1)

		By("being about to go")
		Expect(k8s.Patch(ctx, w.contact("older"), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":["example.com/wait"]}}`)))).To(Succeed())
		Expect(k8s.Delete(ctx, w.contact("older"))).To(Succeed())
		w.expectSynced(ctx, "younger", 1)
		Expect(k8s.Patch(ctx, w.contact("older"), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))).To(Succeed())
		w.expectNoMore(2)
		Expect(w.journal()).To(Equal([]string{`200 jane {"contact":{"name":"Older"}}`, `200 jane {"contact":{"name":"Younger"}}`}))
	})

	It("is not named to a reader of another namespace", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		w.stop()
		other := w.namespace + "-other"
		w.moreNamespaces = []string{other}
		Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: other}})).To(Succeed())
		w.claim(ctx, other, "hidden", "Older", "")
		w.claim(ctx, w.namespace, "younger", "Younger", "")
		w.startOperator()
		w.expectSummary(ctx, "younger", isDuplicate)
		Expect(w.message(ctx, "younger")).To(And(ContainSubstring("in another namespace"), Not(ContainSubstring("hidden")), Not(ContainSubstring(other))))
		w.expectNoMore(1)
		Expect(k8s.Delete(ctx, &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: "hidden"}})).To(Succeed())
		w.expectSynced(ctx, "younger", 1)
		w.expectNoMore(2)
	})

	It("is one of two organizations when the keys differ, and of one when they become the same", func(ctx SpecContext) {
		w := newWorld(ctx, budget.DefaultLimit)
		first, second := secret("ocx_live_"), secret("ocx_live_")
		w.simulator.SetKeys(first, second)
		w.createKey(ctx, "first", first)
		w.createKey(ctx, "second", second)
		w.claim(ctx, w.namespace, "older", "Older", "first")
		w.claim(ctx, w.namespace, "younger", "Younger", "second")
		w.expectSynced(ctx, "older", 1)
		w.expectSynced(ctx, "younger", 1)
		w.expectNoMore(2)

		By("a rotation in the older one's Secret")
		w.put(ctx, "first", map[string]string{"apiKey": second + "\n"})
		w.expectSummary(ctx, "younger", isDuplicate)
		w.expectNoMore(2)

		By("an edit of the older one")
		w.put(ctx, "third", map[string]string{"apiKey": first})
		Expect(k8s.Patch(ctx, w.contact("older"), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"apiKeySecretRef":{"name":"third"}}}`)))).To(Succeed())
		w.expectSynced(ctx, "older", 2)
		w.expectSynced(ctx, "younger", 1)
		w.expectNoMore(4)
	})
})

func TestTheOlderContactIsThatOfTheEarlierTimeAndThenOfTheLesserUID(t *testing.T) {
	at := func(second int64, uid types.UID) *v1alpha1.OpenCXContact {
		return &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{UID: uid, CreationTimestamp: metav1.Unix(second, 0)}}
	}
	for _, pair := range [][2]*v1alpha1.OpenCXContact{{at(1, "b"), at(2, "a")}, {at(1, "a"), at(1, "b")}} {
		if older, younger := pair[0], pair[1]; byAge(older, younger) >= 0 || byAge(younger, older) <= 0 {
			t.Errorf("%s is not older than %s", older.UID, younger.UID)
		}
	}
}
