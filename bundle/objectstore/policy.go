package objectstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Policy says how long faults of a server or of the way to it are borne. The zero value has good values for all.
type Policy struct {
	// Patience bounds how long attempts fail without any progress; 0 means 30 seconds. Less than a client of the
	// node's API waits, so that who uploads is told the reason.
	Patience time.Duration
	// Stall bounds how long one attempt goes without any progress; 0 means 20 seconds.
	Stall time.Duration
	// Pause is the wait after the first failure, doubled up to PauseMax after each further one. 0 means 200
	// milliseconds and 5 seconds.
	Pause, PauseMax time.Duration
}

// maxMoved bounds the attempts of one step that move something and fail all the same.
const maxMoved = 12

// gaveUp is the error of the last of several attempts.
type gaveUp struct {
	err      error
	attempts int
}

func (g *gaveUp) Error() string { return g.err.Error() + g.words() }
func (g *gaveUp) Unwrap() error { return g.err }
func (g *gaveUp) words() string { return fmt.Sprintf(" (gave up after %d attempts)", g.attempts) }

// ErrStalled is wrapped by the error of an attempt that the policy ended.
var ErrStalled = errors.New("the server did not answer in time")

func (p Policy) withDefaults() Policy {
	or := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	or(&p.Patience, 30*time.Second)
	or(&p.Stall, 20*time.Second)
	or(&p.Pause, 200*time.Millisecond)
	or(&p.PauseMax, 5*time.Second)
	return p
}

// Do carries a step out, again while it fails with what transient says may pass, until the policy's bounds. The
// attempt's context ends when nothing moved for the time of a stall; moved, which the attempt may call, tells that
// something did. The result is ctx's error if that ended, and else the last attempt's.
func (p Policy) Do(ctx context.Context, transient func(error) bool, attempt func(ctx context.Context, moved func()) error) error {
	p = p.withDefaults()
	var last atomic.Int64 // when something moved
	last.Store(time.Now().UnixNano())
	pause, moving := p.Pause, 0
	for n := 1; ; n++ {
		began := last.Load()
		err := p.once(ctx, &last, attempt)
		if ctx.Err() != nil && err != nil {
			return ctx.Err()
		}
		if err == nil || !transient(err) {
			return err
		}
		idle := time.Since(time.Unix(0, last.Load()))
		if last.Load() != began {
			moving++
		}
		if moving == maxMoved || idle+pause > p.Patience {
			if n > 1 {
				err = &gaveUp{err, n}
			}
			return err
		}
		if err := Sleep(ctx, pause/2+rand.N(pause)); err != nil { // nodes that failed together do not come back together
			return err
		}
		pause = min(2*pause, p.PauseMax)
	}
}

// once is one attempt.
func (p Policy) once(ctx context.Context, last *atomic.Int64, attempt func(context.Context, func()) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	guard := time.AfterFunc(p.Stall, func() { cancel(ErrStalled) })
	defer guard.Stop()
	err := attempt(bounded, func() {
		last.Store(time.Now().UnixNano())
		guard.Reset(p.Stall)
	})
	if err != nil && errors.Is(context.Cause(bounded), ErrStalled) {
		return ErrStalled // the attempt's own error says only that its context ended
	}
	return err
}

// Sleep waits, but not longer than ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Transient tells whether a fault that did not come as a server's answer may pass: one of the network, or an attempt
// that stalled. What TLS refuses and what the own disk refuses stays refused.
func Transient(err error) bool {
	if errors.Is(err, ErrStalled) {
		return true
	}
	return !errors.Is(err, context.Canceled) && !isTLS(err) && !IsDisk(err)
}
