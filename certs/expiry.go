package certs

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"statiko/secret"
	"statiko/state"
)

// ExpiryOptions are what an [ExpiryDuty] needs.
type ExpiryOptions struct {
	// Store and Keyring are required.
	Store   state.Store
	Keyring *secret.Keyring
	// Node is the name of this node, which stands in notices.
	Node string
	// Log may be nil.
	Log *zap.Logger
	// Now tells the time that certificates are judged by; nil is time.Now.
	Now func() time.Time
	// Period is how often everything is looked at, changed or not; 0 is an hour.
	Period time.Duration
}

// ExpiryDuty watches the certificates of sites that nothing here renews: imported ones, and those of authorities as
// long as this version cannot renew them. At each of the [Thresholds] it puts a notice into the outbox of package
// notify, once in the cluster: what was noticed is in the state, with the date it was about, so that a renewed
// certificate starts anew.
type ExpiryDuty struct {
	o ExpiryOptions
	// read has what is known about pairs, by the names of their secrets.
	read map[string]readPair
}

// readPair is the date of a pair as of a revision of its secret.
type readPair struct {
	revision int64
	notAfter time.Time
	err      error
}

// Timing and sizes of the expiry duty.
const (
	// lookPause is the least time between two looks, so that many changes in a row are looked at once.
	lookPause = time.Second
	// maxNotices is how many notices one transaction writes: each compares the pair, the mark and the event.
	maxNotices = 40
)

// NewExpiryDuty returns the duty. The only errors are missing options.
func NewExpiryDuty(o ExpiryOptions) (*ExpiryDuty, error) {
	if o.Store == nil || o.Keyring == nil {
		return nil, errors.New("the duty that watches certificates needs a store and a keyring")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Period <= 0 {
		o.Period = defaultPeriod
	}
	return &ExpiryDuty{o: o}, nil
}

// Run does the duty until ctx ends, and then returns nil. It returns an error when the term is over (ErrFenced) and
// when the store is closed; when the store does not take a notice, it tries again. One run at a time.
func (d *ExpiryDuty) Run(ctx context.Context, fence state.Fence) error {
	d.read = map[string]readPair{}
	pause := firstPause
	for {
		s := d.o.Store.Snapshot()
		wait, err := d.look(ctx, fence, s)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, state.ErrFenced):
			return err
		case err != nil:
			wait = jittered(pause)
			pause = min(2*pause, longPause)
			d.o.Log.Warn("the store does not take notices about certificates, trying again", zap.Error(err), zap.Duration("in", wait))
		default:
			pause = firstPause
			wait = min(wait, jittered(d.o.Period))
		}
		if err := d.await(ctx, s, wait); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// await waits until the time is over or something changed that a look depends on, and at least lookPause.
func (d *ExpiryDuty) await(ctx context.Context, s *state.Snapshot, wait time.Duration) error {
	least := time.NewTimer(min(wait, lookPause))
	defer least.Stop()
	select {
	case <-least.C:
	case <-ctx.Done():
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, wait-min(wait, lookPause))
	defer cancel()
	for {
		newer, err := d.o.Store.Wait(limit, s.Revision())
		switch {
		case limit.Err() != nil:
			return nil
		case err != nil:
			return err
		case concerned(s, newer):
			return nil
		}
		s = newer
	}
}

// concerned tells whether sites or pairs changed between two snapshots.
func concerned(before, after *state.Snapshot) bool {
	keys, ok := after.ChangedSince(before.Revision())
	if !ok || before.Head() != after.Head() {
		return true
	}
	for _, k := range keys {
		if k.Kind == state.KindSite || k.Kind == state.KindSecret && !strings.HasPrefix(k.Name, state.PrefixSelfSigned) {
			return true
		}
	}
	return false
}
