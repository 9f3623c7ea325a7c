package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/opencx-labs/opencx-operator/internal/opencx"
)

// slowLock takes a second for each write, and fails with err.
type slowLock struct {
	resourcelock.Interface
	err     error
	updates int
}

func (l *slowLock) Identity() string { return "this replica" }

func (l *slowLock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	time.Sleep(time.Second)
	return l.err
}

func (l *slowLock) Update(context.Context, resourcelock.LeaderElectionRecord) error {
	l.updates++
	time.Sleep(time.Second)
	return l.err
}

func TestALeaseIsFreshFromTheBeginningOfItsRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &slowLock{}
		lock := &freshLock{Interface: inner}
		expect := func(when string, want error) {
			t.Helper()
			if err := lock.check(0); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", when, err, want)
			}
		}
		record := resourcelock.LeaderElectionRecord{HolderIdentity: inner.Identity()}
		expect("before the first", errLeaseStale)
		if err := lock.Create(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		expect("after the first", nil)
		time.Sleep(leaseDuration - time.Second - time.Nanosecond)
		expect("at its end", nil)
		if err := lock.check(time.Nanosecond); !errors.Is(err, errLeaseStale) {
			t.Errorf("at its end there is time left: %v", err)
		}
		time.Sleep(time.Nanosecond)
		expect("after its end", errLeaseStale)
		if err := lock.Update(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		expect("renewed", nil)
		inner.err = errors.New("no API server")
		time.Sleep(leaseDuration)
		if err := lock.Update(t.Context(), record); !errors.Is(err, inner.err) {
			t.Fatal(err)
		}
		expect("when the renewal failed", errLeaseStale)
	})
}

func TestARequestFitsBetweenTwoRenewals(t *testing.T) {
	if left := leaseDuration - renewEvery - renewDeadline; left <= opencx.CallTimeout {
		t.Errorf("%s are left of a lease that is about to be renewed, a request may take %s", left, opencx.CallTimeout)
	}
}

func TestALeaderWritesItsLeaseMoreSeldomThanItIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &slowLock{}
		lock := &freshLock{Interface: inner}
		update := func(holder string) {
			t.Helper()
			if err := lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: holder}); err != nil {
				t.Fatal(err)
			}
		}
		update(lock.Identity()) // which takes a second
		for range 10 {
			update(lock.Identity())
		}
		if inner.updates != 1 {
			t.Errorf("%d writes within a second, want 1", inner.updates)
		}
		time.Sleep(renewEvery - time.Second)
		update(lock.Identity())
		if inner.updates != 2 {
			t.Errorf("%d writes, want another one when it is due", inner.updates)
		}
		update("") // the end of a leadership is told at once
		if inner.updates != 3 {
			t.Errorf("%d writes, want another one for the release", inner.updates)
		}
	})
}

// lossyLock stores what is written, but no renewal once it is cut off.
type lossyLock struct {
	resourcelock.Interface
	stored   resourcelock.LeaderElectionRecord
	cutOff   atomic.Bool
	released time.Time
}

func (l *lossyLock) Identity() string   { return "this replica" }
func (l *lossyLock) Describe() string   { return "the lease" }
func (l *lossyLock) RecordEvent(string) {}

func (l *lossyLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	stored := l.stored
	return &stored, []byte(stored.HolderIdentity + stored.RenewTime.String()), nil
}

func (l *lossyLock) Update(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	switch {
	case record.HolderIdentity == "":
		l.released = time.Now()
	case l.cutOff.Load():
		return errors.New("no API server")
	}
	l.stored = record
	return nil
}

// The elector lets go of the lease before it tells anybody that it has lost it.
func TestALeaderThatLosesItsLeaseLetsNobodyLeadBeforeItsRequestsHaveEnded(t *testing.T) {
	for name, cutOff := range map[string]bool{"lost": true, "stopped": false} {
		synctest.Test(t, func(t *testing.T) {
			inner := &lossyLock{}
			lock := &freshLock{Interface: inner}
			ctx, stop := context.WithCancel(t.Context())
			elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
				Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod, ReleaseOnCancel: true,
				Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
			})
			if err != nil {
				t.Fatal(err)
			}
			var lastRequest atomic.Int64 // in Unix nanoseconds
			time.AfterFunc(5*time.Second, func() {
				if inner.cutOff.Store(cutOff); !cutOff {
					stop()
				}
			})
			go func() {
				for ctx.Err() == nil {
					if lock.check(opencx.CallTimeout) == nil {
						lastRequest.Store(time.Now().UnixNano())
					}
					time.Sleep(100 * time.Millisecond)
				}
			}()
			elector.Run(ctx)
			if err := lock.check(0); !inner.released.IsZero() && err == nil {
				t.Errorf("%s: the lease is let go of, and fresh", name)
			}
			stop()
			time.Sleep(time.Second)
			if ended := time.Unix(0, lastRequest.Load()).Add(opencx.CallTimeout); cutOff && !inner.released.IsZero() && inner.released.Before(ended) {
				t.Errorf("%s: the lease is let go of %s before a request has ended", name, ended.Sub(inner.released))
			}
			if !cutOff && inner.released.IsZero() {
				t.Errorf("%s: the lease is kept", name)
			}
		})
	}
}
