package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"statiko/api"
)

// Times of waiting for others.
const (
	// pollSlice bounds one call. After each, whoever waits looks whether the member is still up: one that hangs
	// keeps its connections, but not its lease.
	pollSlice = 5 * time.Second
	// pollGrace is how much longer than it was asked to wait a member may take for its answer.
	pollGrace = AskTimeout
	// pollPause is between calls that failed.
	pollPause = 250 * time.Millisecond
	// defaultWait is how long is waited without a deadline.
	defaultWait = time.Minute
)

// remaining returns how long ctx lasts.
func remaining(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return defaultWait
}

// straggles says for people why a node has not applied a revision.
func straggles(s NodeStatus, revision int64) string {
	switch {
	case s.Fault != "":
		return s.Fault
	case s.Applied < revision:
		reason := fmt.Sprintf("it has applied revision %d, not yet %d", s.Applied, revision)
		if !s.Store.Healthy && s.Store.Reason != "" {
			reason += ": " + s.Store.Reason
		}
		return reason
	}
	return "it is not done yet"
}

// WaitApplied is [Group]'s.
func (c *Cluster) WaitApplied(ctx context.Context, revision int64, domain string) []api.Waiting {
	list := c.everybody()
	found := make([]*api.Waiting, len(list))
	var wg sync.WaitGroup
	for i, m := range list {
		wg.Go(func() {
			switch {
			case m.Self:
				s := c.Self(ctx, Query{Revision: revision, Domain: domain, Wait: remaining(ctx)})
				if !s.Reached {
					found[i] = &api.Waiting{Node: m.Name, Reason: straggles(s, revision)}
				}
			case !m.Up:
				found[i] = &api.Waiting{Node: m.Name, Absent: true, Reason: m.away()}
			default:
				found[i] = c.await(ctx, m, revision, domain)
			}
		})
	}
	wg.Wait()
	var waiting []api.Waiting
	for _, w := range found {
		if w != nil {
			waiting = append(waiting, *w)
		}
	}
	return waiting
}

// await asks one other member until it has applied the revision, is no longer up, or ctx ends.
func (c *Cluster) await(ctx context.Context, m Member, revision int64, domain string) *api.Waiting {
	last := "it has not been asked"
	for {
		left := remaining(ctx)
		// The answer has to be here before the time is up.
		wait := max(0, min(pollSlice, left-min(left/5, pollPause)))
		bounded, cancel := context.WithTimeout(ctx, wait+pollGrace)
		s, err := c.peers.ask(bounded, m, Query{Revision: revision, Domain: domain, Wait: wait})
		cancel()
		switch {
		case err == nil && s.Reached:
			return nil
		case err == nil:
			last = straggles(s, revision)
			if s.Fault != "" {
				return &api.Waiting{Node: m.Name, Reason: last}
			}
		case ctx.Err() == nil || last == "it has not been asked":
			last = "it does not answer: " + err.Error()
		}
		if ctx.Err() != nil || remaining(ctx) < pollPause {
			return &api.Waiting{Node: m.Name, Reason: last}
		}
		now, ok := c.member(m.Name)
		switch {
		case !ok:
			return nil // it was removed meanwhile
		case !now.Up:
			return &api.Waiting{Node: m.Name, Absent: true, Reason: now.away()}
		}
		m = now
		if err != nil {
			t := time.NewTimer(pollPause/2 + rand.N(pollPause/2))
			select {
			case <-t.C:
			case <-ctx.Done():
			}
			t.Stop()
		}
	}
}

// member returns the member with the name.
func (c *Cluster) member(name string) (Member, bool) {
	for _, m := range c.Members() {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}
