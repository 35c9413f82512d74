// Package temporary removes temporary sites that have reached their age. It is a duty of whoever leads: see [Duty].
package temporary

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Options are what a Duty works with.
type Options struct {
	// Store is required.
	Store state.Store
	// TTL is the age at which a temporary site is removed; 0 or less means never.
	TTL time.Duration
	// LookEvery is how often ages are looked at; 0 means a minute.
	LookEvery time.Duration
	// Log may be nil; Now is the clock, nil means time.Now.
	Log *zap.Logger
	Now func() time.Time
}

// Duty removes temporary sites when they are TTL old. A site that does not say when it was made, as those of the earlier
// program, gets its time when it is first seen. What a site served stays a bundle like others.
type Duty struct{ o Options }

// NewDuty returns the duty. The only error is a missing store.
func NewDuty(o Options) (*Duty, error) {
	if o.Store == nil {
		return nil, errors.New("the duty of temporary sites needs a store")
	}
	if o.LookEvery <= 0 {
		o.LookEvery = time.Minute
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Duty{o}, nil
}

// Run looks after temporary sites until ctx ends, and returns nil then. An error is one of the store's.
func (d *Duty) Run(ctx context.Context, fence state.Fence) error {
	if d.o.TTL <= 0 {
		<-ctx.Done()
		return nil
	}
	look := time.NewTicker(d.o.LookEvery)
	defer look.Stop()
	for {
		if err := d.look(ctx, fence); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look does what is due now, each site by itself.
func (d *Duty) look(ctx context.Context, fence state.Fence) error {
	now := d.o.Now()
	for site := range d.o.Store.Snapshot().Sites() {
		if !site.Temporary || !site.Created.IsZero() && now.Sub(site.Created) < d.o.TTL {
			continue
		}
		if err := d.one(ctx, fence, site.Domain, now); err != nil {
			return fmt.Errorf("look after the temporary site %s: %w", site.Domain, err)
		}
	}
	return nil
}

// one gives a site its time, or removes it, if that is still due.
func (d *Duty) one(ctx context.Context, fence state.Fence, domain string, now time.Time) error {
	removed := false
	_, err := d.o.Store.Update(ctx, func(draft *state.Draft) error {
		removed = false
		site, ok := draft.Site(domain)
		if !ok || site.Domain != domain || !site.Temporary {
			return nil
		}
		if site.Created.IsZero() {
			site = site.Clone()
			site.Created = now
			return draft.Put(site)
		}
		if now.Sub(site.Created) < d.o.TTL {
			return nil
		}
		removed = true
		return draft.Delete(site.Key())
	}, state.WithFence(fence))
	if err == nil && removed {
		d.o.Log.Info("removed a temporary site that reached its age", zap.String("site", domain), zap.Duration("age", d.o.TTL))
	}
	return err
}
