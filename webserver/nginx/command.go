package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// output is what a command wrote, its beginning at most.
type output struct{ stdout, stderr string }

const maxOutput = 64 << 10

// run runs a command until it ends or its time is over; then it and all that it started is killed. It does not wait
// for what the command left running, even if that holds the command's output open, as a daemon does.
func run(ctx context.Context, limit time.Duration, cmd *exec.Cmd, what string) (output, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	// Files and no pipes: nobody waits for their end, and who writes to them later does no harm.
	out, err := scratchFile()
	if err != nil {
		return output{}, err
	}
	defer out.Close()
	errs, err := scratchFile()
	if err != nil {
		return output{}, err
	}
	defer errs.Close()
	cmd.Stdout, cmd.Stderr = out, errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return output{}, fmt.Errorf("%s: %w", what, err)
	}
	ended := make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		select {
		case <-ended:
		case <-ctx.Done():
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has ended by itself otherwise
		}
	}()
	err = cmd.Wait()
	close(ended)
	<-killed
	o := output{beginning(out), beginning(errs)}
	if err != nil && ctx.Err() != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return o, fmt.Errorf("%s did not end within %v and was killed", what, limit)
		}
		return o, ctx.Err()
	}
	if err != nil {
		return o, &commandError{what: what, err: err, output: o}
	}
	return o, nil
}

// commandError is the failure of a command that ended by itself.
type commandError struct {
	what string
	err  error
	output
}

func (e *commandError) Error() string {
	text := lastLine(e.stderr)
	if text == "" {
		text = lastLine(e.stdout)
	}
	if text == "" {
		return fmt.Sprintf("%s: %v", e.what, e.err)
	}
	return fmt.Sprintf("%s: %v: %s", e.what, e.err, text)
}

func (e *commandError) Unwrap() error { return e.err }

// code is the exit code, or -1.
func (e *commandError) code() int {
	var exit *exec.ExitError
	if errors.As(e.err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

func scratchFile() (*os.File, error) {
	f, err := os.CreateTemp("", "statiko-nginx-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

func beginning(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxOutput))
	if err != nil {
		return ""
	}
	return string(bytes.ToValidUTF8(b, []byte("?")))
}

// lastLine returns the last line that has something in it.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}
