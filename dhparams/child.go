package dhparams

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A search uses all processors for a while. Go's scheduler knows no priorities: inside a process that serves, requests
// wait for searching goroutines, and the whole process waits for threads of low priority when it collects garbage. In
// a process of its own a search disturbs nobody, as the operating system sees to it. Measured with requests over HTTP
// on two processors, median and 99th percentile: 0.10 and 0.21 ms without a search; 40 and 240 ms with one of two
// workers inside; 0.05 and 0.4 ms with one worker inside; 0.06 and 0.4 ms with two workers in a process of their own.

// message is a line that the process of a search writes.
type message struct {
	Progress *Progress `json:"progress,omitempty"`
	PEM      string    `json:"pem,omitempty"`
}

// Child returns a search that runs in a process of its own: the given program with the given arguments and, behind
// them, the number of bits and of workers. The program has to call [RunChild] with these two.
//
// The process ends when the search does, when ctx ends, and when this process does.
func Child(program string, args ...string) func(context.Context, Options) (*Params, error) {
	return func(ctx context.Context, o Options) (*Params, error) {
		cmd := exec.CommandContext(ctx, program, append(args[:len(args):len(args)], strconv.Itoa(o.Bits), strconv.Itoa(o.Workers))...)
		// Nothing is written there: it is closed when this process ends, however that is.
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		defer stdin.Close()
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		cmd.WaitDelay = time.Second
		if err := cmd.Start(); err != nil {
			return nil, fmt.Errorf("start the search: %w", err)
		}
		found, reading := readChild(stdout, o.Progress)
		err = cmd.Wait()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return nil, fmt.Errorf("the process of the search ended: %w: %.500s", err, strings.TrimSpace(stderr.String()))
		case reading != nil:
			return nil, fmt.Errorf("read from the process of the search: %w", reading)
		case found == nil || found.Bits() != o.Bits:
			return nil, errors.New("the process of the search ended without a result")
		}
		return found, nil
	}
}

// readChild reads what the process writes until it ends.
func readChild(r io.Reader, progress func(Progress)) (found *Params, err error) {
	d := json.NewDecoder(r)
	for {
		var m message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		if m.Progress != nil && progress != nil {
			progress(*m.Progress)
		}
		if m.PEM != "" {
			if found, err = Parse(m.PEM); err != nil {
				return nil, err
			}
		}
	}
}

// RunChild is what the process of a search runs: args are the number of bits and of workers. It ends when ctx does, or
// stdin is at its end.
func RunChild(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("the number of bits and the number of workers are needed")
	}
	bits, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("the number of bits: %w", err)
	}
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("the number of workers: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the process, which this is all of
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	w := bufio.NewWriter(stdout)
	e := json.NewEncoder(w)
	p, err := Generate(ctx, Options{Bits: bits, Workers: workers, Progress: func(p Progress) {
		if e.Encode(message{Progress: &p}) != nil || w.Flush() != nil {
			cancel() // nobody reads
		}
	}})
	if err != nil {
		return err
	}
	if err := e.Encode(message{PEM: p.PEM()}); err != nil {
		return err
	}
	return w.Flush()
}
