// Bench measures the operator's real binary against a real kube-apiserver and a
// simulated OpenCX that enforces its limit, and compares what it measures with
// goals. It prints one table, and writes it as bench.json and, for benchstat, as
// bench.txt. With --scale it measures instead what ever more contacts cost, which it
// writes as scale.json and scale.txt, beside profiles of the most.
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
	"slices"
	"strconv"
	"strings"
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
	folder := flag.String("out", "bin", "`folder` for what is written")
	flag.Var(&b.short, "limit", "limit in the cases that wait for it, as count/duration; the real one is 100/1m, which takes ten times as long")
	flag.DurationVar(&b.idle, "idle", 5*time.Minute, "how long the idle operator is watched")
	flag.IntVar(&b.pairs, "pairs", 5, "how often operator and bare loop are compared; the median counts")
	flag.IntVar(&b.unused, "secrets", 5000, "how many Secrets of 100 kB the cluster holds that nobody uses; 5000 need 6 GB of memory")
	var counts []int
	flag.Func("scale", "`numbers` of contacts, ascending and separated by commas: measure what they cost, and none of the cases; the machine creates some hundreds in a second", func(text string) (err error) {
		counts, err = parseCounts(text)
		return err
	})
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
	name, results := "bench", []result(nil)
	if counts != nil {
		name = "scale"
		results, err = measureScale(ctx, counts, b.idle, filepath.Clean(*folder))
	} else {
		results, err = b.measure(ctx, wanted)
	}
	if err != nil {
		return err
	}
	met := printTable(os.Stdout, results)
	if err := save(filepath.Clean(*folder), name, results); err != nil {
		return err
	}
	if !met {
		return errGoal
	}
	return nil
}

// measure runs the cases whose names are wanted.
func (b bench) measure(ctx context.Context, wanted *regexp.Regexp) (results []result, err error) {
	for _, c := range b.cases() {
		if !wanted.MatchString(c.name) {
			continue
		}
		began(c.name)
		r := result{Case: c.name}
		if err := c.run(ctx, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// began tells which case begins.
func began(name string) {
	fmt.Fprintf(os.Stderr, "%s %s ...\n", time.Now().Format(time.TimeOnly), name)
}

// parseCounts reads numbers that grow, and of which there are two or more.
func parseCounts(text string) (counts []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, err
		}
		counts = append(counts, n)
	}
	if len(counts) < 2 || counts[0] < 1 || !slices.IsSorted(counts) || len(slices.Compact(slices.Clone(counts))) < len(counts) {
		return nil, errors.New("two numbers are needed, or more, the larger ones last")
	}
	return counts, nil
}
