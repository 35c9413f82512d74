package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a program may take to end after SIGTERM: longer than a node waits for requests.
const stopTimeout = 20 * time.Second

// process is a running program whose output goes to a file.
type process struct {
	cmd     *exec.Cmd
	logFile string
	// ended is closed when the process has ended; err is set before.
	ended chan struct{}
	err   error
}

// startProcess starts a program in dir. It appends what the program prints to logFile.
func startProcess(dir, logFile string, env []string, program string, args ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{cmd: exec.Command(program, args...), logFile: logFile, ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = dir, env, log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// running tells whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process as a power cut would, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// terminate ends a process of which the exit code does not matter, and its children with it.
func (p *process) terminate() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		p.kill()
	}
}

// stop ends the process as a supervisor would. It is an error if it does not end in time, or not with 0.
func (p *process) stop() error {
	if !p.running() {
		return fmt.Errorf("ended by itself: %w\n%s", p.err, p.tail())
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		p.kill()
		return fmt.Errorf("still running %s after SIGTERM\n%s", stopTimeout, p.tail())
	}
	if p.err != nil {
		return fmt.Errorf("%w\n%s", p.err, p.tail())
	}
	return nil
}

// log returns all that the program printed.
func (p *process) log() []byte {
	data, err := os.ReadFile(p.logFile)
	if err != nil {
		return []byte(err.Error())
	}
	return data
}

// tail returns the end of the log.
func (p *process) tail() string {
	const size = 6000
	data := p.log()
	return string(data[max(0, len(data)-size):])
}

// clean is an error if the log tells of a data race or a panic.
func (p *process) clean() error {
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "goroutine 1 ["} {
		if i := bytes.Index(p.log(), []byte(bad)); i >= 0 {
			return fmt.Errorf("the log of the node holds %q:\n%s", bad, p.log()[i:])
		}
	}
	return nil
}

// final is an error that trying again does not help.
type final struct{ error }

// poll calls try, with pauses, until it returns nil. It gives up, with the last reason, on a final error or when
// the time is over.
func poll(timeout time.Duration, what string, try func() error) error {
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for deadline := time.Now().Add(timeout); ; <-pause.C {
		err := try()
		if err == nil {
			return nil
		}
		if f, ok := errors.AsType[final](err); ok {
			return fmt.Errorf("%s: %w", what, f.error)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s: %w", what, timeout, err)
		}
	}
}

// quickExit keeps programs with the race detector from waiting a second before they exit.
const quickExit = "GORACE=atexit_sleep_ms=0"

// cleanEnv is this process's environment without what would configure the programs, and with more.
func cleanEnv(more ...string) []string {
	env := []string{quickExit}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); name == "PATH" || name == "TMPDIR" {
			env = append(env, e)
		}
	}
	return append(env, more...)
}
