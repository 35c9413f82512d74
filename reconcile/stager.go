package reconcile

import (
	"context"
	"sync"
	"time"

	"statiko/state"
)

// stager has bundles unpacked in the background, so that a slow one never holds up the sites that are ready.
type stager struct {
	bundles Bundles
	// done is told, outside of any lock, after each try, and when the next one may be made.
	done func(*state.App)

	mu   sync.Mutex
	jobs map[string]*job
	// ctx, running and slots are those of Run; ctx is nil before.
	ctx     context.Context
	running *sync.WaitGroup
	slots   chan struct{}
}

// job is the last try to have a bundle.
type job struct {
	running bool
	// waking tells that somebody will tell done when the next try may be made.
	waking bool
	err    error
	retry  time.Time
	failed int
}

// jobOf names the work for a bundle. The same bytes under another name are other work, as they may be elsewhere, and
// so they are with another signature, which may be the one that was missing.
func jobOf(app *state.App) string { return app.Name + "\x00" + app.SHA256 + "\x00" + app.Signature }

// stagingSlots is how many bundles are unpacked at once: unpacking is bound by the disk and, for compressing, uses
// all processors by itself.
const stagingSlots = 2

// start makes want work until ctx ends; running waits for what is under way.
func (g *stager) start(ctx context.Context, running *sync.WaitGroup) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ctx, g.running, g.slots = ctx, running, make(chan struct{}, stagingSlots)
}

// want begins to have a bundle unpacked, unless that is under way or failed a short while ago.
func (g *stager) want(app *state.App) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx == nil || g.ctx.Err() != nil {
		return
	}
	j := g.jobs[jobOf(app)]
	if j == nil {
		j = &job{}
		g.jobs[jobOf(app)] = j
	}
	if j.running || time.Now().Before(j.retry) {
		return
	}
	j.running = true
	ctx := g.ctx
	g.running.Go(func() { g.run(ctx, app, j) })
}

func (g *stager) run(ctx context.Context, app *state.App, j *job) {
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return
	}
	_, err := g.bundles.Ensure(ctx, app)
	g.mu.Lock()
	j.running, j.err = false, err
	if err == nil {
		delete(g.jobs, jobOf(app))
	} else {
		j.failed++
		pause := min(time.Second<<min(j.failed, 10), 5*time.Minute)
		j.retry = time.Now().Add(pause)
		if !j.waking {
			j.waking = true
			g.running.Go(func() { g.wake(ctx, app, j) })
		}
	}
	g.mu.Unlock()
	if ctx.Err() == nil {
		g.done(app)
	}
}

// wake has a bundle, and the sites that use it, looked at when it may be tried again, so that they do not wait for the next full pass:
// the node that has it may just be up.
func (g *stager) wake(ctx context.Context, app *state.App, j *job) {
	for ctx.Err() == nil {
		g.mu.Lock()
		pause := time.Until(j.retry)
		j.waking = pause > 0
		g.mu.Unlock()
		if pause <= 0 {
			g.done(app)
			return
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// failure returns why the bundle could not be had at the last try; nil if there was none or one is under way for
// the first time.
func (g *stager) failure(app *state.App) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if j := g.jobs[jobOf(app)]; j != nil {
		return j.err
	}
	return nil
}

// forgetFailures ends the pauses after failed tries; unless all is true, not of what fails again and again.
func (g *stager) forgetFailures(all bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, j := range g.jobs {
		if all || j.failed <= 3 {
			j.retry = time.Time{}
		}
	}
}
