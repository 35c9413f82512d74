package node

import "statiko/health"

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
