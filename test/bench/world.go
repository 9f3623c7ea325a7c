package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/budget"
	"github.com/opencx-labs/opencx-operator/internal/opencx/opencxtest"
	"github.com/opencx-labs/opencx-operator/internal/operatortest"
)

const apiKey = "ocx_bench_key"

// world is a control plane and a simulated OpenCX, of which one case has all.
type world struct {
	context.Context
	controlPlane *operatortest.ControlPlane
	k8s          client.Client
	limit        budget.Limit
	simulator    *operatortest.Simulator
	processes    int
}

// unlimited is a limit that nothing reaches.
var unlimited = budget.Limit{Requests: 1_000_000, Window: time.Minute}

// inWorld runs a case in a new world and takes that down afterwards.
func inWorld(ctx context.Context, limit budget.Limit, test func(*world) error) error {
	return inWorldWith(ctx, operatortest.StartControlPlane, limit, test)
}

func inWorldWith(ctx context.Context, start func(crds ...string) (*operatortest.ControlPlane, error), limit budget.Limit, test func(*world) error) (err error) {
	controlPlane, err := start(filepath.Join("config", "crd", "bases"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, controlPlane.Stop()) }()
	simulator := operatortest.StartSimulator(opencxtest.Options{
		Keys: []string{apiKey}, AcceptAnyContact: true, Limit: limit.Requests, Window: limit.Window,
	})
	defer simulator.Close()
	organization := types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: "default"}
	if err := controlPlane.CreateOrganization(ctx, organization, apiKey); err != nil {
		return err
	}
	return test(&world{Context: ctx, controlPlane: controlPlane, k8s: controlPlane.Client, limit: limit, simulator: simulator})
}

// withOperator runs a case in a new world in which an operator runs.
func withOperator(ctx context.Context, limit budget.Limit, test func(*world) error) error {
	return inWorld(ctx, limit, func(w *world) error {
		operator, err := w.startOperator()
		if err != nil {
			return err
		}
		defer operator.Kill()
		return test(w)
	})
}

// declare creates n contacts, named after their namespace and a number.
func (w *world) declare(namespace string, n int) error {
	if err := w.k8s.Create(w, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); client.IgnoreAlreadyExists(err) != nil {
		return err
	}
	group, ctx := errgroup.WithContext(w)
	group.SetLimit(8)
	for i := range n {
		group.Go(func() error {
			name := fmt.Sprintf("%s-%04d", namespace, i)
			return w.k8s.Create(ctx, &v1alpha1.OpenCXContact{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
				Spec: v1alpha1.OpenCXContactSpec{
					ContactID:  name,
					Name:       new("Contact " + strconv.Itoa(i)),
					CustomData: map[string]string{"plan": "enterprise"},
				},
			})
		})
	}
	return group.Wait()
}

// ready is how many contacts are Ready.
func (w *world) ready() (n int, err error) {
	var contacts v1alpha1.OpenCXContactList
	err = w.k8s.List(w, &contacts)
	for _, contact := range contacts.Items {
		if meta.IsStatusConditionTrue(contact.Status.Conditions, v1alpha1.ReadyCondition) {
			n++
		}
	}
	return n, err
}

// until waits until condition holds.
func (w *world) until(what string, timeout time.Duration, condition func() (bool, error)) error {
	deadline := time.Now().Add(timeout)
	for {
		if ok, err := condition(); ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s in vain for %s", timeout, what)
		}
		if err := w.pause(50 * time.Millisecond); err != nil {
			return err
		}
	}
}

// pause sleeps, unless the benchmark is interrupted.
func (w *world) pause(d time.Duration) error {
	select {
	case <-w.Done():
		return w.Err()
	case <-time.After(d):
		return nil
	}
}

// untilAccepted waits until OpenCX has accepted n contacts.
func (w *world) untilAccepted(n int, timeout time.Duration) error {
	return w.until(fmt.Sprintf("%d accepted contacts", n), timeout, func() (bool, error) {
		return len(w.accepted()) >= n, nil
	})
}

// untilReady waits until n contacts are Ready.
func (w *world) untilReady(n int, timeout time.Duration) error {
	return w.until(fmt.Sprintf("%d Ready contacts", n), timeout, func() (bool, error) {
		ready, err := w.ready()
		return ready >= n, errors.Join(err, w.pause(500*time.Millisecond)) // a list is work for the API server
	})
}

// accepted is when each contact was last accepted.
func (w *world) accepted() map[string]time.Time {
	at := map[string]time.Time{}
	for _, r := range w.simulator.Journal() {
		if r.Status == http.StatusOK {
			at[strings.TrimPrefix(r.Path, "/contacts/")] = r.AnsweredAt
		}
	}
	return at
}

// lastAccepted is when the last one of accepted was.
func lastAccepted(accepted map[string]time.Time) (last time.Time) {
	for _, at := range accepted {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// refused is how many requests of a journal exceeded the limit.
func refused(journal []opencxtest.Request) (n int) {
	for _, r := range journal {
		if r.Status == http.StatusTooManyRequests {
			n++
		}
	}
	return n
}
