package cluster

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"statiko/api"
	"statiko/state"
)

// NoInstance is the member id of a node without a cluster.
const NoInstance = "00000000-0000-0000-0000-000000000000"

// SingleOptions say who is alone. Store, NodeName and Local are required.
type SingleOptions struct {
	Store    state.Store
	NodeName string
	Local    Local
	// Pin returns that of the API's key, which may change; nil for an API without TLS.
	Pin func() string
	// Address, Version and WebServer are as in [Record].
	Address, Version, WebServer string
	// Log may be nil; Now is the clock, nil means time.Now.
	Log *zap.Logger
	Now func() time.Time
}

// SingleNode is the [Group] of a node that is alone.
type SingleNode struct {
	options SingleOptions
	since   time.Time
	tracker tracker
}

var _ Group = (*SingleNode)(nil)

// Single returns the group of a node that is alone.
func Single(o SingleOptions) *SingleNode {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Pin == nil {
		o.Pin = func() string { return "" }
	}
	return &SingleNode{options: o, since: o.Now()}
}

// Run is [Group]'s.
func (s *SingleNode) Run(ctx context.Context) error {
	follow(ctx, s.options.Store, &s.tracker, s.options.Local, s.options.Now, s.options.Log)
	return nil
}

// Members returns this node.
func (s *SingleNode) Members() []Member {
	o := s.options
	return []Member{{
		Name: o.NodeName, Self: true, Up: true, Since: s.since,
		Record: Record{InstanceID: NoInstance, Address: o.Address, Pin: o.Pin(), Version: o.Version,
			WebServer: o.WebServer, FirstSeen: s.since, Schema: schemaVersion},
	}}
}

// Remove is [Group]'s.
func (s *SingleNode) Remove(_ context.Context, name string) error {
	if name == s.options.NodeName {
		return state.Errorf(state.ErrInUse, memberKey(name), "", "this node is alone; it cannot be removed")
	}
	return noMember(name)
}

func noMember(name string) error {
	return state.Errorf(state.ErrNotFound, memberKey(name), "", "there is no node %q", name)
}

// Self is [Group]'s.
func (s *SingleNode) Self(ctx context.Context, q Query) NodeStatus {
	status := answer(ctx, q, s.options.Local, &s.tracker, s.options.Store, s.options.Now)
	status.InstanceID = NoInstance
	return status
}

// Statuses is [Group]'s.
func (s *SingleNode) Statuses(ctx context.Context) []MemberStatus {
	return s.statuses(ctx, Query{Full: true})
}

// Unwell is [Group]'s.
func (s *SingleNode) Unwell(ctx context.Context) []MemberStatus {
	return s.statuses(ctx, Query{Unwell: true})
}

func (s *SingleNode) statuses(ctx context.Context, q Query) []MemberStatus {
	self := s.Self(ctx, q)
	all := []MemberStatus{{Member: s.Members()[0], State: StateUp, Node: &self}}
	judge(all)
	return all
}

// WaitApplied is [Group]'s.
func (s *SingleNode) WaitApplied(ctx context.Context, revision int64, domain string) []api.Waiting {
	status := s.Self(ctx, Query{Revision: revision, Domain: domain, Wait: remaining(ctx)})
	if status.Reached {
		return nil
	}
	return []api.Waiting{{Node: s.options.NodeName, Reason: straggles(status, revision)}}
}

// Call refuses: there is nobody else.
func (s *SingleNode) Call(_ context.Context, member string, _ Request) (*http.Response, error) {
	return nil, noMember(member)
}

// Verify refuses: there is nobody else.
func (s *SingleNode) Verify(*http.Request, []byte) (string, error) {
	return "", fmt.Errorf("%w: this node is alone", ErrRefused)
}
