package cluster

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

// StopTimeout is how long a program may take to end after SIGTERM: longer than a node waits for requests.
const StopTimeout = 20 * time.Second

// Process is a running program whose output goes to a file.
type Process struct {
	Cmd     *exec.Cmd
	LogFile string
	// Ended is closed when the process has ended; Err is set before.
	Ended chan struct{}
	Err   error
}

// StartProcess starts a program in dir. It appends what the program prints to logFile. The program dies with this one,
// however that ends.
func StartProcess(dir, logFile string, env []string, program string, args ...string) (*Process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Process{Cmd: exec.Command(program, args...), LogFile: logFile, Ended: make(chan struct{})}
	p.Cmd.Dir, p.Cmd.Env, p.Cmd.Stdout, p.Cmd.Stderr = dir, env, log, log
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The signal comes when the thread ends that started the process, so that thread must stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.Cmd.Start()
		started <- err
		if err == nil {
			p.Err = p.Cmd.Wait()
			close(p.Ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Running tells whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Ended:
		return false
	default:
		return true
	}
}

// Kill ends the process as a power cut would, and waits for its end.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill()
	<-p.Ended
}

// Terminate ends a process of which the exit code does not matter, and its children with it.
func (p *Process) Terminate() {
	_ = p.Cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	timer := time.NewTimer(StopTimeout)
	defer timer.Stop()
	select {
	case <-p.Ended:
	case <-timer.C:
		p.Kill()
	}
}

// Stop ends the process as a supervisor would. It is an error if it does not end in time, or not with 0.
func (p *Process) Stop() error {
	if !p.Running() {
		return fmt.Errorf("ended by itself: %w\n%s", p.Err, p.Tail())
	}
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(StopTimeout)
	defer timer.Stop()
	select {
	case <-p.Ended:
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("still running %s after SIGTERM\n%s", StopTimeout, p.Tail())
	}
	if p.Err != nil {
		return fmt.Errorf("%w\n%s", p.Err, p.Tail())
	}
	return nil
}

// Freeze stops the process with SIGSTOP. It goes on with the result, at the latest when the test ends.
func (p *Process) Freeze(t testing.TB) (thaw func()) {
	t.Helper()
	Must(t, p.Cmd.Process.Signal(syscall.SIGSTOP))
	thaw = func() {
		// It may have been killed meanwhile.
		_ = p.Cmd.Process.Signal(syscall.SIGCONT)
	}
	t.Cleanup(thaw)
	return thaw
}

// Log returns all that the program printed.
func (p *Process) Log() []byte {
	data, err := os.ReadFile(p.LogFile)
	if err != nil {
		return []byte(err.Error())
	}
	return data
}

// Tail returns the end of the log.
func (p *Process) Tail() string {
	const size = 6000
	data := p.Log()
	return string(data[max(0, len(data)-size):])
}

// Clean is an error if the log tells of a data race or a panic.
func (p *Process) Clean() error {
	log := p.Log()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "goroutine 1 ["} {
		if i := bytes.Index(log, []byte(bad)); i >= 0 {
			return fmt.Errorf("the log of the node holds %q:\n%s", bad, log[i:])
		}
	}
	return nil
}

// QuickExit keeps programs with the race detector from waiting a second before they exit.
const QuickExit = "GORACE=atexit_sleep_ms=0"

// CleanEnv is this process's environment without what would configure the programs, and with more.
func CleanEnv(more ...string) []string {
	env := []string{QuickExit}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); name == "PATH" || name == "TMPDIR" {
			env = append(env, e)
		}
	}
	return append(env, more...)
}
