package test

import (
	"context"
	"fmt"
	"testing"

	"statiko/api"
	"statiko/test/cluster"
	"statiko/test/etcdtest"
)

// newNode writes the configuration of a node, with the race detector, in a temporary folder. It is stopped with the
// test.
func newNode(t testing.TB, settings ...string) *cluster.Node {
	t.Helper()
	return cluster.NewNode(t, built(t), settings...)
}

// startNode starts a new node, and waits until its API answers.
func startNode(t testing.TB, settings ...string) (*cluster.Node, *api.Client) {
	t.Helper()
	n := newNode(t, settings...)
	n.Start(t)
	return n, n.API(t)
}

// newCluster starts etcd with some members, and configures nodes without starting them.
func newCluster(t testing.TB, bin string, members, count int, settings ...string) *cluster.Cluster {
	t.Helper()
	return cluster.New(t, cluster.Options{Bin: bin, Nodes: count, Etcd: etcdtest.Options{Members: members}, Settings: settings})
}

// newNodesOn configures nodes that share a state in etcd.
func newNodesOn(t testing.TB, bin string, etcd *etcdtest.Cluster, count int, settings ...string) []*cluster.Node {
	t.Helper()
	return cluster.NodesOn(t, etcd, cluster.Options{Bin: bin, Nodes: count, Settings: settings})
}

// startCluster starts a cluster on a single etcd, and waits until its nodes take changes, are members, and one leads.
func startCluster(t testing.TB, bin string, count int, settings ...string) *cluster.Cluster {
	t.Helper()
	return cluster.Start(t, cluster.Options{Bin: bin, Nodes: count, Settings: settings})
}

// addSite adds a site, which must be accepted.
func addSite(t testing.TB, c *api.Client, domain string, aliases ...string) {
	t.Helper()
	if _, err := c.CreateSite(context.Background(), api.SiteCreate{Domain: domain, Aliases: aliases}); err != nil {
		t.Fatalf("add %s: %v", domain, err)
	}
}

// siteNumber is one of many sites.
func siteNumber(what string, i int) api.SiteCreate {
	return api.SiteCreate{Domain: fmt.Sprintf("%s-%d.example.org", what, i)}
}
