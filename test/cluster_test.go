package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"statiko/api"
	"statiko/config"
	"statiko/test/etcdtest"
)

// leaseTTL is the life of the nodes' leases in these tests.
const leaseTTL = 5 * time.Second

// storeTimeout is the nodes' state.etcd.timeout in these tests.
const storeTimeout = 3 * time.Second

// slack is what a busy machine may add to a time that is promised.
const slack = time.Second

// cluster is nodes that share a state in etcd. Its nodes are called edge-1, edge-2, …
type cluster struct {
	etcd  *etcdtest.Cluster
	nodes []*node
}

// newCluster starts etcd with some members, and configures nodes without starting them. They end with the test.
func newCluster(t testing.TB, bin string, members, count int, settings ...string) *cluster {
	t.Helper()
	c := &cluster{etcd: etcdtest.Start(t, etcdtest.Options{Members: members})}
	c.nodes = newNodesOn(t, bin, c.etcd, count, settings...)
	return c
}

// newNodesOn configures nodes that share a state in etcd.
func newNodesOn(t testing.TB, bin string, etcd *etcdtest.Cluster, count int, settings ...string) []*node {
	t.Helper()
	common := append([]string{
		"state.store=etcd", "state.etcd.address=" + strings.Join(etcd.Endpoints(), ","),
		fmt.Sprintf("state.etcd.timeout=%d", storeTimeout.Milliseconds()), fmt.Sprintf("leader.leaseTTL=%.0f", leaseTTL.Seconds()),
		"cluster.advertise=127.0.0.1", "repo.local.path=" + t.TempDir(),
		"auth.psk.key=" + config.NewPSK(), "secretsEncryptionKey=" + config.NewEncryptionKey(),
	}, settings...)
	var nodes []*node
	for i := range count {
		nodes = append(nodes, newNodeOf(t, bin, append(slices.Clip(common), fmt.Sprintf("nodeName=edge-%d", i+1))...))
	}
	return nodes
}

// startCluster starts a cluster on a single etcd, and waits until its nodes take changes, are members, and one leads.
func startCluster(t testing.TB, bin string, count int, settings ...string) *cluster {
	t.Helper()
	c := newCluster(t, bin, 1, count, settings...)
	c.start(t)
	return c
}

// start starts all nodes at once, and waits until they take changes, all are members, and one leads.
func (c *cluster) start(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if err := n.launch(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.nodes {
		must(t, n.open())
		must(t, n.healthy())
	}
	c.leader(t, startTimeout, c.nodes...)
	for _, n := range c.nodes {
		client := apiOf(t, n)
		must(t, poll(startTimeout, "all are members, for "+n.name(), func() error {
			list, err := client.Nodes(context.Background())
			up := 0
			for _, m := range list {
				if m.Up {
					up++
				}
			}
			if err == nil && up != len(c.nodes) {
				err = fmt.Errorf("%d are up", up)
			}
			return err
		}))
	}
}

// must ends the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// healthy waits until the node says that the state can be changed.
func (n *node) healthy() error {
	c := n.client()
	defer c.Close()
	return poll(startTimeout, n.name()+" takes changes", func() error {
		s, err := c.Status(context.Background(), "", false)
		if err != nil {
			return err
		}
		if !s.Store.Healthy {
			return fmt.Errorf("the store is not healthy: %s", s.Store.Reason)
		}
		return nil
	})
}

func (n *node) name() string { return n.settings["nodeName"] }

// leader waits until all the nodes say that the same one of the cluster leads, and returns it. Not are those that
// shall not lead.
func (c *cluster) leader(t testing.TB, timeout time.Duration, say ...*node) *node {
	t.Helper()
	l, err := c.awaitLeader(timeout, nil, say...)
	must(t, err)
	return l
}

func (c *cluster) awaitLeader(timeout time.Duration, not *node, say ...*node) (leader *node, err error) {
	var clients []*api.Client
	for _, n := range say {
		client := n.client()
		defer client.Close()
		clients = append(clients, client)
	}
	err = poll(timeout, "one leader that all know", func() error {
		name := ""
		for i, client := range clients {
			l, err := client.Leader(context.Background())
			switch {
			case err != nil:
				return err
			case l.Name == "" || l.UnknownSince != nil:
				return fmt.Errorf("%s says %+v", say[i].name(), *l)
			case name != "" && name != l.Name:
				return fmt.Errorf("%s says %s, another %s", say[i].name(), l.Name, name)
			}
			name = l.Name
		}
		for _, n := range c.nodes {
			if n.name() == name && n != not {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("%q leads", name)
	})
	return leader, err
}

// others returns the nodes but one.
func (c *cluster) others(not *node) []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return n == not })
}

// freeze stops the node's process with SIGSTOP. It goes on with the result, at the latest when the test ends.
func (n *node) freeze(t testing.TB) (thaw func()) {
	t.Helper()
	p := n.cmd.Process
	must(t, p.Signal(syscall.SIGSTOP))
	thaw = func() {
		// It may have been killed meanwhile.
		_ = p.Signal(syscall.SIGCONT)
	}
	t.Cleanup(thaw)
	return thaw
}

// apiOf returns a client of the node that ends with the test.
func apiOf(t testing.TB, n *node) *api.Client {
	c := n.client()
	t.Cleanup(c.Close)
	return c
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

// serves waits until all nodes show the same certificate for the site, and its page. It returns the serial number.
func (c *cluster) serves(t testing.TB, timeout time.Duration, domain string) string {
	t.Helper()
	return serveAlike(t, timeout, domain, c.nodes...)
}

func serveAlike(t testing.TB, timeout time.Duration, domain string, nodes ...*node) (serial string) {
	t.Helper()
	must(t, poll(timeout, domain+" is served alike", func() error {
		serial = ""
		for _, n := range nodes {
			cert, err := n.certificateOf(domain)
			if err != nil {
				return fmt.Errorf("%s: %w", n.name(), err)
			}
			if err := cert.VerifyHostname(domain); err != nil {
				return fmt.Errorf("%s: %w", n.name(), err)
			}
			s := cert.SerialNumber.Text(16)
			if serial != "" && s != serial {
				return fmt.Errorf("%s shows the serial number %s, another node %s", n.name(), s, serial)
			}
			serial = s
		}
		return nil
	}))
	for _, n := range nodes {
		v := newVisitor(n)
		p, err := v.get("https://" + domain + "/")
		v.close()
		must(t, err)
		if p.status != 200 {
			t.Fatalf("%s: https://%s/: status %d", n.name(), domain, p.status)
		}
	}
	return serial
}

// domains returns the domains of the sites that the node has, in order.
func domains(n *node) ([]string, error) {
	c := n.client()
	defer c.Close()
	sites, err := c.Sites(context.Background())
	var list []string
	for _, s := range sites {
		list = append(list, s.Domain)
	}
	slices.Sort(list)
	return list, err
}

// haveExactly waits until all nodes have exactly these sites.
func (c *cluster) haveExactly(t testing.TB, timeout time.Duration, want ...string) {
	t.Helper()
	slices.Sort(want)
	must(t, poll(timeout, "the same sites on all nodes", func() error {
		for _, n := range c.nodes {
			got, err := domains(n)
			if err != nil {
				return fmt.Errorf("%s: %w", n.name(), err)
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s has %d sites %.200q, not %d %.200q", n.name(), len(got), got, len(want), want)
			}
		}
		return nil
	}))
}

// refused returns how a change was refused because the state cannot be changed: 503, with a reason, within the
// timeout. It is an error if it was not.
func refused(err error, took time.Duration) (*api.Error, error) {
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
	case took > storeTimeout+slack:
		return nil, fmt.Errorf("after %s: %w", took, err)
	}
	return e, nil
}
