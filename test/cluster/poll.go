package cluster

import (
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
	pause := time.NewTimer(leastPause)
	defer pause.Stop()
	began := time.Now()
	for deadline := began.Add(timeout); ; <-pause.C {
		pause.Reset(min(max(time.Since(began)/20, leastPause), mostPause))
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
