// Bench measures the operator's real binary against a real kube-apiserver and a
// simulated OpenCX that enforces its limit, and compares what it measures with
// goals. It prints one table, and writes it as bench.json and, for benchstat, as
// bench.txt.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"

	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/opencx-labs/opencx-operator/internal/budget"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s\n", err)
		os.Exit(1)
	}
}

var errGoal = errors.New("not every goal was met")

func run(ctx context.Context) error {
	b := bench{short: budget.Limit{Requests: 100, Window: 6 * time.Second}}
	only := flag.String("run", "", "regular `expression`: run the cases whose name it matches")
	folder := flag.String("out", "bin", "`folder` for bench.json and bench.txt")
	flag.Var(&b.short, "limit", "limit in the cases that wait for it, as count/duration; the real one is 100/1m, which takes ten times as long")
	flag.DurationVar(&b.idle, "idle", 5*time.Minute, "how long the idle operator is watched")
	flag.IntVar(&b.pairs, "pairs", 5, "how often operator and bare loop are compared; the median counts")
	flag.IntVar(&b.unused, "secrets", 5000, "how many Secrets of 100 kB the cluster holds that nobody uses; 5000 need 6 GB of memory")
	flag.Parse()
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	if b.pairs < 1 || b.idle <= 0 || b.unused < 1 {
		return errors.New("--pairs, --idle and --secrets must be more than 0")
	}
	ctrllog.SetLogger(ctrllog.Log.WithSink(ctrllog.NullLogSink{}))
	fmt.Fprintf(os.Stderr, "%s/%s, %d CPUs, %s; waiting cases at %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), b.short)
	var results []result
	for _, c := range b.cases() {
		if !wanted.MatchString(c.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s %s ...\n", time.Now().Format(time.TimeOnly), c.name)
		r := result{Case: c.name}
		if err := c.run(ctx, &r); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		results = append(results, r)
	}
	met := printTable(os.Stdout, results)
	if err := save(filepath.Clean(*folder), results); err != nil {
		return err
	}
	if !met {
		return errGoal
	}
	return nil
}
