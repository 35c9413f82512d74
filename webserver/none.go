package webserver

import (
	"context"
	"time"
)

// None is the server of a node that serves no sites itself: it takes every change and does nothing.
type None struct {
	// Since is when it was made, for Status.
	Since time.Time
}

var _ Server = None{}

// Apply takes every change.
func (None) Apply(ctx context.Context, _ []Change) (map[string]error, error) { return nil, ctx.Err() }

// Status says that it runs: the node does what it was configured to.
func (n None) Status() Status { return Status{Running: true, Since: n.Since} }

// Run waits for ctx to end.
func (None) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close does nothing.
func (None) Close() error { return nil }
