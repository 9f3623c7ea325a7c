package operatortest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 2 * time.Minute
	// stopTimeout is what config/manager gives the operator to end in good order.
	stopTimeout = 35 * time.Second
)

// ErrDoesNotStop is the error of an operator that had to be killed.
var ErrDoesNotStop = errors.New("the operator does not stop")

// OperatorOptions say what to run.
type OperatorOptions struct {
	// Binary is the path of the operator's binary, or of another that takes
	// --kubeconfig.
	Binary     string
	Kubeconfig string
	// APIURL is OpenCX's address. When empty, the binary gets none of the
	// operator's own flags.
	APIURL string
	// Args and Env come last, so they win.
	Args []string
	Env  []string
	// LogFile is a path to write the binary's output to.
	LogFile string
}

// Operator is a process of the operator's binary. No context ends it: it is told
// to stop, as Kubernetes would tell it.
type Operator struct {
	command *exec.Cmd
	exited  chan struct{}
	logFile string
	grace   time.Duration
}

// StartOperator starts the operator and waits until it works.
func StartOperator(ctx context.Context, options OperatorOptions) (*Operator, error) {
	o, err := LaunchOperator(options)
	if err != nil {
		return nil, err
	}
	if err := o.WaitForWorkers(ctx); err != nil {
		o.Kill()
		return nil, err
	}
	return o, nil
}

// LaunchOperator starts the operator and does not wait.
func LaunchOperator(options OperatorOptions) (*Operator, error) {
	log, err := os.Create(options.LogFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the operator has its own handle
	args := []string{"--kubeconfig=" + options.Kubeconfig}
	if options.APIURL != "" {
		args = append(args, "--opencx-api-url="+options.APIURL, "--health-probe-bind-address=0")
	}
	command := exec.CommandContext(context.Background(), options.Binary, append(args, options.Args...)...)
	// Its own namespace is not that of a pod in which the test may run.
	command.Env = append(append(os.Environ(), "POD_NAMESPACE=default"), options.Env...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the caller alone
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", options.Binary, err)
	}
	o := &Operator{command: command, exited: make(chan struct{}), logFile: options.LogFile, grace: stopTimeout}
	go func() {
		_ = command.Wait() // State says how it ended
		close(o.exited)
	}()
	return o, nil
}

// WaitForWorkers waits until the operator works. The error has the operator's log.
func (o *Operator) WaitForWorkers(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the operator does not work after %s", startTimeout))
	defer cancel()
	for {
		if strings.Contains(o.Log(), "Starting workers") {
			return nil
		}
		select {
		case <-o.exited:
			return o.Ended()
		case <-ctx.Done():
			return fmt.Errorf("waiting for the operator's workers: %w\n%s", context.Cause(ctx), o.Log())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// FreeAddress is one of loopback on which nobody listens.
func FreeAddress(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// Stop tells the operator to stop and waits until it has. It is an error when it
// ends with a failure, or only by a kill, which is ErrDoesNotStop.
func (o *Operator) Stop() error {
	if err := o.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("telling the operator to stop: %w", err)
	}
	select {
	case <-o.exited:
	case <-time.After(o.grace):
		o.Kill()
		return fmt.Errorf("%w within %s\n%s", ErrDoesNotStop, o.grace, o.Log())
	}
	if !o.State().Success() {
		return o.Ended()
	}
	return nil
}

// Kill ends the operator at whatever it is doing. One that has ended stays so.
func (o *Operator) Kill() {
	_ = o.command.Process.Kill() // fails for one that has ended
	<-o.exited
}

// Exited is closed when the operator has ended.
func (o *Operator) Exited() <-chan struct{} { return o.exited }

// Ended is the error to give when the operator ended and should not have.
func (o *Operator) Ended() error {
	return fmt.Errorf("the operator ended: %s\n%s", o.State(), o.Log())
}

// State says how the operator ended and what it used; nil while it runs.
func (o *Operator) State() *os.ProcessState {
	select {
	case <-o.exited:
		return o.command.ProcessState
	default:
		return nil
	}
}

// Pid is its process ID.
func (o *Operator) Pid() int { return o.command.Process.Pid }

// Log is what the operator has printed so far.
func (o *Operator) Log() string {
	text, err := os.ReadFile(o.logFile)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
