package cluster

import (
	"context"
	"sync"
	"time"

	"statiko/api"
)

// Query is what a node is asked.
type Query struct {
	// Revision, if not 0, is one to wait for until it is applied, at most for Wait; with a domain until that site
	// is as it asks.
	Revision int64
	Domain   string
	Wait     time.Duration
	// Full asks for the whole status, with one entry for each site. Unwell asks for it with entries of those sites
	// only that are not healthy.
	Full, Unwell bool
}

// NodeStatus is how a node says it is: the answer of GET /internal/v1/status.
type NodeStatus struct {
	Name       string `json:"name"`
	InstanceID string `json:"instanceId"`
	Version    string `json:"version,omitempty"`
	// Applied is the revision of the state that the node has applied.
	Applied int64 `json:"applied"`
	// State is the newest revision it knows at which the document changed, and Due the newest that it has known for
	// ten seconds.
	State int64 `json:"state"`
	Due   int64 `json:"due"`
	// BehindSince is when it came to know the oldest change that it has not applied; nil if there is none.
	BehindSince *time.Time      `json:"behindSince,omitempty"`
	Store       api.StoreStatus `json:"store"`
	// Leader is whom it takes for the leader; "" for nobody.
	Leader string `json:"leader,omitempty"`
	// Reached tells whether the query's revision is applied, and Fault why it cannot be as asked.
	Reached bool   `json:"reached,omitempty"`
	Fault   string `json:"fault,omitempty"`
	// Unregistered says why the node is not registered as one that is up; "" if it is.
	Unregistered string `json:"unregistered,omitempty"`
	// Full is there if it was asked for, by [Query.Full] or [Query.Unwell].
	Full *api.Status `json:"full,omitempty"`
}

// Local answers for this node. It fills in what it knows: all but InstanceID, State, Due, BehindSince and
// Unregistered. It returns soon after ctx ends.
type Local func(ctx context.Context, q Query) NodeStatus

// States of members.
const (
	// StateUp: it is registered as up, and answers.
	StateUp = "up"
	// StateDown: it is not registered as up, and does not answer.
	StateDown = "down"
	// StateUnreachable: it is registered as up, and does not answer this node.
	StateUnreachable = "unreachable"
	// StateUnregistered: it answers, but is not registered as up: it has lost touch with etcd, or another node has
	// its name.
	StateUnregistered = "unregistered"
)

// MemberStatus is how a member is.
type MemberStatus struct {
	Member
	// State is one of the State constants; Reason says why it is not StateUp.
	State  string
	Reason string
	// Node is what the member answered; nil if it did not.
	Node *NodeStatus
	// Lag is by how much Applied is behind the newest revision of the document that any member knows, as the
	// difference of revisions, which counts changes of every kind. 0 if the member did not answer.
	Lag int64
	// Lagging tells that it has not applied what some member has known for ten seconds.
	Lagging bool
}

// AskTimeout bounds how long a member may take to say how it is.
const AskTimeout = 2 * time.Second

// Statuses asks all members at once how they are, and returns what is known after two seconds at most, in the order
// of their names. This node is among them even if it could not register.
func (c *Cluster) Statuses(ctx context.Context) []MemberStatus {
	return c.statuses(ctx, Query{Full: true})
}

// Unwell is [Group]'s.
func (c *Cluster) Unwell(ctx context.Context) []MemberStatus {
	return c.statuses(ctx, Query{Unwell: true})
}

func (c *Cluster) statuses(ctx context.Context, q Query) []MemberStatus {
	list := c.everybody()
	answers := make([]MemberStatus, len(list))
	var wg sync.WaitGroup
	for i, m := range list {
		wg.Go(func() { answers[i] = c.status(ctx, m, q) })
	}
	wg.Wait()
	judge(answers)
	return answers
}

// everybody returns the members, and this node if it is none of them.
func (c *Cluster) everybody() []Member {
	list := c.Members()
	for _, m := range list {
		if m.Self {
			return list
		}
	}
	return append(list, c.self())
}

// status asks one member.
func (c *Cluster) status(ctx context.Context, m Member, q Query) MemberStatus {
	s := MemberStatus{Member: m, State: StateUp}
	if m.Self {
		own := c.Self(ctx, q)
		s.Node = &own
		if own.Unregistered != "" {
			s.State, s.Reason = StateUnregistered, own.Unregistered
		}
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	answer, err := c.peers.ask(ctx, m, q)
	switch {
	case err == nil && m.Up:
		s.Node = &answer
	case err == nil:
		s.Node, s.State, s.Reason = &answer, StateUnregistered, answer.Unregistered
		if s.Reason == "" {
			s.Reason = "it answers, but is not registered as up"
		}
	case m.Up:
		s.State, s.Reason = StateUnreachable, "it is registered as up, but does not answer this node: "+err.Error()
	default:
		s.State, s.Reason = StateDown, m.away()
	}
	return s
}

// judge finds out who lags behind the others.
func judge(all []MemberStatus) {
	var newest, due int64
	for _, s := range all {
		if s.Node != nil {
			newest, due = max(newest, s.Node.State), max(due, s.Node.Due)
		}
	}
	for i := range all {
		if s := &all[i]; s.Node != nil {
			s.Lag = max(0, newest-s.Node.Applied)
			s.Lagging = s.Node.Applied < due
		}
	}
}

// Self asks this node.
func (c *Cluster) Self(ctx context.Context, q Query) NodeStatus {
	s := answer(ctx, q, c.options.Local, &c.tracker, c.options.Store, c.options.Now)
	s.InstanceID = c.options.InstanceID
	s.Unregistered = c.unregistered()
	return s
}
