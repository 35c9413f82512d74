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

// A pause of Poll is a twentieth of the time that it has waited for, so that what takes long is not asked for all the
// time, and still is known to a few hundredths.
const (
	leastPause = 10 * time.Millisecond
	mostPause  = 500 * time.Millisecond
)

// Poll calls try, with pauses, until it returns nil. It gives up, with the last reason, on a final error or when
// the time is over.
func Poll(timeout time.Duration, what string, try func() error) error {
	return poll(context.Background(), timeout, what, try, func(waited time.Duration) time.Duration {
		return min(max(waited/20, leastPause), mostPause)
	})
}

// PollEvery is [Poll] with the same pause each time, for who measures. It gives up when ctx ends, too.
func PollEvery(ctx context.Context, pause, timeout time.Duration, what string, try func() error) error {
	return poll(ctx, timeout, what, try, func(time.Duration) time.Duration { return pause })
}

func poll(ctx context.Context, timeout time.Duration, what string, try func() error, pause func(waited time.Duration) time.Duration) error {
	began := time.Now()
	for {
		err := try()
		if err == nil {
			return nil
		}
		if f, ok := errors.AsType[Final](err); ok {
			return fmt.Errorf("%s: %w", what, f.error)
		}
		waited := time.Since(began)
		if waited > timeout {
			return fmt.Errorf("%s: not within %s: %w", what, timeout, err)
		}
		select {
		case <-time.After(pause(waited)):
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
