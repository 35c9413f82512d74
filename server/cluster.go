package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"statiko/api"
	"statiko/cluster"
	"statiko/leader"
	"statiko/state"
)

// LocalStatus is [cluster.Local] of this node.
func (s *Server) LocalStatus(ctx context.Context, q cluster.Query) cluster.NodeStatus {
	status := cluster.NodeStatus{Name: s.NodeName, Version: s.Version}
	if q.Revision > 0 {
		bounded, cancel := context.WithTimeout(ctx, q.Wait)
		err := s.Reconciler.Wait(bounded, q.Revision, q.Domain)
		switch status.Reached = err == nil; {
		case err == nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		default:
			status.Fault = err.Error()
		}
		cancel()
	}
	snap := s.Store.Snapshot()
	full := s.nodeStatus(snap)
	status.Applied, status.Store, status.Leader = full.Sync.Revision, full.Store, full.Leader
	if q.Full || q.Unwell {
		full.Health = []api.SiteHealth{}
		for site := range snap.Sites() {
			if h := s.siteHealth(site); q.Full || !h.Healthy {
				full.Health = append(full.Health, h)
			}
		}
		full.Quarantine, full.Bundles = quarantined(snap), s.bundleNotes()
		status.Full = &full
	}
	return status
}

// clusterStatus answers GET /clusterstatus: 200 whatever is the matter with members, the store or etcd.
func (s *Server) clusterStatus(c *call) error {
	s.snapshot(c)
	members := map[string]api.MemberStatus{}
	for _, m := range s.Cluster.Statuses(c.r.Context()) {
		id := m.InstanceID
		if _, twice := members[id]; twice {
			id += "/" + m.Name // two nodes with copies of one data folder
		}
		members[id] = wireMember(m)
	}
	return c.json(http.StatusOK, members)
}

// wireMember returns a member's status as answers show it. What a member did not say is made from what is known, for
// clients rely on lastSync and on the list of sites.
func wireMember(m cluster.MemberStatus) api.MemberStatus {
	w := api.MemberStatus{
		State: m.State, Error: m.Reason, Address: m.Address, Since: timeOrNil(m.Since), Lag: m.Lag, Lagging: m.Lagging,
		Status: api.Status{Name: m.Name, Version: m.Version, Health: []api.SiteHealth{}},
	}
	w.Sync.LastSync = m.FirstSeen
	if n := m.Node; n != nil {
		w.Applied, w.BehindSince = n.Applied, n.BehindSince
		if n.Full != nil {
			w.Status = *n.Full
		}
		if w.Health == nil {
			w.Health = []api.SiteHealth{}
		}
		w.Unregistered = n.Unregistered
	}
	return w
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// peerStatus answers GET /internal/v1/status, for other nodes.
func (s *Server) peerStatus(c *call) error {
	q, err := cluster.ParseQuery(c.r.URL.Query())
	if err != nil {
		return malformed("%v", err)
	}
	c.wait = q.Wait
	ctx, cancel := s.waiting(c, cluster.MaxWait)
	defer cancel()
	return c.json(http.StatusOK, s.Cluster.Self(ctx, q))
}

// listNodes answers GET /node.
func (s *Server) listNodes(c *call) error {
	s.snapshot(c)
	nodes := []api.Node{}
	for _, m := range s.Cluster.Members() {
		nodes = append(nodes, api.Node{
			Name: m.Name, ID: m.InstanceID, Address: m.Address, Pin: m.Pin, Version: m.Version, WebServer: m.WebServer,
			FirstSeen: m.FirstSeen, Up: m.Up, Since: timeOrNil(m.Since), UnseenSince: m.UnseenSince, Stopped: m.Stopped,
			Self: m.Self,
		})
	}
	return c.json(http.StatusOK, nodes)
}

// removeNode answers DELETE /node/{name}.
func (s *Server) removeNode(c *call) error {
	if err := s.Cluster.Remove(c.r.Context(), c.r.PathValue("name")); err != nil {
		return err
	}
	s.snapshot(c)
	return c.done()
}

// getLeader answers GET /leader.
func (s *Server) getLeader(c *call) error {
	l := s.LeaderState()
	return c.json(http.StatusOK, api.Leader{
		Name: l.Name, Since: timeOrNil(l.Since), NobodySince: timeOrNil(l.NobodySince), UnknownSince: timeOrNil(l.UnknownSince),
	})
}

// stepDown answers POST /leader/stepdown.
func (s *Server) stepDown(c *call) error {
	var body api.StepDown
	if err := c.decode(&body, nil); err != nil {
		return err
	}
	if s.StepDown == nil {
		return api.Errorf(api.CodeHandover, "this node is alone; there is nobody to hand the leadership over to")
	}
	err := s.StepDown(c.r.Context(), body.To)
	for _, refusal := range []error{leader.ErrNoLeader, leader.ErrNoCandidate, leader.ErrHandover, leader.ErrNotTaken} {
		if errors.Is(err, refusal) {
			return api.Errorf(api.CodeHandover, "%v", err)
		}
	}
	if err != nil {
		return err
	}
	return c.done()
}

// accepter is the power of a store that can find itself detached from its backend.
type accepter interface {
	// Accept decides that what the backend has now is in force. Without need it changes nothing.
	Accept(ctx context.Context) (int64, error)
	Health() state.Health
}

// accepterOf returns the store with the power, or that behind it; nil if there is none.
func accepterOf(s state.Store) accepter {
	for {
		if a, ok := s.(accepter); ok {
			return a
		}
		behind, ok := s.(interface{ Unwrap() state.Store })
		if !ok {
			return nil
		}
		s = behind.Unwrap()
	}
}

// acceptStore answers POST /store/accept.
func (s *Server) acceptStore(c *call) error {
	if s.accepter == nil || s.accepter.Health().Healthy {
		return api.Errorf(api.CodeNotDetached, "the store is not detached: there is nothing to decide")
	}
	revision, err := s.accepter.Accept(c.r.Context())
	if err != nil {
		return err
	}
	c.setRevision(revision)
	s.applied(c, revision, "")
	return c.done()
}
