package health

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"statiko/cluster"
	"statiko/state"
)

// Nodes is what a Duty asks of [cluster.Group].
type Nodes interface {
	// Unwell asks all nodes how they and their sites are.
	Unwell(ctx context.Context) []cluster.MemberStatus
}

// DutyOptions are what a [Duty] needs.
type DutyOptions struct {
	// Store and Nodes are required.
	Store state.Store
	Nodes Nodes
	// Node is the name of this node.
	Node string
	// Patience is for how long something must be as it is before it is told; 0 means two minutes.
	Patience time.Duration
	// Every is how often all nodes are asked; 0 means half of Patience.
	Every time.Duration
	// Log may be nil; Now is the clock, nil means time.Now.
	Log *zap.Logger
	Now func() time.Time
}

const (
	defaultPatience = 2 * time.Minute
	// flapWindow is how long after it was told to be well something that fails counts as flapping. Each time that it
	// does, it has to be well for twice as long before that is told, maxFlaps times at most.
	flapWindow = time.Hour
	maxFlaps   = 5
	// maxNotices is how many notices one transaction writes: each compares a mark and an event.
	maxNotices = 40
	// maxSingle is how many sites that fail, or are well again, at the same time are told one by one; more are told
	// together.
	maxSingle = 10
)

// Duty is a duty of the leader: it asks all nodes how they are, and puts into the outbox of package notify what an
// administrator should know. A site is told of once when it begins to be unhealthy, whichever and however many nodes say
// so, and once when it is healthy on all again; so is a node whose web server or syncs fail. What was told is in the
// state, written together with the notice under the fence of the term, so that another leader goes on from there. For
// how long something has failed is not: a new leader waits anew before it tells.
//
// Nodes that do not answer say nothing about their sites: visitors are not sent there.
type Duty struct {
	o DutyOptions
	// seen has since when subjects are as they are, for those that are ill or were told to be.
	seen map[string]sighting
}

// sighting is how a subject is, and since when.
type sighting struct {
	ill   bool
	since time.Time
}

// NewDuty returns the duty. The only errors are missing options.
func NewDuty(o DutyOptions) (*Duty, error) {
	if o.Store == nil || o.Nodes == nil {
		return nil, errors.New("the duty that watches health needs a store and nodes")
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.Every <= 0 {
		o.Every = o.Patience / 2
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Duty{o: o}, nil
}

// Run does the duty until ctx ends, and then returns nil. It returns an error when the term is over (ErrFenced); when
// the store does not take a notice, it tries again at the next look. One run at a time.
func (d *Duty) Run(ctx context.Context, fence state.Fence) error {
	d.seen = map[string]sighting{}
	ticker := time.NewTicker(d.o.Every)
	defer ticker.Stop()
	for {
		switch err := d.look(ctx, fence); {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, state.ErrFenced):
			return err
		case err != nil:
			d.o.Log.Warn("the store does not take notices about health, trying again", zap.Error(err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look asks everybody once, and tells what is due.
func (d *Duty) look(ctx context.Context, fence state.Fence) error {
	nodes := d.o.Nodes.Unwell(ctx)
	if ctx.Err() != nil {
		return nil
	}
	s, now := d.o.Store.Snapshot(), d.o.Now()
	r := read(nodes)
	err := errors.Join(
		d.tell(ctx, fence, s, r.sites(s), sitePrefix, now),
		d.tell(ctx, fence, s, r.nodes(), nodePrefix, now),
		d.certificates(ctx, fence, s, r, now),
		d.forget(ctx, fence, s, r, now),
	)
	return err
}
