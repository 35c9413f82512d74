package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Final is an error that trying again does not help.
type Final struct{ error }

// NoUse makes an error final.
func NoUse(err error) error { return Final{err} }

// Poll calls try, with pauses, until it returns nil. It gives up, with the last reason, on a final error or when
// the time is over.
func Poll(timeout time.Duration, what string, try func() error) error {
	return PollEvery(context.Background(), 10*time.Millisecond, timeout, what, try)
}

// PollEvery is [Poll] with a pause of its own. It gives up when ctx ends, too.
func PollEvery(ctx context.Context, pause, timeout time.Duration, what string, try func() error) error {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for deadline := time.Now().Add(timeout); ; {
		err := try()
		if err == nil {
			return nil
		}
		if f, ok := errors.AsType[Final](err); ok {
			return fmt.Errorf("%s: %w", what, f.error)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s: %w", what, timeout, err)
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, ctx.Err(), err)
		}
	}
}

// Until waits for a moment that is part of what a test says.
func Until(moment time.Time) {
	timer := time.NewTimer(time.Until(moment))
	defer timer.Stop()
	<-timer.C
}

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
