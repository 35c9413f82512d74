package leader

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// How long a failed duty waits before it runs again: at first, and at most. A duty that ran longer than the longest
// pause begins with the shortest again.
const (
	firstPause = time.Second
	longPause  = time.Minute
)

// slowEnd is when the log says which duties did not end with their term.
const slowEnd = 10 * time.Second

// runTerm runs all duties until ctx, the term's context, ends, and returns when every one of them has ended.
func runTerm(ctx context.Context, fence state.Fence, duties map[string]Duty, log *zap.Logger) {
	running := &roster{names: map[string]bool{}}
	for name := range duties {
		running.names[name] = true
	}
	var wg sync.WaitGroup
	for name, duty := range duties {
		wg.Go(func() {
			defer running.leave(name)
			repeat(ctx, fence, duty, log.With(zap.String("duty", name)))
		})
	}
	all := make(chan struct{})
	go func() { // ends with the duties
		wg.Wait()
		close(all)
	}()
	select {
	case <-all:
		// Nothing is left to do, but the term lasts: who ends it is the owner of ctx.
		<-ctx.Done()
		return
	case <-ctx.Done():
	}
	t := time.NewTimer(slowEnd)
	defer t.Stop()
	select {
	case <-all:
	case <-t.C:
		log.Warn("duties have not ended with their term, waiting for them", zap.Strings("duties", running.list()))
		<-all
	}
}

// repeat runs one duty, again after each error, until the term ends or the duty says that it is done.
func repeat(ctx context.Context, fence state.Fence, duty Duty, log *zap.Logger) {
	pause := firstPause
	for {
		began := time.Now()
		err := duty(ctx, fence)
		switch {
		case ctx.Err() != nil:
			// An error is then most likely the end of the term, as the duty saw it.
			if err != nil && !errors.Is(err, ctx.Err()) && !errors.Is(err, state.ErrFenced) {
				log.Warn("duty failed as its term ended", zap.Error(err))
			}
			return
		case err == nil:
			log.Debug("duty is done for this term")
			return
		}
		if time.Since(began) > longPause {
			pause = firstPause
		}
		// Up to a quarter more, so that duties of many nodes with one cause do not return in step.
		wait := pause + rand.N(pause/4)
		log.Error("duty failed, it will run again", zap.Error(err), zap.Duration("in", wait))
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		pause = min(2*pause, longPause)
	}
}

// roster has the names of the duties that run.
type roster struct {
	mu    sync.Mutex
	names map[string]bool
}

func (r *roster) leave(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, name)
}

func (r *roster) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for n := range r.names {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
