package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
)

// person tells whether somebody can be asked.
func (a *app) person() bool { return a.StdinTerminal && a.StderrTerminal }

// ask asks a question on the terminal; only y and yes mean yes.
func (a *app) ask(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(a.Stderr, "%s [y/N] ", question)
	line, err := a.readLine(ctx)
	if err != nil && err != io.EOF {
		return false, localError(err, "could not read the answer")
	}
	if err == io.EOF {
		fmt.Fprintln(a.Stderr)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// readLine reads one line of standard input.
func (a *app) readLine(ctx context.Context) (string, error) {
	return interruptible(ctx, func() (string, error) { return a.in.ReadString('\n') })
}

// interruptible lets a signal end the command although a read cannot be ended: the goroutine that reads ends with
// the process.
func interruptible(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := read()
		done <- result{line, err}
	}()
	select {
	case r := <-done:
		return r.line, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// confirm asks before something is destroyed, unless --yes was given.
func (a *app) confirm(ctx context.Context, yes bool, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if yes {
		return nil
	}
	if !a.person() {
		return userError("nobody was there to confirm: %s", strings.TrimSuffix(what, "?")).withHint("add --yes if it is meant")
	}
	ok, err := a.ask(ctx, what)
	if err != nil {
		return err
	}
	if !ok {
		return userError("not confirmed; nothing was changed")
	}
	return nil
}
