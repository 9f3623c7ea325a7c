package controller

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/status"
)

func TestWhatOpenCXListsIsKeptWhenAnotherProcessHasWritten(t *testing.T) {
	m := newMemory()
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: "u"}}
	done := false
	m.list(contact, drift.Listing{Done: func() { done = true }})
	m.wrote(contact, "7", nil)
	m.overtaken(contact, "8")
	if known := m.of(client.ObjectKeyFromObject(contact)); done || known.listing == nil || known.resourceVersion != "8" {
		t.Errorf("done: %t, listing: %v, version: %q", done, known.listing, known.resourceVersion)
	}
	again := contact.DeepCopy()
	again.UID = "v"
	m.ended(again, testTime)
	if !done {
		t.Error("the contact was created again, and the sweep waits for the one before")
	}
}

func TestOfAContactIsRememberedWhatTheCacheDoesNotTell(t *testing.T) {
	contact := func(uid types.UID, version string, lastAttempt time.Time) *v1alpha1.OpenCXContact {
		c := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: uid, ResourceVersion: version}}
		c.Status.LastAttemptTime = status.Time(lastAttempt)
		return c
	}
	jane := contact("u", "6", testTime)
	attempt := testTime.Add(time.Minute + 700*time.Millisecond) // of which status will have whole seconds
	for name, tt := range map[string]struct {
		learns func(*memory)
		cached *v1alpha1.OpenCXContact
		want   remembered
	}{
		"nothing, which takes no room": {
			func(m *memory) { m.wrote(jane, "", nil) }, jane, remembered{},
		},
		"a version that the cache has not": {
			func(m *memory) { m.wrote(jane, "7", nil) }, jane, remembered{uid: "u", resourceVersion: "7"},
		},
		"a version that the cache has": {
			func(m *memory) { m.wrote(jane, "7", nil) }, contact("u", "7", testTime), remembered{},
		},
		"a version that the cache has, and what it never has": {
			func(m *memory) { m.wrote(jane, "7", nil); m.sent(jane, sent{hash: "v1:1"}) }, contact("u", "8", testTime),
			remembered{uid: "u", sent: sent{hash: "v1:1"}},
		},
		"a version of a contact that the cache has not": {
			func(m *memory) { m.wrote(contact("v", "3", testTime), "7", nil) }, contact("u", "8", testTime),
			remembered{uid: "v", resourceVersion: "7"},
		},
		"the end of an attempt that status tells": {
			func(m *memory) { m.ended(jane, attempt); m.wrote(jane, "7", nil) }, contact("u", "7", attempt), remembered{},
		},
		"the end of an attempt that status does not tell": {
			func(m *memory) { m.ended(jane, attempt); m.wrote(jane, "7", nil) }, contact("u", "7", testTime),
			remembered{uid: "u", attemptEnded: attempt},
		},
	} {
		m := newMemory()
		tt.learns(m)
		m.cached(tt.cached)
		if got := m.contacts[client.ObjectKeyFromObject(jane)]; got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
		if len(m.contacts) > 0 && tt.want == (remembered{}) {
			t.Errorf("%s: there is an entry", name)
		}
	}
}

func TestTheEndOfAnAttemptIsRememberedForWhatIsToBeCompared(t *testing.T) {
	m := newMemory()
	contact := &v1alpha1.OpenCXContact{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "jane", UID: "u", ResourceVersion: "7"}}
	contact.Status.LastAttemptTime = status.Time(testTime)
	m.list(contact, drift.Listing{Done: func() {}})
	m.ended(contact, testTime)
	m.cached(contact)
	if got := m.of(client.ObjectKeyFromObject(contact)).attemptEnded; got != testTime {
		t.Errorf("remembered is %s", got)
	}
}
