package programs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a child process. It dies with this one, however that ends.
type Process struct {
	process *os.Process
	// exited is closed by whoever waits for it.
	exited chan struct{}
}

// Start starts a program that appends what it prints to the file log. env is all of its environment.
func Start(log string, env []string, program string, args ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr, c.Env = out, out, env
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error), make(chan struct{})
	go func() {
		defer close(exited)
		// The signal comes when the thread ends that started the process, so that thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.Start()
		started <- err
		if err == nil {
			// How it ended does not matter: tests kill it.
			_ = c.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-exited
		return nil, err
	}
	return &Process{process: c.Process, exited: exited}, nil
}

// Ended tells whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Kill ends the process at once, as a crash does, and waits for its end.
func (p *Process) Kill() {
	// It may have ended by itself.
	_ = p.process.Kill()
	<-p.exited
}

// endTimeout is how long a process may take to end when it is asked to.
const endTimeout = 10 * time.Second

// End asks the process to end, and kills it if it does not in time.
func (p *Process) End() {
	_ = p.process.Signal(syscall.SIGTERM) // it may have ended by itself
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		p.Kill()
	}
}

// Terminate ends the process with SIGTERM and waits for its end, at most so long.
func (p *Process) Terminate(t testing.TB, timeout time.Duration) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		t.Fatalf("the process %d runs on after SIGTERM", p.process.Pid)
	}
}

// Stop freezes the process: its connections stay open and nobody answers.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
	awaitFrozen(t, p.process.Pid)
}

// Cont ends what Stop began.
func (p *Process) Cont(t testing.TB) { t.Helper(); p.signal(t, syscall.SIGCONT) }

func (p *Process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := p.process.Signal(s); err != nil {
		t.Fatalf("signal the process %d: %v", p.process.Pid, err)
	}
}

// LastLog returns the last lines of a log, shortened.
func LastLog(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Sprint(err)
	}
	all := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	all = all[max(0, len(all)-lines):]
	for i, line := range all {
		all[i] = line[:min(len(line), 300)]
	}
	return strings.TrimSpace(string(bytes.Join(all, []byte("\n"))))
}
