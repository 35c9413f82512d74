package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/config"
	"statiko/test/etcdtest"
)

// LeaseTTL is the life of the nodes' leases, and StoreTimeout their state.etcd.timeout.
const (
	LeaseTTL     = 5 * time.Second
	StoreTimeout = 3 * time.Second
)

// Slack is what a busy machine may add to a time that is promised.
const Slack = time.Second

// Cluster is nodes that share a state in etcd. Its nodes are called edge-1, edge-2, …
type Cluster struct {
	Etcd  *etcdtest.Cluster
	Nodes []*Node
	// keep are further files of the evidence.
	keep []kept
}

// Options say how a cluster is made. Bin must be given.
type Options struct {
	// Bin is the folder of the programs.
	Bin string
	// Nodes is how many there are.
	Nodes int
	// Etcd says how its etcd is made.
	Etcd etcdtest.Options
	// Links puts a proxy between each node and each member of etcd; see [Node.Links].
	Links bool
	// WebServer is the nodes' webserver, where the build knows more than one; "" leaves it out.
	WebServer string
	// Settings are further settings of each node.
	Settings []string
}

// New starts etcd, and configures nodes without starting them. They end with the test, and if it fails, evidence of
// all of them is kept.
func New(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{Etcd: etcdtest.Start(t, o.Etcd)}
	c.Nodes = NodesOn(t, c.Etcd, o)
	t.Cleanup(func() { c.evidence(t) })
	return c
}

// Start starts a cluster, and waits until its nodes take changes, are members, and one leads.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := New(t, o)
	c.Start(t)
	return c
}

// NodesOn configures nodes that share a state in etcd.
func NodesOn(t testing.TB, etcd *etcdtest.Cluster, o Options) []*Node {
	t.Helper()
	common := o.common(etcd)
	var nodes []*Node
	for i := range o.Nodes {
		own := append(slices.Clip(common), "nodeName="+name(i))
		var links Links
		if o.Links {
			var endpoints []string
			links, endpoints = newLinks(t, etcd)
			own = append(own, "state.etcd.address="+strings.Join(endpoints, ","))
		}
		n := NewNode(t, o.Bin, own...)
		n.Links = links
		nodes = append(nodes, n)
	}
	return nodes
}

// common are the settings that nodes have alike which share a state in etcd.
func (o Options) common(etcd *etcdtest.Cluster) []string {
	common := []string{
		"state.store=etcd", "state.etcd.address=" + strings.Join(etcd.Endpoints(), ","),
		fmt.Sprintf("state.etcd.timeout=%d", StoreTimeout.Milliseconds()), fmt.Sprintf("leader.leaseTTL=%.0f", LeaseTTL.Seconds()),
		"cluster.advertise=127.0.0.1",
		"auth.psk.key=" + config.NewPSK(), "secretsEncryptionKey=" + config.NewEncryptionKey(),
	}
	if o.WebServer != "" {
		common = append(common, "webserver="+o.WebServer)
	}
	return append(common, o.Settings...)
}

// name is that of the node with the index, from 0.
func name(i int) string { return fmt.Sprintf("edge-%d", i+1) }

// Start starts all nodes at once, and waits until they take changes, all are members, and one leads.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	Must(t, c.start())
}

func (c *Cluster) start() error {
	for _, n := range c.Nodes {
		if err := n.Launch(); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes {
		if err := n.Open(); err != nil {
			return err
		}
		if err := n.Healthy(); err != nil {
			return err
		}
	}
	if _, err := c.AwaitLeader(StartTimeout, nil, c.Nodes...); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := n.knows(len(c.Nodes)); err != nil {
			return err
		}
	}
	return nil
}

// knows waits until the node says that so many nodes are up.
func (n *Node) knows(count int) error {
	client := n.Client()
	defer client.Close()
	return Poll(StartTimeout, "all are members, for "+n.Name(), func() error {
		list, err := client.Nodes(context.Background())
		up := 0
		for _, m := range list {
			if m.Up {
				up++
			}
		}
		if err == nil && up != count {
			err = fmt.Errorf("%d are up", up)
		}
		return err
	})
}

// Leader waits until all the nodes say that the same one of the cluster leads, and returns it.
func (c *Cluster) Leader(t testing.TB, timeout time.Duration, say ...*Node) *Node {
	t.Helper()
	l, err := c.AwaitLeader(timeout, nil, say...)
	Must(t, err)
	return l
}

// AwaitLeader is Leader with a node that shall not lead, or nil, and an error.
func (c *Cluster) AwaitLeader(timeout time.Duration, not *Node, say ...*Node) (leader *Node, err error) {
	var clients []*api.Client
	for _, n := range say {
		client := n.Client()
		defer client.Close()
		clients = append(clients, client)
	}
	err = Poll(timeout, "one leader that all know", func() error {
		name := ""
		for i, client := range clients {
			l, err := client.Leader(context.Background())
			switch {
			case err != nil:
				return err
			case l.Name == "" || l.UnknownSince != nil:
				return fmt.Errorf("%s says %+v", say[i].Name(), *l)
			case name != "" && name != l.Name:
				return fmt.Errorf("%s says %s, another %s", say[i].Name(), l.Name, name)
			}
			name = l.Name
		}
		for _, n := range c.Nodes {
			if n.Name() == name && n != not {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("%q leads", name)
	})
	return leader, err
}

// Others returns the nodes but one.
func (c *Cluster) Others(not *Node) []*Node {
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(n *Node) bool { return n == not })
}

// Refused returns how a change was refused because the state cannot be changed: 503, with a reason, within the
// timeout. It is an error if it was not.
func Refused(err error, took time.Duration) (*api.Error, error) {
	e, ok := errors.AsType[*api.Error](err)
	switch {
	case err == nil:
		return nil, errors.New("it was accepted")
	case !ok:
		return nil, err
	case e.Status != 503 || e.Code != api.CodeUnavailable && e.Code != api.CodeUnknown:
		return nil, fmt.Errorf("status %d, %s: %w", e.Status, e.Code, err)
	case len(e.Message) < 10:
		return nil, fmt.Errorf("no reason: %q", e.Message)
	case took > StoreTimeout+Slack:
		return nil, fmt.Errorf("after %s: %w", took, err)
	}
	return e, nil
}
