package dhparams

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Values of DutyOptions.Generate.
const (
	GenerateAlways = "always"
	GenerateAuto   = "auto"
	GenerateNever  = "never"
)

// DutyOptions are what a [Duty] needs and how it works.
type DutyOptions struct {
	// Store is required.
	Store state.Store
	// Bits is the size of the primes that are made, MinWeakBits to MaxBits.
	Bits int
	// MaxAge is the age at which parameters are replaced, whoever made them; 0 means never.
	MaxAge time.Duration
	// Generate is one of the Generate constants; "" is GenerateAlways.
	Generate string
	// NginxPresent tells whether a node of the cluster runs nginx, for GenerateAuto. Nil means that none does. It is
	// called every minute and must not block for long.
	NginxPresent func() bool
	// Search searches with the contract of [Generate]: best [Child], in a process of its own. Nil is Generate.
	Search func(context.Context, Options) (*Params, error)
	// Workers is as in [Options]; 0 means all processors with Search, and all but one without, so that the
	// goroutines of this process do not wait for those that search.
	Workers int
	// Log may be nil.
	Log *zap.Logger
	// Now tells the time that ages are judged by; nil is time.Now.
	Now func() time.Time
}

// Duty makes parameters of the cluster's own when the state has none, or too old ones. It is level-triggered: it looks
// at the state, at its start, at every change and every so often. A search has no memory, so one that is cut off
// loses nothing but its time.
type Duty struct {
	o DutyOptions

	mu sync.Mutex
	// progress is nil while nothing is searched for.
	progress *Progress
}

// Timing of the duty.
const (
	// lookPeriod is how often ages are looked at: clocks are set, and timers do not count sleep.
	lookPeriod = time.Hour
	// nginxPeriod is how often it is asked whether a node runs nginx.
	nginxPeriod = time.Minute
	// A store that does not take the result is tried again after these pauses.
	firstPause = time.Second
	longPause  = time.Minute
)

// NewDuty returns the duty. The only errors are missing and impossible options.
func NewDuty(o DutyOptions) (*Duty, error) {
	if o.Store == nil {
		return nil, errors.New("the duty of DH parameters needs a store")
	}
	if o.Bits < MinWeakBits || o.Bits > MaxBits {
		return nil, fmt.Errorf("DH parameters of %d bits are not made: %d to %d are possible", o.Bits, MinWeakBits, MaxBits)
	}
	switch o.Generate {
	case "":
		o.Generate = GenerateAlways
	case GenerateAlways, GenerateAuto, GenerateNever:
	default:
		return nil, fmt.Errorf("DH parameters are made always, auto or never, not %q", o.Generate)
	}
	if o.NginxPresent == nil {
		o.NginxPresent = func() bool { return false }
	}
	if o.Search == nil {
		o.Search = Generate
		if o.Workers <= 0 {
			o.Workers = max(1, runtime.GOMAXPROCS(0)-1)
		}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Duty{o: o}, nil
}

// Progress returns how far the search has come that runs now, or false if none does. It never blocks.
func (d *Duty) Progress() (Progress, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.progress == nil {
		return Progress{}, false
	}
	return *d.progress, true
}

func (d *Duty) setProgress(p *Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.progress = p
}

// Run does the duty until ctx ends, and then returns nil. It returns an error when the term is over (ErrFenced), when
// the store is closed, and when no random numbers can be had.
func (d *Duty) Run(ctx context.Context, fence state.Fence) error {
	if d.o.Generate == GenerateNever {
		return nil
	}
	for ctx.Err() == nil {
		snap := d.o.Store.Snapshot()
		old, _ := snap.DHParams()
		wait := d.untilDue(old)
		if wait <= 0 {
			if err := d.make(ctx, fence, old); err != nil && ctx.Err() == nil {
				return err
			}
			continue
		}
		waiting, cancel := context.WithTimeout(ctx, wait)
		_, err := d.o.Store.Wait(waiting, snap.Revision())
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("wait for changes: %w", err)
		}
	}
	return nil
}

// untilDue returns how long to wait until it is to be looked again; 0 if parameters are to be made now.
func (d *Duty) untilDue(old *state.DHParams) time.Duration {
	wait := lookPeriod
	if old != nil {
		if d.o.MaxAge <= 0 {
			return wait
		}
		if left := d.o.MaxAge - d.o.Now().Sub(old.Time); left > 0 {
			return min(wait, left)
		}
	}
	if d.o.Generate == GenerateAuto && !d.o.NginxPresent() {
		return nginxPeriod
	}
	return 0
}

// errNotWanted ends a search whose result is of no use any more.
var errNotWanted = errors.New("the parameters are not wanted any more")

// make searches and stores the result in place of old, unless something else is there then.
func (d *Duty) make(ctx context.Context, fence state.Fence, old *state.DHParams) error {
	searching, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { // ended and awaited below
		defer close(watched)
		cancel(d.untilUnwanted(searching, old))
	}()
	defer func() {
		cancel(nil)
		<-watched
		d.setProgress(nil)
	}()
	d.setProgress(&Progress{})
	d.o.Log.Info("making Diffie-Hellman parameters", zap.Int("bits", d.o.Bits))
	began := time.Now()
	p, err := d.o.Search(searching, Options{
		Bits: d.o.Bits, Workers: d.o.Workers, Progress: func(p Progress) { d.setProgress(&p) },
	})
	if cause := context.Cause(searching); errors.Is(cause, errNotWanted) {
		d.o.Log.Info("the search for Diffie-Hellman parameters is given up, as they are not needed any more")
		return nil
	}
	if err != nil {
		return fmt.Errorf("make DH parameters: %w", err)
	}
	stored, err := d.store(searching, fence, old, p)
	switch {
	case errors.Is(context.Cause(searching), errNotWanted):
		return nil // ours were stored, or others
	case err != nil:
		return fmt.Errorf("store DH parameters: %w", err)
	case stored:
		d.o.Log.Info("made Diffie-Hellman parameters", zap.Int("bits", p.Bits()), zap.Duration("took", time.Since(began)))
	}
	return nil
}

// untilUnwanted waits until the state has other parameters than old, or the reason to make some is gone, and returns
// errNotWanted then; otherwise why it cannot tell any more.
func (d *Duty) untilUnwanted(ctx context.Context, old *state.DHParams) error {
	snap := d.o.Store.Snapshot()
	for {
		if now, _ := snap.DHParams(); !same(now, old) || d.untilDue(old) > 0 {
			return errNotWanted
		}
		waiting, cancel := context.WithTimeout(ctx, nginxPeriod)
		next, err := d.o.Store.Wait(waiting, snap.Revision())
		cancel()
		switch {
		case err == nil:
			snap = next
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return err
		}
	}
}

func same(a, b *state.DHParams) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.PEM == b.PEM && a.Time.Equal(b.Time)
}

// store stores the parameters if old is still what is there, and tries again as long as the store does not take them.
func (d *Duty) store(ctx context.Context, fence state.Fence, old *state.DHParams, p *Params) (stored bool, err error) {
	made := &state.DHParams{Time: d.o.Now().UTC(), PEM: p.PEM()}
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		_, err := d.o.Store.Update(ctx, func(draft *state.Draft) error {
			now, _ := draft.DHParams()
			stored = same(now, made) // by an attempt before, whose outcome was not known
			if stored || !same(now, old) {
				return nil
			}
			stored = true
			return draft.Put(made)
		}, state.WithFence(fence))
		again := errors.Is(err, state.ErrUnavailable) || errors.Is(err, state.ErrUnknown) || errors.Is(err, state.ErrConflict)
		if !again || ctx.Err() != nil {
			return stored && err == nil, err
		}
		d.o.Log.Warn("the new Diffie-Hellman parameters are not stored, trying again", zap.Error(err), zap.Duration("in", pause))
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false, err
		}
	}
}
