package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const (
	leaseName = "opencx-operator.open.cx"
	// Another replica leads when it has seen no renewal for leaseDuration. Between two
	// renewals there is always time for a request, which takes opencx.CallTimeout.
	leaseDuration = 25 * time.Second
	renewDeadline = 12 * time.Second
	// retryPeriod is how often the elector looks: a replica that waits sees a lease that
	// was let go of, or has run out, after at most 2.2 times as long. A leader need not
	// write it so often.
	retryPeriod = 250 * time.Millisecond
	renewEvery  = 2 * time.Second
)

var errLeaseStale = errors.New("the lease has not been renewed in time: another replica may lead")

// freshLock is the lock of an election that knows when it was last renewed. The
// elector notices too late when the process was stopped for a while, as with a
// suspended machine: requests could be sent by two leaders.
type freshLock struct {
	resourcelock.Interface
	renewed  atomic.Pointer[time.Time] // when the last successful write began
	released atomic.Bool               // from when on this replica lets go of it
}

func newFreshLock(config *rest.Config, namespace string) (*freshLock, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("naming this replica: %w", err)
	}
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, namespace, leaseName,
		resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())}, config, renewDeadline)
	if err != nil {
		return nil, fmt.Errorf("preparing the lease: %w", err)
	}
	return &freshLock{Interface: lock}, nil
}

// Create implements resourcelock.Interface.
func (l *freshLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := time.Now()
	return l.note(l.Interface.Create(ctx, record), began)
}

// Update implements resourcelock.Interface. Of renewals, it writes one in renewEvery.
func (l *freshLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	began := time.Now()
	if record.HolderIdentity != l.Identity() {
		return l.release(ctx, record)
	}
	if renewed := l.renewed.Load(); renewed != nil && age(*renewed, began) < renewEvery {
		return nil
	}
	return l.note(l.Interface.Update(ctx, record), began)
}

// release lets go of the lease, so that another replica need not wait until it has run
// out. The elector does so also when it has not been renewed in time, before it tells
// anybody: then requests may be under way.
func (l *freshLock) release(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	renewed := l.renewed.Load()
	l.released.Store(true)
	if renewed == nil || age(*renewed, time.Now()) >= renewDeadline {
		return errLeaseStale
	}
	return l.Interface.Update(ctx, record)
}

func (l *freshLock) note(err error, began time.Time) error {
	if err == nil {
		l.renewed.Store(&began)
	}
	return err
}

// check returns errLeaseStale when another replica may hold the lease before so much
// time has passed.
func (l *freshLock) check(left time.Duration) error {
	renewed := l.renewed.Load()
	if renewed == nil || l.released.Load() {
		return errLeaseStale
	}
	if age(*renewed, time.Now())+left >= leaseDuration {
		return errLeaseStale
	}
	return nil
}

// age asks both clocks: one stands still while a machine is suspended, the other one may
// be set.
func age(of, now time.Time) time.Duration {
	return max(now.Sub(of), now.Round(0).Sub(of.Round(0)))
}
