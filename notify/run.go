package notify

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

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
