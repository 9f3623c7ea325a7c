package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
)

var serverError = opencxtest.Answer{
	Status: http.StatusInternalServerError, Body: `{"statusCode":500,"message":"Internal server error"}`,
	Header: map[string]string{"Content-Type": "application/json"},
}

// broken edits a healthy contact every five seconds beside 300 that OpenCX never takes.
func (b bench) broken(ctx context.Context, r *result) error {
	const n, lasts = 300, 3 * time.Minute
	limit := budget.Limit{Requests: 100, Window: 12 * time.Second}
	return withOperator(ctx, limit, func(w *world) error {
		for i := range n {
			w.simulator.InjectContact(fmt.Sprintf("broken-%04d", i), serverError)
		}
		if err := errors.Join(w.declare("shop", 1), w.untilReady(1, time.Minute), w.declare("broken", n)); err != nil {
			return err
		}
		begin := time.Now()
		var latencies []float64
		for i := 0; time.Since(begin) < lasts; i++ {
			made := time.Now()
			if err := w.edit("shop", "shop-0000", fmt.Sprintf("edit %d", i)); err != nil {
				return err
			}
			if err := w.until("an edit", time.Minute, func() (bool, error) { return w.accepted()["shop-0000"].After(made), nil }); err != nil {
				return err
			}
			latencies = append(latencies, w.accepted()["shop-0000"].Sub(made).Seconds())
			if err := w.pause(5*time.Second - time.Since(made)); err != nil {
				return err
			}
		}
		slices.Sort(latencies)
		failed := 0
		for _, request := range w.simulator.Journal() {
			if request.Status == http.StatusInternalServerError {
				failed++
			}
		}
		r.told("edits", float64(len(latencies)), "")
		r.told("median until accepted", latencies[len(latencies)/2], "s")
		r.atMost("worst until accepted", latencies[len(latencies)-1], 2, "s")
		// After 0, 5, 15, 35, 75 and 155 s.
		r.atMost("requests of the broken ones", float64(failed), 6*n, "")
		return nil
	})
}

// outage lets OpenCX fail for everybody while contacts of three namespaces wait.
func (b bench) outage(ctx context.Context, r *result) error {
	const windows, namespaces = 10, 3
	return withOperator(ctx, b.short, func(w *world) error {
		w.simulator.InjectNext(1_000_000, serverError)
		for i := range namespaces {
			if err := w.declare(fmt.Sprintf("import-%d", i), 100); err != nil {
				return err
			}
		}
		if err := w.pause(windows * b.short.Window); err != nil {
			return err
		}
		w.simulator.ClearFaults()
		end := time.Now()
		// Three open the breaker, each namespace has one, and a probe goes after 1, 3, 7, 15,
		// 31, 63 and 111 twelfths of a window.
		r.atMost("requests in ten windows", float64(len(w.simulator.Journal())), 3+namespaces+7, "")
		if err := w.untilAccepted(1, time.Duration(5)*b.short.Window); err != nil {
			return err
		}
		first := time.Since(end)
		r.atMost("first success after the end, in windows", first.Seconds()/b.short.Window.Seconds(), 4.1, "")
		if err := w.untilAccepted(namespaces*100, 20*b.short.Window); err != nil {
			return err
		}
		r.told("all accepted after the end, in windows", lastAccepted(w.accepted()).Sub(end).Seconds()/b.short.Window.Seconds(), "")
		return nil
	})
}

// revoked revokes the key when as many contacts are to be edited as are new.
func (b bench) revoked(ctx context.Context, r *result) error {
	return withOperator(ctx, b.short, func(w *world) error {
		if err := errors.Join(w.declare("shop", many/2), w.untilReady(many/2, time.Minute), w.pause(b.short.Window)); err != nil {
			return err
		}
		before := len(w.simulator.Journal())
		w.simulator.SetKeys("another")
		for i := range many / 2 {
			if err := w.edit("shop", fmt.Sprintf("shop-%04d", i), "edited"); err != nil {
				return err
			}
		}
		if err := errors.Join(w.declare("import", many/2), w.pause(10*b.short.Window)); err != nil {
			return err
		}
		r.atMost("requests in ten windows", float64(len(w.simulator.Journal())-before), 10, "")
		return nil
	})
}

// bogus has an organization make its first request among many whose keys OpenCX never
// accepts.
func (b bench) bogus(ctx context.Context, r *result) error {
	const n = 150
	return withOperator(ctx, b.short, func(w *world) error {
		w.simulator.SetKeys(apiKey, "ocx_genuine")
		for i := range n {
			if err := w.organization(fmt.Sprintf("bogus-%d", i%3), fmt.Sprintf("bogus-%d", i), fmt.Sprintf("ocx_bogus_%d", i)); err != nil {
				return err
			}
		}
		if err := w.pause(2 * b.short.Window); err != nil {
			return err
		}
		declared := time.Now()
		if err := w.organization("genuine", "genuine", "ocx_genuine"); err != nil {
			return err
		}
		if err := w.until("the first request of a genuine organization", 10*b.short.Window, func() (bool, error) {
			return !w.accepted()["genuine"].IsZero(), nil
		}); err != nil {
			return err
		}
		r.atMost("first request among them, in windows", w.accepted()["genuine"].Sub(declared).Seconds()/b.short.Window.Seconds(), 1, "")
		if err := w.pause(3 * b.short.Window); err != nil {
			return err
		}
		r.atMost("requests of bogus keys in any window", float64(mostInAWindow(w.simulator.Journal(), b.short.Window, "ocx_bogus_")), float64(b.short.Requests/10), "")
		return nil
	})
}

// organization makes one with a key, and a contact of it, both of that name.
func (w *world) organization(namespace, name, key string) error {
	if err := w.controlPlane.CreateOrganization(w, types.NamespacedName{Namespace: namespace, Name: name}, key); err != nil {
		return err
	}
	return w.k8s.Create(w, &v1alpha1.OpenCXContact{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.OpenCXContactSpec{
			ContactID: name, OrganizationRef: &v1alpha1.OrganizationReference{Name: name}, Name: new("Contact"),
		},
	})
}

// mostInAWindow is the most requests with keys that begin so in any trailing window.
func mostInAWindow(journal []opencxtest.Request, window time.Duration, key string) (most int) {
	var times []time.Time
	for _, request := range journal {
		if !strings.HasPrefix(request.Key, key) {
			continue
		}
		times = append(times, request.Time)
		for request.Time.Sub(times[0]) >= window {
			times = times[1:]
		}
		most = max(most, len(times))
	}
	return most
}
