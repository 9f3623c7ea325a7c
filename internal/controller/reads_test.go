package controller

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

func TestOneNamespaceReadsNoMoreAtATimeThanItMay(t *testing.T) {
	r := newReads(2)
	for range 2 {
		if _, ok := r.begin("shop", false); !ok {
			t.Fatal("one of two may not be read")
		}
	}
	first, ok := r.begin("shop", false)
	if ok || first < readPause {
		t.Errorf("a third one may be read: %t, or else after %s", ok, first)
	}
	if second, _ := r.begin("shop", false); second <= first {
		t.Errorf("a fourth one is to ask again after %s, the third one after %s", second, first)
	}
	for range 100_000 {
		r.begin("shop", false)
	}
	if last, _ := r.begin("shop", false); last > maxRetry {
		t.Errorf("after many others, one is to ask again after %s", last)
	}
	if _, ok := r.begin("crm", false); !ok {
		t.Error("one of another namespace may not be read")
	}
	for range 2 {
		if _, ok := r.begin("shop", true); !ok {
			t.Error("one that was called may not be read beside two others")
		}
	}
	if pause, ok := r.begin("shop", true); ok || pause != readPause {
		t.Errorf("a third one that was called may be read: %t, or else after %s", ok, pause)
	}
	for range 3 {
		r.end("shop")
	}
	if _, ok := r.begin("shop", false); !ok {
		t.Error("it may not be read although one of two has ended")
	}
	for _, namespace := range []string{"shop", "shop", "crm"} {
		r.end(namespace)
	}
	if len(r.underWay)+len(r.refused) != 0 {
		t.Errorf("%v and %v are kept of namespaces of which nothing is read", r.underWay, r.refused)
	}
}

// What is not read at once keeps its place, and says so in time.
func TestAContactOfABusyNamespaceIsNotRead(t *testing.T) {
	r := reconcilerOver(t, nil, nil)
	r.reads.begin("shop", false)
	f, d, unread := r.judge(t.Context(), known(wasEdited, hasSources))
	if !errors.Is(unread, errBusy) || d.step != load || f.busy == 0 || f.loaded != nil {
		t.Errorf("step %s, again after %s, %v; want that it is busy", d.step, f.busy, unread)
	}
	told, _ := report(f, d, result{unsentSince: testTime.Add(-longWait)}, testTime)
	if got := stateOf(&told); got.message != busyMessage {
		t.Errorf("it says %q", got.message)
	}
}

// Its slot and its place are kept from all others until it has come.
func TestAContactThatWasCalledIsReadBeforeOthers(t *testing.T) {
	r, f := reconcilerOver(t, nil, nil), known(wasEdited, hasSources, isLoaded)
	var called budget.Asker
	r.budget = budget.New(budget.Options{Limit: budget.DefaultLimit, MaxInFlight: 1, Wake: func(who budget.Asker) { called = who }})
	take := func(who budget.Asker) *budget.Slot {
		slot, _ := r.budget.Take(budget.Ask{Organization: "shop/acme", Limit: budget.DefaultLimit, Key: f.loaded.key.Key, Asker: who})
		return slot
	}
	other, this := take(budget.Asker{Name: "other"}), asker(client.ObjectKeyFromObject(f.contact))
	take(this)
	f.loaded = nil
	for range 2 {
		r.reads.begin(this.Namespace, true)
	}
	wantPause := func(want bool) {
		t.Helper()
		if looked, _, err := r.judge(t.Context(), f); !errors.Is(err, errBusy) || (looked.busy == readPause) != want {
			t.Errorf("again after %s, %v", looked.busy, err)
		}
	}
	wantPause(false)
	other.Unused()
	if called != this {
		t.Fatalf("%v was called, want %v", called, this)
	}
	wantPause(true)
}

// Thousands of contacts may take their values from one Secret.
func TestAContactOfABusyNamespaceSaysInTimeThatItWaits(t *testing.T) {
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: "u", Generation: 1}}
	contact.Spec.NameFrom = &v1alpha1.ValueSource{SecretKeyRef: &v1alpha1.KeySelector{Name: "names", Key: "jane"}}
	contact.Spec.OrganizationRef = &v1alpha1.OrganizationReference{Name: "acme"}
	contact.Status = v1alpha1.OpenCXContactStatus{ObservedGeneration: 1, AppliedHash: "before", AttemptedHash: "before@1", Organization: "shop/acme"}
	status.Mark(&contact.Status.Conditions, 1, metav1.ConditionTrue, v1alpha1.SyncedReason, acceptedMessage)
	synctest.Test(t, func(t *testing.T) {
		server := fakeServer(t, contact, &v1alpha1.OpenCXOrganization{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "acme"}})
		r := reconcilerOver(t, server, server)
		for range 10_000 {
			r.reads.begin("shop", false)
		}
		name, began, said := client.ObjectKeyFromObject(contact), time.Now(), stateOf(&contact.Status)
		for said.isReady() {
			result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name})
			var now v1alpha1.OpenCXContact
			if err := errors.Join(err, server.Get(t.Context(), name, &now)); err != nil || result.RequeueAfter == 0 {
				t.Fatalf("it is looked at again after %s, %v", result.RequeueAfter, err)
			}
			if said = stateOf(&now.Status); said.isReady() {
				time.Sleep(result.RequeueAfter)
			}
		}
		if waited := time.Since(began); said.message != busyMessage || waited > longWait {
			t.Errorf("it said for %s that it is Ready, over an unsent change, and then %q", waited, said.message)
		}
	})
}
