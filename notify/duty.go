package notify

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Options are what a [Duty] needs.
type Options struct {
	// Store is required.
	Store state.Store
	// Sender delivers events. Without one they wait, so that another leader can deliver them, until they are too
	// old.
	Sender Sender
	// Node is the name of this node.
	Node string
	// Log may be nil.
	Log *zap.Logger
	// Now tells the time that the age of events is judged by; nil is time.Now.
	Now func() time.Time
}

// Times and bounds of the outbox.
const (
	// giveUpAfter is the age at which an event is no longer worth telling.
	giveUpAfter = 7 * 24 * time.Hour
	// keepFinished is how long finished events stay, so that nothing is recorded twice, and maxFinished how many.
	keepFinished = 30 * 24 * time.Hour
	maxFinished  = 1000
	// maxPending bounds what waits: when a receiver is away for long, the oldest is the least worth telling.
	maxPending = 10000
	// pruneEvery is how often finished events are looked through, and maxPrune how many one transaction removes.
	pruneEvery = 6 * time.Hour
	maxPrune   = 60

	// firstPause and longPause are how long an event waits after its first failure, and at most; everything waits
	// for up to busyPause after failures in a row, so that a receiver that is away is not called for each event.
	firstPause = 5 * time.Second
	longPause  = 15 * time.Minute
	busyPause  = time.Minute

	// arrival is how long another's attempt may be on its way: its timeout, and some time to write that it arrived.
	arrival = DefaultTimeout + 10*time.Second
	// stale is how old a claim of this run may be when its first attempt starts: after a longer halt of the process,
	// another may have taken over.
	stale = 5 * time.Second
	// markPatience is how long a delivered event is tried to be marked after the term is over.
	markPatience = 10 * time.Second
)

// Duty delivers the events of the outbox, one after the other, the oldest first, and forgets finished ones. It is a
// duty of the leader; see [Duty.Run].
type Duty struct {
	o Options
	// pause is an event's first; tests shorten it.
	pause time.Duration
	// attempts are goroutines with an attempt on its way; Close waits for them.
	attempts sync.WaitGroup
}

// NewDuty returns the duty. The only error is a missing store.
func NewDuty(o Options) (*Duty, error) {
	if o.Store == nil {
		return nil, errors.New("the duty of notices needs a store")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Duty{o: o, pause: firstPause}, nil
}

// Close waits for an attempt that was on its way when Run returned, which takes at most the sender's timeout and ten
// seconds. Call it after the last Run, and before the store is closed.
func (d *Duty) Close() error { d.attempts.Wait(); return nil }

// Run delivers events until ctx ends, and then returns nil at once: an attempt on its way goes on, and is noted as
// delivered if it is, so that the next leader does not send it again. It returns an error when the term is over
// (state.ErrFenced) and when the store is closed.
//
// Before the first attempt at an event, the term puts its claim on it, under the fence. A later term lets a claim that
// it finds run out before it sends itself: if the event is not marked as sent by then, whoever sent it has crashed.
func (d *Duty) Run(ctx context.Context, fence state.Fence) error {
	r := &run{
		d: d, ctx: ctx, fence: fence, claim: claim{Node: d.o.Node, Run: crand.Text()},
		tries: map[string]*try{}, outcomes: make(chan outcome, 1),
	}
	watching, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	looks, closed := make(chan struct{}, 1), make(chan error, 1)
	from := d.o.Store.Snapshot() // before the first look, so that nothing comes between them
	wg.Go(func() { closed <- d.watch(watching, from, looks) })

	r.look()
	wake := time.NewTimer(0)
	defer wake.Stop()
	for ctx.Err() == nil {
		next, err := r.step(time.Now())
		if err != nil && ctx.Err() == nil {
			return err
		}
		wake.Reset(max(time.Until(next), 0))
		select {
		case <-looks:
			r.look()
		case o := <-r.outcomes:
			r.came(o)
		case err := <-closed:
			if ctx.Err() == nil {
				return err
			}
		case <-wake.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// watch puts a mark into looks whenever the outbox may have changed since the snapshot. Its error is that of the store.
func (d *Duty) watch(ctx context.Context, s *state.Snapshot, looks chan<- struct{}) error {
	for {
		newer, err := d.o.Store.Wait(ctx, s.Revision())
		if err != nil {
			return err
		}
		changed := newer.Head() != s.Head()
		keys, ok := newer.ChangedSince(s.Revision())
		for _, k := range keys {
			changed = changed || k.Kind == state.KindEvent
		}
		s = newer
		if ok && !changed {
			continue
		}
		select {
		case looks <- struct{}{}:
		default: // the mark of an earlier change is still there
		}
	}
}

// jittered returns d, up to a fifth more or less.
func jittered(d time.Duration) time.Duration { return d - d/5 + rand.N(2*d/5+1) }
