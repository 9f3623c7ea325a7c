package controller

import (
	"errors"
	"testing"
)

func TestOneNamespaceReadsNoMoreAtATimeThanItMay(t *testing.T) {
	r := newReads(2)
	for range 2 {
		if _, ok := r.begin("shop"); !ok {
			t.Fatal("one of two may not be read")
		}
	}
	first, ok := r.begin("shop")
	if ok || first < readPause {
		t.Errorf("a third one may be read: %t, or else after %s", ok, first)
	}
	if second, _ := r.begin("shop"); second <= first {
		t.Errorf("a fourth one is to ask again after %s, the third one after %s", second, first)
	}
	if _, ok := r.begin("crm"); !ok {
		t.Error("one of another namespace may not be read")
	}
	r.end("shop")
	if _, ok := r.begin("shop"); !ok {
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
	r := &ContactReconciler{memory: newMemory(), reads: newReads(1)}
	r.reads.begin("shop")
	f, d, unread := r.judge(t.Context(), known(wasEdited, hasSources))
	if !errors.Is(unread, errBusy) || d.step != load || f.busy == 0 || f.loaded != nil {
		t.Errorf("step %s, again after %s, %v; want that it is busy", d.step, f.busy, unread)
	}
	told, _ := report(f, d, result{unsentSince: testTime.Add(-longWait)}, testTime)
	if got := stateOf(&told); got.message != unreadMessage {
		t.Errorf("it says %q", got.message)
	}
}
