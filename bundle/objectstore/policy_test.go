package objectstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errPasses = errors.New("it may pass")

func mayPass(err error) bool { return errors.Is(err, errPasses) || errors.Is(err, ErrStalled) }

// do counts the attempts of a step and takes the time.
func do(p Policy, ctx context.Context, attempt func(ctx context.Context, moved func(), n int) error) (n int, took time.Duration, err error) {
	began := time.Now()
	err = p.Do(ctx, mayPass, func(ctx context.Context, moved func()) error {
		n++
		return attempt(ctx, moved, n)
	})
	return n, time.Since(began), err
}

func TestPolicy(t *testing.T) {
	tests := []struct {
		name     string
		attempt  func(ctx context.Context, moved func(), n int) error
		attempts [2]int
		took     [2]time.Duration
		err      error
	}{
		{"succeeds", func(context.Context, func(), int) error { return nil }, [2]int{1, 1}, [2]time.Duration{0, 0}, nil},
		{"fails for good", func(context.Context, func(), int) error { return errors.ErrUnsupported }, [2]int{1, 1}, [2]time.Duration{0, 0}, errors.ErrUnsupported},
		{"passes", func(_ context.Context, _ func(), n int) error {
			if n < 4 {
				return errPasses
			}
			return nil
		}, [2]int{4, 4}, [2]time.Duration{700 * time.Millisecond, 2200 * time.Millisecond}, nil},
		{"never passes", func(context.Context, func(), int) error { return errPasses }, [2]int{7, 14}, [2]time.Duration{20 * time.Second, 31 * time.Second}, errPasses},
		{"stalls", func(ctx context.Context, _ func(), _ int) error { <-ctx.Done(); return ctx.Err() }, [2]int{2, 2},
			[2]time.Duration{40 * time.Second, 41 * time.Second}, ErrStalled},
		{"moves, slowly", func(_ context.Context, moved func(), _ int) error {
			for range 100 {
				time.Sleep(15 * time.Second)
				moved()
			}
			return nil
		}, [2]int{1, 1}, [2]time.Duration{1500 * time.Second, 1500 * time.Second}, nil},
		{"moves and fails each time", func(_ context.Context, moved func(), _ int) error {
			time.Sleep(10 * time.Second)
			moved()
			return errPasses
		}, [2]int{12, 12}, [2]time.Duration{120 * time.Second, 200 * time.Second}, errPasses},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, took, err := do(Policy{}, t.Context(), test.attempt)
				if n < test.attempts[0] || n > test.attempts[1] || took < test.took[0] || took > test.took[1] || !errors.Is(err, test.err) {
					t.Errorf("%d attempts in %v: %v; want %v in %v: %v", n, took, err, test.attempts, test.took, test.err)
				}
				if n > 1 && err != nil && !strings.Contains(err.Error(), "gave up after") {
					t.Errorf("%v does not say that it was tried several times", err)
				}
			})
		})
	}
}

func TestPolicy_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		n, took, err := do(Policy{}, ctx, func(context.Context, func(), int) error { return errPasses })
		if !errors.Is(err, context.Canceled) || took != time.Second {
			t.Errorf("%d attempts in %v: %v", n, took, err)
		}
		if n, _, err := do(Policy{}, ctx, func(context.Context, func(), int) error { return nil }); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%d attempts after the end: %v", n, err)
		}
	})
}
