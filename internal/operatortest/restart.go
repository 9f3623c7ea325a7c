package operatortest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
)

// Restart kills a program of the control plane, which is etcd or kube-apiserver, and
// starts it again after a while, as it was and with what it had. It returns when the API
// server is ready. It needs Linux, which tells how a process was started.
func (c *ControlPlane) Restart(ctx context.Context, program string, away time.Duration) error {
	pid, args, err := child(program)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s: %w", program, err)
	}
	for syscall.Kill(pid, 0) == nil { // it holds its port until it has ended
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case <-time.After(away):
	case <-ctx.Done(): // nobody is left without
	}
	command := exec.CommandContext(context.WithoutCancel(ctx), args[0], args[1:]...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches the caller alone
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting %s again: %w", program, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait() // killed, as a rule
		close(ended)
	}()
	c.restarted[program] = func() {
		_ = command.Process.Kill() // fails for one that has ended
		<-ended
	}
	return c.waitUntilReady(ctx)
}

// child finds a running process that this one has started.
func child(program string) (pid int, args []string, err error) {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, nil, err
	}
	for _, process := range processes {
		stat, _ := os.ReadFile(filepath.Join(process, "stat")) // empty once it has ended
		_, behindName, _ := strings.Cut(string(stat), ") ")
		state, parent, ok := strings.Cut(behindName, " ")
		if parent, _, _ = strings.Cut(parent, " "); !ok || state == "Z" || parent != strconv.Itoa(os.Getpid()) {
			continue
		}
		commandLine, _ := os.ReadFile(filepath.Join(process, "cmdline"))
		if args = strings.Split(strings.TrimRight(string(commandLine), "\x00"), "\x00"); filepath.Base(args[0]) == program {
			pid, err = strconv.Atoi(filepath.Base(process))
			return pid, args, err
		}
	}
	return 0, nil, fmt.Errorf("no %s that this process started is found in /proc", program)
}

// waitUntilReady waits until the API server is, which reads etcd for that.
func (c *ControlPlane) waitUntilReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	clients, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	for {
		_, err := clients.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the API server: %w", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
