package bundle

import (
	"context"
	"io"

	"statiko/state"
)

// Peers are the other nodes of a cluster, as a Library needs them. All methods are safe for concurrent use and return
// soon after ctx ends.
type Peers interface {
	// Others returns the names of the other members that are up, and how many members there are with this node.
	Others() (up []string, members int)
	// Open returns the archive of a bundle on another node, from the offset to the end; the caller closes it.
	// ErrNotFound if that node does not have it. What is read may be anything: it is verified by hash.
	Open(ctx context.Context, node string, app *state.App, offset int64) (io.ReadCloser, error)
	// Offer has another node fetch a bundle from this one, and returns nil once the archive is durable there.
	Offer(ctx context.Context, node string, app *state.App) error
}

// alone is the Peers of a node without others.
type alone struct{}

func (alone) Others() ([]string, int) { return nil, 1 }
func (alone) Open(context.Context, string, *state.App, int64) (io.ReadCloser, error) {
	return nil, ErrNotFound
}
func (alone) Offer(context.Context, string, *state.App) error { return ErrNotFound }

// Replicas tells on how many nodes a bundle's archive is durable.
type Replicas struct {
	// Have is how many nodes have it, Want how many should before an upload counts as safe. Both are 0 where an
	// object store keeps the archives.
	Have, Want int
}
