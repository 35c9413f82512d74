package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// outcome is what became of an attempt.
type outcome struct {
	id string
	// taken tells that the receiver has it; err is then that of marking it.
	taken bool
	err   error
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
