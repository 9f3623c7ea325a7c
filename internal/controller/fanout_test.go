package controller

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestAnEditIsLookedAtBeforeWhatAnObjectConcerns(t *testing.T) {
	named := func(name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: name}}
	}
	concerned := fanOut(func(context.Context, client.Object) []reconcile.Request {
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
