package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// run is one run of the duty. Only the goroutine of Run uses it; attempts talk to it by a channel.
type run struct {
	d     *Duty
	ctx   context.Context
	fence state.Fence
	claim claim

	// seen is the snapshot of the last look, pending what was to be sent then, and tries what was tried of it.
	seen    *state.Snapshot
	pending map[string]*entry
	tries   map[string]*try
	// failures counts those in a row, of whichever event; nothing is sent before pausedTo.
	failures int
	pausedTo time.Time
	pruneAt  time.Time
	// sending is the ID of the event whose attempt is on its way, "" if none is.
	sending  string
	outcomes chan outcome
}

// try is what this run knows about its attempts at an event.
type try struct {
	attempts int
	// at is when the next may be made.
	at time.Time
	// others is the claim of another that was found, and until when it may be on its way.
	others claim
	until  time.Time
	// refused tells that the receiver did not want this very event.
	refused bool
}

// outcome is what became of an attempt.
type outcome struct {
	id string
	// taken tells that the receiver has it; err is then that of marking it.
	taken bool
	err   error
}

// look reads what waits in the outbox: what changed since the last look, or everything.
func (r *run) look() {
	s, prev := r.d.o.Store.Snapshot(), r.seen
	r.seen = s
	if prev != nil && prev.Head() == s.Head() {
		if keys, ok := s.ChangedSince(prev.Revision()); ok {
			for _, k := range keys {
				if id, ok := strings.CutPrefix(k.Name, outboxPrefix); ok && k.Kind == state.KindEvent {
					r.lookAt(s, id)
				}
			}
			return
		}
	}
	r.pending = map[string]*entry{}
	for e, err := range outbox(s) {
		if err == nil && !e.finished() { // pruning says what cannot be read
			r.pending[e.ID] = e
		}
	}
	for id := range r.tries {
		if r.pending[id] == nil {
			delete(r.tries, id)
		}
	}
}

func (r *run) lookAt(s *state.Snapshot, id string) {
	if o, ok := s.Object(outboxKey(id)); ok {
		if e, err := readEntry(o); err == nil && e.ID == id && !e.finished() {
			r.pending[id] = e
			return
		}
	}
	delete(r.pending, id)
	delete(r.tries, id)
}

// turn returns the event whose turn it is: of those that may be sent now, one that failed least often, so that one that
// always fails does not keep the others back, and of those the oldest. With nil, the time is when one may be sent.
func (r *run) turn(now, next time.Time) (*entry, time.Time) {
	var first *entry
	for _, e := range r.pending {
		if at := r.tryOf(e).when(e, r.claim, now); now.Before(at) {
			next = earlier(next, at)
		} else if first == nil || r.before(e, first) {
			first = e
		}
	}
	return first, next
}

func (r *run) before(a, b *entry) bool {
	return cmp.Or(cmp.Compare(r.tries[a.ID].attempts, r.tries[b.ID].attempts), a.Created.Compare(b.Created),
		cmp.Compare(a.ID, b.ID)) < 0
}

// step does what is due and returns when something may be next. Its error ends the run.
func (r *run) step(now time.Time) (next time.Time, err error) {
	if !now.Before(r.pruneAt) {
		if err := r.prune(); err != nil {
			return now, err
		}
		r.pruneAt = now.Add(jittered(pruneEvery))
	}
	next = r.pruneAt
	if r.d.o.Sender == nil || r.sending != "" {
		return next, nil
	}
	if now.Before(r.pausedTo) {
		return earlier(next, r.pausedTo), nil
	}
	e, next := r.turn(now, next)
	if e == nil {
		return next, nil
	}
	switch mine, err := r.take(e); {
	case errors.Is(err, state.ErrFenced):
		return now, err
	case err != nil:
		r.failed(err)
		return earlier(next, r.pausedTo), nil
	case !mine: // changed meanwhile
		r.look()
		return now, nil
	}
	return r.send(e, now, next)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (r *run) tryOf(e *entry) *try {
	t := r.tries[e.ID]
	if t == nil {
		t = &try{}
		r.tries[e.ID] = t
	}
	return t
}

// when returns the time from which on the event may be sent.
func (t *try) when(e *entry, mine claim, now time.Time) time.Time {
	if e.Claim == nil || *e.Claim == mine {
		return t.at
	}
	if t.others != *e.Claim {
		t.others, t.until = *e.Claim, now.Add(arrival)
	}
	if t.until.After(t.at) {
		return t.until
	}
	return t.at
}

// take puts this run's claim on the event.
func (r *run) take(e *entry) (mine bool, err error) {
	if e.Claim != nil && *e.Claim == r.claim {
		return true, nil
	}
	_, err = r.d.o.Store.Update(r.ctx, func(d *state.Draft) error {
		var err error
		mine, err = take(d, e.ID, e.Claim, r.claim)
		return err
	}, state.WithFence(r.fence))
	if err == nil && mine {
		e.Claim = &r.claim
	}
	return mine, err
}

// send starts an attempt, and returns when the next step is due. The attempt outlasts the run: an answer that nobody
// hears would be a notice sent twice.
func (r *run) send(e *entry, looked, next time.Time) (time.Time, error) {
	switch {
	case r.fence.Over():
		return looked, fmt.Errorf("%w; no notice is sent", state.ErrFenced)
	case time.Since(looked) > stale:
		return looked, nil // the next step looks anew
	}
	r.sending = e.ID
	r.d.attempts.Go(func() {
		err := r.d.o.Sender.Send(context.WithoutCancel(r.ctx), e.Event)
		if err != nil {
			r.outcomes <- outcome{id: e.ID, err: err}
			return
		}
		r.outcomes <- outcome{id: e.ID, taken: true, err: r.d.markSent(r.ctx, e.ID, r.claim)}
	})
	return next, nil
}

// markSent writes that an event was delivered. It is true whoever leads by now, so it is not bound to the term but to
// the claim: if that is another's, the outbox stays as it is. It tries again while the term lasts, and a little longer.
func (d *Duty) markSent(term context.Context, id string, mine claim) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(term))
	defer cancel()
	defer context.AfterFunc(term, func() { // its end, or this function's, ends the wait
		t := time.NewTimer(markPatience)
		defer t.Stop()
		select {
		case <-t.C:
			cancel()
		case <-ctx.Done():
		}
	})()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		_, err := d.o.Store.Update(ctx, func(draft *state.Draft) error {
			return finish(draft, id, &mine, "sent", d.o.Now())
		})
		if err == nil || ctx.Err() != nil {
			return err
		}
		d.o.Log.Warn("a notice was delivered, but that cannot be noted, trying again", zap.String("event", id), zap.Error(err))
		t := time.NewTimer(jittered(pause))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// came takes the outcome of an attempt.
func (r *run) came(o outcome) {
	r.sending = ""
	t := r.tries[o.id]
	if t == nil {
		t = &try{} // removed meanwhile
		r.tries[o.id] = t
	}
	if o.taken {
		r.d.o.Log.Info("delivered a notice", zap.String("event", o.id))
		r.failures, r.pausedTo = 0, time.Time{}
		for _, other := range r.tries {
			if !other.refused {
				other.at = time.Time{}
			}
		}
		if o.err != nil { // sent again only after this term
			t.at = time.Now().Add(365 * 24 * time.Hour)
			t.refused = true
			r.d.o.Log.Error("a notice was delivered, but that could not be noted", zap.String("event", o.id), zap.Error(o.err))
		}
		r.look()
		return
	}
	t.attempts++
	wait := jittered(min(r.d.pause<<min(t.attempts-1, 20), longPause))
	failure, known := errors.AsType[*SendError](o.err)
	t.refused = known && failure.Refused()
	if known {
		wait = max(wait, failure.RetryAfter)
	}
	t.at = time.Now().Add(wait)
	r.d.o.Log.Warn("a notice was not delivered, trying again", zap.String("event", o.id), zap.Int("attempts", t.attempts),
		zap.Duration("in", wait), zap.Error(o.err))
	if !t.refused {
		r.failures++
		r.pausedTo = time.Now().Add(max(jittered(min(r.d.pause/5<<min(r.failures-1, 10), busyPause)), retryAfter(failure)))
	}
}

func retryAfter(f *SendError) time.Duration {
	if f == nil {
		return 0
	}
	return f.RetryAfter
}

// failed pauses after the store did not take a claim.
func (r *run) failed(err error) {
	r.failures++
	wait := jittered(min(time.Second<<min(r.failures-1, 10), busyPause))
	r.pausedTo = time.Now().Add(wait)
	if r.ctx.Err() == nil {
		r.d.o.Log.Warn("the store does not take who sends a notice, trying again", zap.Error(err), zap.Duration("in", wait))
	}
}
