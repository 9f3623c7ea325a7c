package controller

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/desired"
	"github.com/opencx-labs/opencx-operator/internal/organization"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

func TestAnEditIsLookedAtBeforeWhatAnObjectConcerns(t *testing.T) {
	named := func(name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}
	}
	concerned := fanOut(0, func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{named("a"), named("edited"), named("b")}
	})
	q := newQueue("fan-out")
	defer q.ShutDown()
	concerned.Update(t.Context(), event.UpdateEvent{ObjectOld: &corev1.ConfigMap{}, ObjectNew: &corev1.ConfigMap{}}, q.PriorityQueue)
	q.Add(named("edited"))
	for _, want := range []string{"edited", "a", "b"} {
		got, _ := q.Get()
		if q.Done(got); got != named(want) {
			t.Errorf("looked at %s, want %s", got.Name, want)
		}
	}
}

// As one who is synced is looked at again when it is to be sent again.
func TestAnEditIsLookedAtBeforeWhatAnObjectConcernsThoughAllAreToBeSentAgain(t *testing.T) {
	objects := []client.Object{&v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "acme"}}}
	var all []reconcile.Request
	for _, name := range []string{"a", "b", "edited"} {
		c := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), Generation: 1}}
		c.Spec.ContactID, c.Spec.OrganizationRef = name, &v1alpha1.OrganizationReference{Name: "acme"}
		hash := desired.Hash(&c.Spec, nil, desired.To{API: "https://api.example.com", Organization: "shop/acme"})
		c.Status = v1alpha1.OpenCXContactStatus{ObservedGeneration: 1, AppliedHash: hash, AttemptedHash: hash, Organization: "shop/acme", LastSyncTime: new(metav1.Now())}
		status.Mark(&c.Status.Conditions, 1, metav1.ConditionTrue, v1alpha1.SyncedReason, acceptedMessage)
		objects, all = append(objects, c), append(all, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(c)})
	}
	cache := fakeServer(t, objects...)
	r := reconcilerOver(t, cache, cache)
	q := newQueue("fan-out")
	defer q.ShutDown()
	for _, contact := range all {
		result, err := r.Reconcile(t.Context(), contact)
		if err != nil || result.RequeueAfter < time.Hour {
			t.Fatalf("looked at again after %s, %v", result.RequeueAfter, err)
		}
		q.AddWithOpts(priorityqueue.AddOpts{After: result.RequeueAfter, Priority: result.Priority}, contact)
	}
	fanOut(0, func(context.Context, client.Object) []reconcile.Request { return all }).
		Update(t.Context(), event.UpdateEvent{ObjectOld: &corev1.ConfigMap{}, ObjectNew: &corev1.ConfigMap{}}, q.PriorityQueue)
	q.Add(all[2])
	for _, i := range []int{2, 0, 1} {
		got, _ := q.Get()
		if q.Done(got); got != all[i] {
			t.Errorf("looked at %s, want %s", got.Name, all[i].Name)
		}
	}
}

// Whoever labels the Secret with the key ten times a second must not have thousands of
// contacts looked at as often that do not need it.
func TestALabelOnTheSecretWithTheKeyConcernsWhoMayWaitForIt(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	contact := func(name string, ready metav1.ConditionStatus, reason string) *v1alpha1.OpenCXContact {
		c := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: name}}
		status.Mark(&c.Status.Conditions, 1, ready, reason, "")
		return c
	}
	acme := &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: "acme"}}
	acme.Spec.APIKeySecretRef.Name = "key"
	stored := fake.NewClientBuilder().WithScheme(scheme).WithObjects(acme,
		contact("refused", metav1.ConditionFalse, v1alpha1.UnauthorizedReason),
		contact("synced", metav1.ConditionTrue, v1alpha1.SyncedReason),
		contact("waiting", metav1.ConditionUnknown, v1alpha1.WaitingReason),
		&v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: "yet-unseen"}},
	).
		WithIndex(&v1alpha1.OpenCXContact{}, sourceIndex, func(client.Object) []string { return nil }).
		WithIndex(&v1alpha1.OpenCXContact{}, organization.Index, func(client.Object) []string { return []string{"crm/acme"} }).Build()
	w := watches{&ContactReconciler{cache: stored}}
	for secret, want := range map[string][2]string{"key": {"refused waiting yet-unseen ", "synced "}, "other": {}} {
		object, got := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "crm", Name: secret}}, [2]string{}
		for i, requests := range [][]reconcile.Request{w.usersOfSecret(t.Context(), object), w.readyUsersOfKey(t.Context(), object)} {
			for _, request := range requests {
				got[i] += request.Name + " "
			}
		}
		if got != want {
			t.Errorf("Secret %s concerns %q at once and later, want %q", secret, got, want)
		}
	}
}
