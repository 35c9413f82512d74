package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"statiko/api"
	"statiko/test/cluster"
	"statiko/test/etcdtest"
)

// node is a node of package cluster with a client that is as patient as what is measured takes.
type node struct {
	*cluster.Node
	client *api.Client
}

func newNode(n *cluster.Node) *node { return &node{n, n.PatientClient(serveTimeout)} }

// quiet are settings of all nodes: a log costs time.
var quiet = []string{"log.level=warn", "webserver=builtin"}

// newNode writes the configuration of a node by itself, in a new folder below b.dir. It does not start it.
func (b *bench) newNode(name string, settings ...string) (*node, error) {
	settings = append(append([]string{"nodeName=" + name}, quiet...), settings...)
	n, err := cluster.Configure(b.bin, filepath.Join(b.dir, name), settings...)
	if err != nil {
		return nil, err
	}
	return newNode(n), n.Write()
}

// clusterNodes is how many nodes a cluster has.
const clusterNodes = 3

// startCluster starts etcd, which syncs its disk, and nodes that share it. End stops them all.
func (b *bench) startCluster(name string) (nodes []*node, etcd *etcdtest.Cluster, end func() error, err error) {
	say("  start etcd (the first time, it is built) and %d nodes", clusterNodes)
	dir := filepath.Join(b.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, nil, nil, err
	}
	c, err := cluster.Launch(dir, cluster.Options{
		Bin: b.bin, Nodes: clusterNodes, Etcd: etcdtest.Options{Durable: true},
		// The times of leases and requests are the product's own, not those of tests.
		Settings: append([]string{"state.etcd.timeout=", "leader.leaseTTL="}, quiet...),
	})
	if err != nil {
		return nil, nil, nil, err
	}
	for _, n := range c.Nodes {
		nodes = append(nodes, newNode(n))
	}
	return nodes, c.Etcd, func() error {
		for _, n := range nodes {
			n.client.Close()
		}
		return c.End()
	}, nil
}

// start starts the process and waits until the API answers. Pauses are shorter than those of tests: how long it takes is
// measured.
func (n *node) start(ctx context.Context) error {
	if err := n.Launch(); err != nil {
		return err
	}
	return cluster.PollEvery(ctx, 2*time.Millisecond, startTimeout, "the API answers", func() error { return n.Answers(ctx) })
}

// stop ends the process. It is idempotent, and fine on a node that was not started.
func (n *node) stop() error {
	// Its connections end with the process.
	n.client.Close()
	return n.End()
}

// joinStop stops the node, whatever happened.
func joinStop(err error, n *node) error { return errors.Join(err, n.stop()) }

// rest lets time pass, to measure what a node does when left alone.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
