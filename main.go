// The OpenCXContact operator keeps the contacts of OpenCX equal to the
// OpenCXContact objects of a Kubernetes cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // credentials of cloud providers in a kubeconfig
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/opencx-labs/opencx-operator/api/v1alpha1"
	"github.com/opencx-labs/opencx-operator/internal/controller"
	"github.com/opencx-labs/opencx-operator/internal/drift"
	"github.com/opencx-labs/opencx-operator/internal/notification"
	"github.com/opencx-labs/opencx-operator/internal/opencx"
	"github.com/opencx-labs/opencx-operator/internal/organization"
)

var scheme = runtime.NewScheme()

func init() {
	utilruntime.Must(corev1.AddToScheme(scheme)) // Secrets and ConfigMaps
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

func main() {
	opts, err := parseFlags(flag.CommandLine, os.Args[1:], ownNamespace(), os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "opencx-operator: %s\n", err)
		os.Exit(2)
	}
	restConfig, err := ctrl.GetConfig()
	if err != nil {
		fmt.Fprintf(os.Stderr, "opencx-operator: finding a cluster: %s: name a kubeconfig with --kubeconfig or KUBECONFIG\n", err)
		os.Exit(2)
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&opts.zap)))
	if os.Getenv("GOGC") == "" {
		// The operator is idle nearly always: memory is dearer than the time of
		// the garbage collector.
		debug.SetGCPercent(60)
	}
	if err := run(ctrl.SetupSignalHandler(), restConfig, opts); err != nil {
		ctrl.Log.WithName("setup").Error(err, "The operator ends")
		os.Exit(1)
	}
}

// run builds the manager and runs it until ctx ends.
func run(ctx context.Context, restConfig *rest.Config, opts options) error {
	// net/http logs there what OpenCX sends without being asked, such as the body of a
	// 204, in which a value or the key may be; it has no other way to be told not to.
	log.SetOutput(io.Discard)
	// On an object that was stored before a rule of the CRD, the API server answers
	// every write of status with a warning that has the refused value in it.
	restConfig.WarningHandlerWithContext = rest.NoWarnings{}
	lease := func(time.Duration) error { return nil }
	var lock resourcelock.Interface
	if opts.leaderElect {
		fresh, err := newFreshLock(restConfig, opts.ownNamespace)
		if err != nil {
			return err
		}
		lock, lease = fresh, fresh.check
	}
	mgr, err := newManager(restConfig, opts, lock)
	if err != nil {
		return err
	}
	recorder, err := newRecorder(mgr, opts.eventsURL)
	if err != nil {
		return err
	}
	collector, err := controller.Setup(mgr, controller.Options{
		Recorder:                recorder,
		OpenCX:                  opencx.NewClient(opts.apiURL, "opencx-operator/"+version, controller.ObserveCall),
		Scope:                   opts.scope,
		DefaultOrganization:     opts.defaultOrganization,
		OwnNamespace:            opts.ownNamespace,
		Limit:                   opts.rateLimit,
		Drift:                   drift.DefaultTiming,
		Share:                   opts.budgetShare,
		ResyncInterval:          opts.resyncInterval,
		MaxConcurrentReconciles: opts.maxConcurrentReconciles,
		Lease:                   lease,
	})
	if err != nil {
		return err
	}
	if err := errors.Join(metrics.Registry.Register(collector), metrics.Registry.Register(newBuildInfo())); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	ctrl.Log.WithName("setup").Info("Starting", "version", version, "apiURL", opts.apiURL.String(), "rateLimit", opts.rateLimit.String(), "budgetShare", opts.budgetShare)
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case <-mgr.Elected():
		return <-ended // when all that has begun is finished
	default:
		// Nothing has begun. controller-runtime 0.25 would wait for caches that
		// cannot be filled, at the full speed of a core.
		return nil
	}
}

// newManager returns a manager whose cache is as controller.Setup needs it. lock is nil
// without an election.
func newManager(restConfig *rest.Config, opts options, lock resourcelock.Interface) (ctrl.Manager, error) {
	mgr, err := ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                              scheme,
		Cache:                               organization.CacheOptions(opts.scope, opts.defaultOrganization),
		Metrics:                             metricsserver.Options{BindAddress: noAddress}, // see addServers
		HealthProbeBindAddress:              noAddress,
		PprofBindAddress:                    opts.pprofAddress,
		LeaderElection:                      opts.leaderElect,
		LeaderElectionResourceLockInterface: lock,
		LeaseDuration:                       new(leaseDuration),
		RenewDeadline:                       new(renewDeadline),
		RetryPeriod:                         new(retryPeriod),
		LeaderElectionReleaseOnCancel:       true, // the process ends when the manager has
	})
	if err != nil {
		return nil, fmt.Errorf("creating the manager: %w", err)
	}
	return mgr, addServers(mgr, opts)
}

// newRecorder returns the recorder of events, which also has them posted to eventsURL
// when that is not nil.
func newRecorder(mgr ctrl.Manager, eventsURL *url.URL) (events.EventRecorder, error) {
	const name = "opencx-operator"
	recorder := mgr.GetEventRecorder(name)
	if eventsURL == nil {
		return recorder, nil
	}
	poster := notification.NewPoster(eventsURL, mgr.GetScheme())
	return poster.Recorder(recorder, name), mgr.Add(poster)
}

// addServers adds the servers of probes and metrics.
func addServers(mgr ctrl.Manager, opts options) error {
	ctx := context.Background()
	if opts.probeAddress != noAddress {
		reading := make(cachesRead)
		server, err := newServer(ctx, "probes", opts.probeAddress, probes(reading.check), nil)
		if err == nil {
			err = errors.Join(mgr.Add(server), mgr.Add(reading))
		}
		if err != nil {
			return err
		}
	}
	if opts.metricsAddress != noAddress {
		server, err := newMetricsServer(ctx, opts, mgr.GetConfig(), mgr.GetHTTPClient())
		if err == nil {
			err = mgr.Add(server)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// probes are what the kubelet asks: /healthz whether the process answers, /readyz
// whether ready says that it can do the work.
func probes(ready healthz.Checker) http.Handler {
	mux := http.NewServeMux()
	for path, check := range map[string]healthz.Checker{"/healthz": healthz.Ping, "/readyz": ready} {
		mux.Handle(path, http.StripPrefix(path, &healthz.Handler{Checks: map[string]healthz.Checker{"ping": check}}))
	}
	return mux
}

// cachesRead is closed by the manager when it has read all that is watched, leader or
// not: from then on this replica can lead without delay.
type cachesRead chan struct{}

// Start implements manager.Runnable. The manager starts it after the caches.
func (c cachesRead) Start(context.Context) error {
	close(c)
	return nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (c cachesRead) NeedLeaderElection() bool { return false }

// check is a healthz.Checker.
func (c cachesRead) check(*http.Request) error {
	select {
	case <-c:
		return nil
	default:
		return errors.New("the API server's objects have not been read yet")
	}
}

// ownNamespace is the operator's own namespace, where the lease and the budget's
// reservations are kept, and the default organization is looked for.
func ownNamespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	const file = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
	if namespace, err := os.ReadFile(file); err == nil {
		return strings.TrimSpace(string(namespace))
	}
	return "default"
}
