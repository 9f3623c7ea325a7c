package main

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
)

// speed is what it took to bring contacts in sync.
type speed struct{ rate, cpu, rss float64 }

func (b bench) noLimit(ctx context.Context, r *result) error {
	return inWorld(ctx, unlimited, func(w *world) error {
		var ours, bare []speed
		for pair := range b.pairs {
			s, err := w.measure(fmt.Sprintf("bare-%d", pair), w.startBareLoop)
			if err != nil {
				return err
			}
			bare = append(bare, s)
			before, err := w.writes()
			if err != nil {
				return err
			}
			if s, err = w.measure(fmt.Sprintf("ours-%d", pair), func() (*process, error) { return w.startOperator() }); err != nil {
				return err
			}
			ours = append(ours, s)
			after, err := w.writes()
			if err != nil {
				return err
			}
			if pair == 0 {
				written := after.minus(before)
				r.exactly("status writes per contact", written.status/many, 1)
				r.atMost("events per contact", written.events/many, 1, "")
				r.told("writes of reservations", written.reservations, "")
				r.told("writes of the organization's status", written.organizations, "")
				r.atMost("writes refused as conflicts", written.conflicts, 0, "")
			}
		}
		for _, each := range []struct {
			name   string
			speeds []speed
		}{{"operator", ours}, {"bare loop", bare}} {
			r.told(each.name, median(each.speeds, speed.getRate), "contacts/s")
			r.told(each.name+" CPU", 1000*median(each.speeds, speed.getCPU), "ms/contact")
		}
		r.atLeast("contacts/s, operator to bare loop", median(ours, speed.getRate)/median(bare, speed.getRate), 0.75, "")
		r.atMost("CPU, operator to bare loop", median(ours, speed.getCPU)/median(bare, speed.getCPU), 1.5, "")
		r.told("bare loop peak RSS", median(bare, speed.getRSS), "MB")
		r.atMost("operator's peak RSS", median(ours, speed.getRSS), 64, "MB")
		return nil
	})
}

func (s speed) getRate() float64 { return s.rate }
func (s speed) getCPU() float64  { return s.cpu }
func (s speed) getRSS() float64  { return s.rss }

func median(speeds []speed, of func(speed) float64) float64 {
	var values []float64
	for _, s := range speeds {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// measure declares contacts while nothing runs, and brings them in sync.
func (w *world) measure(namespace string, start func() (*process, error)) (speed, error) {
	if err := w.declare(namespace, many); err != nil {
		return speed{}, err
	}
	before := len(w.simulator.Journal())
	p, err := start()
	if err != nil {
		return speed{}, err
	}
	defer p.Kill()
	err = w.until("all requests", 5*time.Minute, func() (bool, error) { return len(w.simulator.Journal())-before >= many, nil })
	if err != nil {
		return speed{}, err
	}
	// Status and events follow; nothing more may.
	if err := w.pause(5 * time.Second); err != nil {
		return speed{}, err
	}
	journal := w.simulator.Journal()[before:]
	if err := errors.Join(p.notePeakRSS(), p.Stop()); err != nil {
		return speed{}, err
	}
	if len(journal) != many {
		return speed{}, fmt.Errorf("%d requests for %d contacts", len(journal), many)
	}
	if err := w.k8s.DeleteAllOf(w, &v1alpha1.OpenCXContact{}, client.InNamespace(namespace)); err != nil {
		return speed{}, err
	}
	cpu, rss := p.used()
	took := slices.MaxFunc(slices.Collect(maps.Values(w.accepted())), time.Time.Compare).Sub(journal[0].Time)
	return speed{rate: many / took.Seconds(), cpu: cpu.Seconds() / many, rss: rss / 1e6}, nil
}

func (b bench) rest(ctx context.Context, r *result) error {
	return inWorld(ctx, unlimited, func(w *world) error {
		operator, err := w.startOperator()
		if err != nil {
			return err
		}
		defer operator.Kill()
		if err := errors.Join(w.declare("shop", many), w.untilReady(many, 5*time.Minute), w.pause(2*time.Second), operator.Stop()); err != nil {
			return err
		}
		requests := len(w.simulator.Journal())
		before, err := w.writes()
		if err != nil {
			return err
		}
		if operator, err = w.startOperator(); err != nil {
			return err
		}
		defer operator.Kill()
		err = w.until("a look at each contact", time.Minute, func() (bool, error) {
			looks, err := w.metric(operator, "controller_runtime_reconcile_total")
			return looks >= many, err
		})
		if err != nil {
			return err
		}
		// The organization's counts follow within ten seconds.
		if err := w.pause(12 * time.Second); err != nil {
			return err
		}
		after, err := w.writes()
		if err != nil {
			return err
		}
		r.atMost("requests after a restart", float64(len(w.simulator.Journal())-requests), 0, "")
		r.atMost("status writes after a restart", after.minus(before).status, 0, "")

		cpuBefore, err := w.metric(operator, "process_cpu_seconds_total")
		if err != nil {
			return err
		}
		if err := w.pause(b.idle); err != nil {
			return err
		}
		cpuAfter, err := w.metric(operator, "process_cpu_seconds_total")
		if err != nil {
			return err
		}
		idle, err := w.writes()
		if err != nil {
			return err
		}
		written := idle.minus(after)
		r.told("idle for", b.idle.Seconds(), "s")
		r.atMost("requests while idle", float64(len(w.simulator.Journal())-requests), 0, "")
		r.atMost("writes while idle", written.status+written.organizations+written.events+written.reservations, 0, "")
		r.atMost("CPU while idle", 100*(cpuAfter-cpuBefore)/b.idle.Seconds(), 0.5, "%")
		rss, err := w.metric(operator, "process_resident_memory_bytes")
		r.told("RSS while idle", rss/1e6, "MB")
		return err
	})
}

// secrets compares the operator's memory in a cluster that is full of Secrets
// with that in an empty one. The metadata of each Secret carries its data once
// more, as kubectl apply leaves it.
func (b bench) secrets(ctx context.Context, r *result) error {
	const size = 100_000
	return inWorld(ctx, unlimited, func(w *world) error {
		empty, err := w.peakAtStart()
		if err != nil {
			return err
		}
		group, groupCtx := errgroup.WithContext(w)
		group.SetLimit(8)
		for i := range b.unused {
			group.Go(func() error {
				data := make([]byte, size)
				_, _ = crand.Read(data) // never fails
				secret := &corev1.Secret{Data: map[string][]byte{"data": data}}
				secret.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
				secret.Namespace, secret.Name = metav1.NamespaceDefault, fmt.Sprintf("unused-%d", i)
				applied, err := json.Marshal(secret)
				if err != nil {
					return err
				}
				secret.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: string(applied)}
				return w.k8s.Create(groupCtx, secret)
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		full, err := w.peakAtStart()
		if err != nil {
			return err
		}
		r.told("Secrets of 100 kB", float64(b.unused), "")
		r.told("peak RSS with none", empty/1e6, "MB")
		r.told("peak RSS with them", full/1e6, "MB")
		r.atMost("growth", (full-empty)/1e6, 32, "MB")
		return nil
	})
}

// peakAtStart is the most memory of an operator that starts, sends one contact
// and runs on for a while.
func (w *world) peakAtStart() (float64, error) {
	before := len(w.simulator.Journal())
	operator, err := w.startOperator()
	if err != nil {
		return 0, err
	}
	defer operator.Kill()
	if err := w.declare(fmt.Sprintf("one-%d", before), 1); err != nil {
		return 0, err
	}
	if err := errors.Join(w.untilAccepted(before+1, 5*time.Minute), w.pause(10*time.Second), operator.notePeakRSS(), operator.Stop()); err != nil {
		return 0, err
	}
	return operator.peakRSS, nil
}
