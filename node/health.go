package node

import (
	"context"
	"time"

	"go.uber.org/zap"

	"statiko/health"
)

// makeProber makes what visits the sites of this node, if it serves any.
func (n *Node) makeProber() (err error) {
	if len(n.webAddrs) < 2 {
		return nil
	}
	n.prober, err = health.New(health.Options{
		Store: n.store, Keyring: n.keyring, Reconciler: n.reconciler, HTTP: n.webAddrs[0], HTTPS: n.webAddrs[1],
		Log: n.log.Named("health"),
	})
	return err
}

// changed is told by the reconciler what it changed.
func (n *Node) changed(domains []string) {
	if n.prober != nil {
		n.prober.Changed(domains)
	}
}

// drain tells load balancers that this node stops, and goes on serving until they have noticed, or ctx ends. A node
// that was drained before does not wait again.
func (n *Node) drain(ctx context.Context) {
	left := n.config.DrainDelay - time.Since(n.server.Drain())
	if left <= 0 || ctx.Err() != nil {
		return
	}
	n.log.Info("visitors are served until load balancers have noticed", zap.Duration("for", left.Round(time.Millisecond)))
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
