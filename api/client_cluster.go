package api

import (
	"context"
	"net/http"
)

// Nodes returns the members of the cluster, in the order of their names. It is never nil without an error.
func (c *Client) Nodes(ctx context.Context, options ...CallOption) ([]Node, error) {
	var nodes []Node
	if err := c.call(ctx, newCall(http.MethodGet, options, "node"), nil, &nodes); err != nil {
		return nil, err
	}
	if nodes == nil {
		nodes = []Node{}
	}
	return nodes, nil
}

// RemoveNode makes the cluster forget a member; state.ErrInUse if it is up.
func (c *Client) RemoveNode(ctx context.Context, name string, options ...CallOption) error {
	k := newCall(http.MethodDelete, options, "node", name)
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}

// Leader tells which node leads.
func (c *Client) Leader(ctx context.Context, options ...CallOption) (*Leader, error) {
	var l Leader
	if err := c.call(ctx, newCall(http.MethodGet, options, "leader"), nil, &l); err != nil {
		return nil, err
	}
	return &l, nil
}

// StepDown has the node that leads give the leadership up, to the named node or, with "", to any other. It returns
// when another node leads.
func (c *Client) StepDown(ctx context.Context, to string, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "leader", "stepdown")
	k.accept = noContentOnly
	return c.call(ctx, k, StepDown{To: to}, nil)
}

// AcceptStore decides, for a cluster whose store is detached, that what the store has now is in force.
func (c *Client) AcceptStore(ctx context.Context, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "store", "accept")
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}
