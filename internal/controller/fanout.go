package controller

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// fanOut has everything looked at that an object concerns, after a while, behind what people
// have edited and whom the budget has called: one label of a Secret may concern thousands of
// contacts of one tenant.
func fanOut(after time.Duration, concerned handler.MapFunc) handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(ctx context.Context, q queue, object client.Object) {
		options, all := priorityqueue.AddOpts{After: after, Priority: new(handler.LowPriority)}, concerned(ctx, object)
		if prioritized, is := q.(priorityqueue.PriorityQueue[reconcile.Request]); is {
			prioritized.AddWithOpts(options, all...)
			return
		}
		for _, request := range all {
			q.AddAfter(request, after)
		}
	}
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q queue) { add(ctx, q, e.Object) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q queue) { add(ctx, q, e.ObjectNew) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q queue) { add(ctx, q, e.Object) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q queue) { add(ctx, q, e.Object) },
	}
}
