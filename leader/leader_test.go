package leader

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"statiko/state"
)

// start runs the elector and returns what ends it and waits.
func start(t *testing.T, e Elector, duties map[string]Duty) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx, duties) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// pass lets fake time pass, until all have done what they do by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func untilOver(ctx context.Context, _ state.Fence) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStatic_TermLastsAsLongAsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewStatic("edge-1", nil)
		if name, ok := s.Leader(); ok {
			t.Fatalf("%q leads before Run", name)
		}
		var fence state.Fence
		stop := start(t, s, map[string]Duty{
			"keeps": func(ctx context.Context, f state.Fence) error { fence = f; return untilOver(ctx, f) },
			"done":  func(context.Context, state.Fence) error { return nil },
		})
		pass(time.Hour)
		if name, ok := s.Leader(); !ok || name != "edge-1" {
			t.Fatalf("leader is %q, %v", name, ok)
		}
		if fence.Over() {
			t.Fatal("the fence is over inside the term")
		}
		if err := s.Run(t.Context(), nil); err == nil {
			t.Fatal("two terms at once")
		}
		stop()
		if !fence.Over() {
			t.Fatal("the fence is not over after the term")
		}
		if _, ok := s.Leader(); ok {
			t.Fatal("leads after Run")
		}
		first := fence
		stop = start(t, s, map[string]Duty{"keeps": func(ctx context.Context, f state.Fence) error { fence = f; return untilOver(ctx, f) }})
		synctest.Wait()
		if fence == first || fence.Over() || !first.Over() {
			t.Fatal("a second term revived the fence of the first")
		}
		stop()
	})
}

func TestStatic_NoDuties(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewStatic("edge-1", nil)
		stop := start(t, s, nil)
		pass(time.Minute)
		if _, ok := s.Leader(); !ok {
			t.Fatal("a term without duties ended by itself")
		}
		stop()
	})
}

func TestTerm_FailingDutyIsRestartedWithGrowingPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.ErrorLevel)
		var starts []time.Time
		others := 0
		stop := start(t, NewStatic("edge-1", zap.New(core)), map[string]Duty{
			"fails": func(context.Context, state.Fence) error {
				starts = append(starts, time.Now())
				return errors.New("no disk")
			},
			"lasts": func(ctx context.Context, f state.Fence) error { others++; return untilOver(ctx, f) },
		})
		pass(10 * time.Minute)
		stop()
		if others != 1 {
			t.Errorf("the other duty was started %d times", others)
		}
		if n := len(starts); n < 12 || n > 17 {
			t.Fatalf("%d starts in ten minutes", n)
		}
		want := firstPause
		for i := 1; i < len(starts); i++ {
			if got := starts[i].Sub(starts[i-1]); got < want || got > want+want/4 {
				t.Errorf("pause %d was %v, want %v to a quarter more", i, got, want)
			}
			want = min(2*want, longPause)
		}
		if logs.Len() != len(starts) || logs.All()[0].ContextMap()["duty"] != "fails" {
			t.Errorf("logged %d times: %v", logs.Len(), logs.All()[0].ContextMap())
		}
	})
}

func TestTerm_LongRunResetsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pauses []time.Duration
		var ended time.Time
		stop := start(t, NewStatic("edge-1", nil), map[string]Duty{
			"fails daily": func(ctx context.Context, _ state.Fence) error {
				if !ended.IsZero() {
					pauses = append(pauses, time.Since(ended))
				}
				select {
				case <-time.After(24 * time.Hour):
				case <-ctx.Done():
				}
				ended = time.Now()
				return errors.New("once a day")
			},
		})
		pass(10 * 25 * time.Hour)
		stop()
		if len(pauses) < 5 {
			t.Fatalf("%d restarts", len(pauses))
		}
		for _, p := range pauses {
			if p > 2*firstPause {
				t.Errorf("a pause of %v after a day's work", p)
			}
		}
	})
}

func TestTerm_EndsDuringPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := start(t, NewStatic("edge-1", nil), map[string]Duty{
			"fails": func(context.Context, state.Fence) error { return errors.New("no") },
		})
		pass(5 * time.Minute)
		before := time.Now()
		stop()
		if d := time.Since(before); d != 0 {
			t.Errorf("the end of the term waited %v for a pause", d)
		}
	})
}

func TestTerm_WaitsForSlowDutyAndNamesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		ended := false
		stop := start(t, NewStatic("edge-1", zap.New(core)), map[string]Duty{
			"slow": func(ctx context.Context, _ state.Fence) error {
				<-ctx.Done()
				time.Sleep(3 * slowEnd)
				ended = true
				return nil
			},
			"quick": untilOver,
		})
		synctest.Wait()
		stop()
		if !ended {
			t.Error("Run returned before its duty")
		}
		if logs.Len() != 1 || len(logs.All()[0].Context) != 1 || logs.All()[0].Context[0].Key != "duties" {
			t.Fatalf("logs: %v", logs.All())
		}
		if got := logs.All()[0].ContextMap()["duties"].([]any); len(got) != 1 || got[0] != "slow" {
			t.Errorf("named %v", got)
		}
	})
}

func TestTerm_FencedAsTheTermEndsIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.WarnLevel)
		stop := start(t, NewStatic("edge-1", zap.New(core)), map[string]Duty{
			"fenced":    func(ctx context.Context, _ state.Fence) error { <-ctx.Done(); return state.ErrFenced },
			"cancelled": untilOver,
			"broken":    func(ctx context.Context, _ state.Fence) error { <-ctx.Done(); return errors.New("disk full") },
		})
		synctest.Wait()
		stop()
		if logs.Len() != 1 || logs.All()[0].ContextMap()["duty"] != "broken" {
			t.Errorf("logs: %v", logs.All())
		}
	})
}
