package node

import (
	"context"
	"time"
)

// beginPatience is how long a node that was just started waits for etcd before it takes its local copy for all there is.
const beginPatience = 3 * time.Second

// begin tells the web server when it knows all sites: once the state is applied that this node has after its start. Its
// local copy may lack what was added while it was down, so that etcd is given a moment to bring that.
func (n *Node) begin(ctx context.Context) {
	select {
	case <-n.firstPass:
	case <-ctx.Done():
		return
	}
	defer close(n.complete)
	patience := time.NewTimer(beginPatience)
	defer patience.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !n.store.Health().Healthy || n.reconciler.Status().Revision < n.store.Snapshot().Revision() {
		select {
		case <-look.C:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
