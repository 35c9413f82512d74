package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Committer is the part of a backend that [RunUpdate] needs.
type Committer interface {
	Snapshot() *Snapshot
	// Commit makes the transaction's writes if its compares and fence hold, and returns the revision. Without
	// writes it only checks. When a compare fails it returns [ErrConflict] after Snapshot has become newer than
	// the transaction's Base. All other errors are those of [Store.Update]. On return the writes are in Snapshot.
	Commit(ctx context.Context, t *Txn) (int64, error)
}

// maxAttempts bounds how often an update is made again because others were quicker.
const maxAttempts = 64

// RunUpdate is [Store.Update] for any backend that can commit transactions.
func RunUpdate(ctx context.Context, c Committer, change func(*Draft) error, options ...UpdateOption) (int64, error) {
	var o updateOptions
	for _, opt := range options {
		opt(&o)
	}
	for attempt := 0; attempt < maxAttempts; attempt++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		d := newDraft(c.Snapshot())
		refusal := change(d)
		if refusal != nil {
			d.writes = nil
		}
		t, err := d.txn(o.fence)
		if err != nil {
			return 0, err
		}
		rev, err := c.Commit(ctx, t)
		switch {
		case err == nil:
			return rev, refusal
		case !errors.Is(err, ErrConflict):
			return 0, err
		}
		if attempt > 2 {
			if err := pause(ctx, time.Duration(rand.Int64N(int64(time.Millisecond)<<min(attempt, 6)))); err != nil {
				return 0, err
			}
		}
	}
	return 0, fmt.Errorf("others changed the same objects %d times: %w; try again", maxAttempts, ErrConflict)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
