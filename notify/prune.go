package notify

import (
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// prune gives up events that are too old or too many, and removes finished ones. Its error ends the run; if the store
// does not take something, the next time is soon enough.
func (r *run) prune() error {
	s, now, log := r.d.o.Store.Snapshot(), r.d.o.Now(), r.d.o.Log
	var pending, finished []*entry
	for e, err := range outbox(s) {
		switch {
		case err != nil:
			log.Warn("an event in the outbox cannot be read, it stays there", zap.Error(err))
		case e.finished():
			finished = append(finished, e)
		default:
			pending = append(pending, e)
		}
	}
	byAge := func(a, b *entry) int { return a.Created.Compare(b.Created) }
	slices.SortStableFunc(pending, byAge)
	slices.SortStableFunc(finished, byAge)

	var drop, remove []*entry
	for i, e := range pending {
		if e.ID != r.sending && (now.Sub(e.Created) >= giveUpAfter || i < len(pending)-maxPending) {
			drop = append(drop, e)
		}
	}
	for i, e := range finished {
		if now.Sub(e.Created) >= keepFinished || i < len(finished)-maxFinished {
			remove = append(remove, e)
		}
	}
	for batch := range slices.Chunk(drop, maxPrune) {
		err := r.update(func(d *state.Draft) error { return dropAll(d, batch, now) })
		if err != nil {
			return r.pruned(err)
		}
		for _, e := range batch {
			log.Error("gave up a notice that could not be delivered", zap.String("event", e.ID), zap.String("text", e.Text),
				zap.Time("created", e.Created))
		}
	}
	for batch := range slices.Chunk(remove, maxPrune) {
		if err := r.update(func(d *state.Draft) error { return removeAll(d, batch) }); err != nil {
			return r.pruned(err)
		}
	}
	if len(drop) > 0 {
		r.look()
	}
	return nil
}

func (r *run) update(f func(*state.Draft) error) error {
	_, err := r.d.o.Store.Update(r.ctx, f, state.WithFence(r.fence))
	return err
}

func (r *run) pruned(err error) error {
	if errors.Is(err, state.ErrFenced) {
		return err
	}
	if r.ctx.Err() == nil {
		r.d.o.Log.Warn("the outbox could not be tidied, trying again later", zap.Error(err))
	}
	return nil
}

func dropAll(d *state.Draft, batch []*entry, now time.Time) error {
	for _, e := range batch {
		if err := finish(d, e.ID, e.Claim, "dropped", now); err != nil {
			return err
		}
	}
	return nil
}

func removeAll(d *state.Draft, batch []*entry) error {
	for _, e := range batch {
		if err := d.Delete(outboxKey(e.ID)); err != nil && !errors.Is(err, state.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Pending returns how many events wait in the outbox, and when the oldest was noticed; zero if none does.
func Pending(s *state.Snapshot) (n int, oldest time.Time) {
	for e, err := range outbox(s) {
		if err != nil || e.finished() {
			continue
		}
		if n++; oldest.IsZero() || e.Created.Before(oldest) {
			oldest = e.Created
		}
	}
	return n, oldest
}
