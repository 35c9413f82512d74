package cluster

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"statiko/api"
	"statiko/state"
)

// Group is the cluster as a node sees it: a [Cluster], or a [Single].
type Group interface {
	// Run takes part in the cluster until ctx ends. It must be called once.
	Run(ctx context.Context) error
	// Members returns who belongs to the cluster, in the order of their names, as far as this node knows.
	Members() []Member
	// Remove removes a member that is not up. The errors are state.ErrNotFound, state.ErrInUse for a member that is
	// up, and those of state.Store's Update.
	Remove(ctx context.Context, name string) error
	// Self asks this node, Statuses all members, how they are.
	Self(ctx context.Context, q Query) NodeStatus
	Statuses(ctx context.Context) []MemberStatus
	// Unwell is Statuses with those sites only that are not healthy: it costs little, however many sites there are.
	Unwell(ctx context.Context) []MemberStatus
	// WaitApplied waits until every member that is up has applied the revision or, with a domain, serves that site
	// as asked; or until ctx ends. It returns who has not, and why: nobody if all members have. Members that are
	// down are not waited for, but named.
	WaitApplied(ctx context.Context, revision int64, domain string) []api.Waiting
	// Call calls a route for nodes of another member, and returns the answer if it is one of success; its body is the
	// caller's to close. What the member refused is an *api.Error in the error's chain.
	Call(ctx context.Context, member string, r Request) (*http.Response, error)
	// Verify returns which node a call with this body comes from, or [ErrRefused].
	Verify(r *http.Request, body []byte) (node string, err error)
}

// follow keeps the tracker up to date, and tells the log when this node begins to lag and when it no longer does,
// until ctx ends.
func follow(ctx context.Context, store state.Store, t *tracker, local Local, now func() time.Time, log *zap.Logger) {
	warned := false
	for revision := int64(-1); ctx.Err() == nil; {
		bounded, cancel := context.WithTimeout(ctx, lagAfter)
		snapshot, err := store.Wait(bounded, revision)
		closed := err != nil && bounded.Err() == nil
		cancel()
		if closed {
			<-ctx.Done() // the store is closed: nothing will come any more
			return
		}
		if err == nil {
			t.observe(snapshot, now())
			revision = snapshot.Revision()
			continue
		}
		if ctx.Err() != nil {
			return
		}
		applied := local(ctx, Query{}).Applied
		p := t.progress(applied, now())
		if lagging := applied < p.due; lagging != warned {
			warned = lagging
			if lagging {
				log.Warn("this node lags behind the state", zap.Int64("applied", applied), zap.Int64("state", p.state),
					zap.Time("behindSince", p.behindSince))
			} else {
				log.Info("this node has caught up with the state", zap.Int64("applied", applied))
			}
		}
	}
}

// answer asks this node, and adds what the tracker knows.
func answer(ctx context.Context, q Query, local Local, t *tracker, store state.Store, now func() time.Time) NodeStatus {
	s := local(ctx, q)
	t.observe(store.Snapshot(), now())
	p := t.progress(s.Applied, now())
	s.State, s.Due = p.state, p.due
	if !p.behindSince.IsZero() {
		s.BehindSince = &p.behindSince
	}
	return s
}
