package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Remove is [Group]'s.
func (c *Cluster) Remove(ctx context.Context, name string) error {
	_, err := c.options.Store.Update(ctx, func(d *state.Draft) error {
		// Reading the presence in the draft makes sure that the member does not come up meanwhile.
		p, up := d.Object(presenceKey(name))
		m, known := d.Object(memberKey(name))
		switch {
		case !known:
			return noMember(name)
		case up:
			held, _ := decodeRecord[presence](p) // what cannot be read has no address to show
			return state.Errorf(state.ErrInUse, m.Key(), "", "the node %s is up, at %s; stop it first", name, held.Address)
		}
		return d.Delete(m.Key())
	})
	return err
}

// Times of forgetting.
const (
	// noticeAfter is how long a member must be away before the state is told. Most restarts are shorter.
	noticeAfter = time.Minute
	// forgetEvery is how often the duty looks without a reason.
	forgetEvery = time.Minute
)

// ForgetDuty is the leader's: it notes in a member's record since when the member is not up, a minute after it
// noticed, and forgets members that are away for longer than ForgetAfter. Time counts from when the member said that
// it stops or, if it did not, from when a leader first noticed its absence; that is written down so that the next
// leader need not begin anew. It returns when ctx ends, or with an error that another attempt may not have.
func (c *Cluster) ForgetDuty(ctx context.Context, fence state.Fence) error {
	// noticed is when this leader first saw that a member is away.
	noticed := map[string]time.Time{}
	grace := min(noticeAfter, c.options.ForgetAfter/4)
	every := min(forgetEvery, max(c.options.ForgetAfter/10, 50*time.Millisecond))
	for {
		// While etcd is away nobody can say whether he is up, and nothing could be written.
		if c.options.Store.Health().Healthy {
			if err := c.forget(ctx, fence, noticed, grace); err != nil && !errors.Is(err, state.ErrUnavailable) && !errors.Is(err, state.ErrUnknown) {
				return err
			}
		} else {
			clear(noticed)
		}
		pause(ctx, every)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// forget looks at all members once.
func (c *Cluster) forget(ctx context.Context, fence state.Fence, noticed map[string]time.Time, grace time.Duration) error {
	now := c.options.Now()
	known := map[string]bool{}
	for _, m := range c.Members() {
		if m.Up {
			continue
		}
		known[m.Name] = true
		first, ok := noticed[m.Name]
		if !ok {
			first = now
			noticed[m.Name] = now
		}
		switch {
		case m.UnseenSince == nil && now.Sub(first) >= grace:
			if err := c.away(ctx, fence, m.Name, &first); err != nil {
				return err
			}
		case m.UnseenSince != nil && now.Sub(*m.UnseenSince) >= c.options.ForgetAfter:
			if err := c.away(ctx, fence, m.Name, nil); err != nil {
				return err
			}
			c.log.Info("forgot a member that was away for too long", zap.String("node", m.Name),
				zap.Time("unseenSince", *m.UnseenSince))
		}
	}
	for name := range noticed {
		if !known[name] {
			delete(noticed, name)
		}
	}
	return nil
}

// away writes down since when a member is away or, with nil, removes it; unless it is up.
func (c *Cluster) away(ctx context.Context, fence state.Fence, name string, since *time.Time) error {
	_, err := c.options.Store.Update(ctx, func(d *state.Draft) error {
		m, known := d.Object(memberKey(name))
		if _, up := d.Object(presenceKey(name)); up || !known {
			return nil
		}
		record, err := decodeRecord[Record](m)
		if err != nil {
			return err
		}
		switch {
		case since == nil && record.UnseenSince != nil && c.options.Now().Sub(*record.UnseenSince) >= c.options.ForgetAfter:
			return d.Delete(m.Key())
		case since == nil || record.UnseenSince != nil:
			return nil
		}
		at := since.UTC().Truncate(time.Second)
		record.UnseenSince = &at
		data, err := json.Marshal(record)
		if err != nil {
			return fmt.Errorf("encode member: %w", err)
		}
		return d.Put(&state.Record{Kind: state.KindMember, Name: name, Data: data})
	}, state.WithFence(fence))
	return err
}
