package operatortest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	works      = "echo Starting workers; while :; do sleep 0.05; done"
	endsWell   = "trap 'exit 0' TERM; " + works
	endsBadly  = "trap 'echo no lease; exit 3' TERM; " + works
	staysAlive = "trap '' TERM; " + works
)

// standIn makes the options of an operator that is a shell script.
func standIn(t *testing.T, script string) OperatorOptions {
	t.Helper()
	folder := t.TempDir()
	options := OperatorOptions{Binary: filepath.Join(folder, "manager"), LogFile: filepath.Join(folder, "log")}
	if err := os.WriteFile(options.Binary, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return options
}

func TestAStartedOperatorWorksUntilItIsToldToStop(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   []string // in the error of Stop; none for no error
	}{
		"one that ends in good order":   {endsWell, nil},
		"one that ends with a failure":  {endsBadly, []string{"exit status 3", "no lease"}},
		"one that does not end at all":  {staysAlive, []string{"does not stop", "Starting workers"}},
		"one that ends without a trace": {works, []string{"signal: terminated"}},
	} {
		t.Run(name, func(t *testing.T) {
			operator, err := StartOperator(t.Context(), standIn(t, test.script))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(operator.Kill)
			if state := operator.State(); state != nil {
				t.Fatalf("it ended: %s", state)
			}
			operator.grace = time.Second
			err = operator.Stop()
			if (err == nil) != (test.want == nil) || errors.Is(err, ErrDoesNotStop) != (test.script == staysAlive) {
				t.Errorf("error = %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v, want %q in it", err, want)
				}
			}
			select {
			case <-operator.Exited():
			default:
				t.Error("it still runs")
			}
		})
	}
}

func TestAnOperatorThatDoesNotWorkIsNotWaitedFor(t *testing.T) {
	if _, err := StartOperator(t.Context(), standIn(t, "echo no cluster; exit 1")); err == nil || !strings.Contains(err.Error(), "exit status 1\nno cluster") {
		t.Errorf("error = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := StartOperator(ctx, standIn(t, "echo Electing; exec sleep 60")); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Electing") {
		t.Errorf("error = %v", err)
	}
	if _, err := StartOperator(t.Context(), OperatorOptions{Binary: "/nowhere", LogFile: filepath.Join(t.TempDir(), "log")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v", err)
	}
}

func TestAnOperatorIsToldWhereEverythingIs(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "that-of-the-test")
	const show = `echo "$@" "in <$POD_NAMESPACE>"; ` + endsWell
	run := func(change func(*OperatorOptions)) string {
		t.Helper()
		options := standIn(t, show)
		options.Kubeconfig = "there"
		change(&options)
		operator, err := StartOperator(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		operator.Kill()
		first, _, _ := strings.Cut(operator.Log(), "\n")
		return first
	}
	if got, want := run(func(*OperatorOptions) {}), "--kubeconfig=there in <default>"; got != want {
		t.Errorf("without options: %s, want %s", got, want)
	}
	got := run(func(o *OperatorOptions) {
		o.APIURL, o.Args, o.Env = "http://127.0.0.1:1", []string{"--leader-elect"}, []string{"POD_NAMESPACE=opencx-system"}
	})
	if want := "--kubeconfig=there --opencx-api-url=http://127.0.0.1:1 --health-probe-bind-address=0 --leader-elect in <opencx-system>"; got != want {
		t.Errorf("with all: %s, want %s", got, want)
	}
}
