package api

import (
	"context"
	"net/http"
)

// CodeStopping, 409: the node is about to stop, which cannot be undone.
const CodeStopping = "stopping"

// Drain has the node ask load balancers not to send it visitors: its GET /readyz answers 503 until [Client.Undrain] or
// its next start. It serves as before.
func (c *Client) Drain(ctx context.Context, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "drain")
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}

// Undrain ends what Drain began. It is nothing to end for a node that is not drained.
func (c *Client) Undrain(ctx context.Context, options ...CallOption) error {
	k := newCall(http.MethodPost, options, "undrain")
	k.accept = noContentOnly
	return c.call(ctx, k, nil, nil)
}
