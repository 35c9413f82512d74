package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// outageLength is how long etcd stays away.
func outageLength() time.Duration {
	if soak() {
		return time.Minute
	}
	return 6 * time.Second
}

// etcd is killed under reads, changes and visits (weaknesses W39 and W45 of the earlier program): nothing but changes
// fails, and each of these with a reason in time. When it is back, all goes on by itself, at once.
func TestW39_WithoutEtcdOnlyChangesFail(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	addSite(t, c.Nodes[0].API(t), "docs.example.org")
	c.Serves(t, 20*time.Second, "docs.example.org")
	importLoadPair(t, c.Nodes[0])
	l := startLoad(t, "docs.example.org", c.Nodes...)
	cluster.Must(t, cluster.Poll(10*time.Second, "changes on both nodes", func() error {
		list, err := c.Nodes[1].Sites()
		if err == nil && len(list) < 10 {
			err = fmt.Errorf("%d sites", len(list))
		}
		return err
	}))

	c.Etcd.Member(0).Kill()
	o := outage{from: time.Now()}
	for _, n := range c.Nodes {
		awayReported(t, n)
	}
	cluster.Until(o.from.Add(outageLength()))
	for _, n := range c.Nodes {
		awayReported(t, n)
	}
	o.to = time.Now()
	c.Etcd.Member(0).Restart(t)
	c.Etcd.AwaitReady(t)
	converges(t, c)
	l.judge(t, o, c.Nodes...)
	c.Serves(t, 10*time.Second, l.lastAdded())
}

// Both nodes are started again while etcd is away: they serve what they served, from their copies.
func TestOutage_NodesStartedWithoutEtcdServeOn(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	addSite(t, c.Nodes[0].API(t), "docs.example.org", "www.example.org")
	importLoadPair(t, c.Nodes[1])
	serial := c.Serves(t, 20*time.Second, "docs.example.org")
	// The copy is at most a second behind.
	cluster.Until(time.Now().Add(1500 * time.Millisecond))

	c.Etcd.Member(0).Kill()
	o := outage{from: time.Now()}
	for i, n := range c.Nodes {
		if i == 0 {
			n.Kill()
		} else {
			cluster.Must(t, n.Stop())
		}
	}
	for _, n := range c.Nodes {
		cluster.Must(t, n.Launch())
	}
	for _, n := range c.Nodes {
		cluster.Must(t, n.Open())
	}
	if again := c.Serves(t, 10*time.Second, "docs.example.org"); again != serial {
		t.Errorf("the serial number is %s, and was %s", again, serial)
	}
	c.HaveExactly(t, time.Second, "docs.example.org")
	for _, n := range c.Nodes {
		cluster.Must(t, hasCertificates(n, loadPair))
		awayReported(t, n)
	}
	l := startLoad(t, "docs.example.org", c.Nodes...)
	cluster.Until(o.from.Add(outageLength()))
	o.to = time.Now()
	c.Etcd.Member(0).Restart(t)
	c.Etcd.AwaitReady(t)
	converges(t, c)
	l.judge(t, o, c.Nodes...)
	c.Serves(t, 10*time.Second, l.lastAdded())
}

// noticeTimeout is how long a node may take to notice that etcd is silent, if it does not close its connections: the
// client's keepalive.
const noticeTimeout = 10 * time.Second

// awayReported waits until the node says that the state cannot be changed, and why: to everybody, with status 200.
func awayReported(t testing.TB, n *cluster.Node) {
	t.Helper()
	stranger, err := api.New(api.Options{Node: "127.0.0.1", Port: n.APIPort, Insecure: true, Timeout: 10 * time.Second})
	cluster.Must(t, err)
	defer stranger.Close()
	known := n.Client()
	defer known.Close()
	ctx := context.Background()
	cluster.Must(t, cluster.Poll(noticeTimeout, n.Name()+" says that etcd is away", func() error {
		var answer api.Answer
		s, err := stranger.Status(ctx, "", false, api.Observe(&answer))
		if err != nil || answer.Status != 200 {
			return cluster.NoUse(fmt.Errorf("status %d, %v, %+v", answer.Status, err, s))
		}
		if s.Store.Healthy {
			return errors.New("the store is healthy")
		}
		if s, err = known.Status(ctx, "", false); err != nil || !strings.Contains(s.Store.Reason, "etcd") {
			return fmt.Errorf("the reason is %q, %w", s.Store.Reason, err)
		}
		return nil
	}))
	members, err := known.ClusterStatus(ctx)
	if err != nil || len(members) == 0 {
		t.Errorf("%s: the cluster's status: %v, %v", n.Name(), members, err)
	}
}

// convergeTimeout is how long after etcd's return changes have to work again, and to be everywhere.
const convergeTimeout = 2*time.Second + cluster.Slack

// converges waits, from etcd's return on, until a change through each node is on all others, and all are members that
// are up.
func converges(t testing.TB, c *cluster.Cluster) {
	t.Helper()
	began := time.Now()
	for i, n := range c.Nodes {
		domain := fmt.Sprintf("back-%d.example.org", i)
		client := n.API(t)
		cluster.Must(t, cluster.Poll(time.Until(began.Add(convergeTimeout)), "a change through "+n.Name(), func() error {
			_, err := client.CreateSite(context.Background(), api.SiteCreate{Domain: domain})
			return err
		}))
		for _, other := range c.Nodes {
			cluster.Must(t, cluster.Poll(time.Until(began.Add(convergeTimeout)), domain+" on "+other.Name(), func() error {
				list, err := other.Sites()
				if err == nil && !slices.Contains(list, domain) {
					err = fmt.Errorf("%d others are there", len(list))
				}
				return err
			}))
		}
	}
	t.Logf("%s after etcd's return, changes through each node are on all", time.Since(began).Round(time.Millisecond))
	for _, n := range c.Nodes {
		client := n.API(t)
		cluster.Must(t, cluster.Poll(cluster.LeaseTTL+5*time.Second, "all members are up, for "+n.Name(), func() error {
			members, err := client.ClusterStatus(context.Background())
			if err != nil {
				return cluster.NoUse(err)
			}
			up := 0
			for _, m := range members {
				if m.State != api.MemberUp || !m.Store.Healthy {
					return fmt.Errorf("%s is %s (%s), its store: %+v", m.Name, m.State, m.Error, m.Store)
				}
				up++
			}
			if up != len(c.Nodes) {
				return fmt.Errorf("%d members", up)
			}
			return nil
		}))
	}
	t.Logf("%s after it, all nodes see all members up", time.Since(began).Round(time.Millisecond))
}

// lastAdded returns the site that was acknowledged last.
func (l *load) lastAdded() string {
	domain := ""
	for _, a := range l.tries {
		if a.err == nil {
			domain = a.domain
		}
	}
	return domain
}

// A node is started for the first time while etcd is away: its API is open, it is alive and not ready, refuses changes and
// says why. When etcd comes, it is ready by itself.
func TestOutage_FirstBootWithoutEtcdWaits(t *testing.T) {
	t.Parallel()
	c := newCluster(t, builtFast(t), 1, 1)
	n := c.Nodes[0]
	c.Etcd.Member(0).Kill()
	n.Start(t)
	awayReported(t, n)
	asked := func(path string) int {
		v := cluster.Visit(t, n)
		p, err := v.Get("https://" + n.Address(n.APIPort) + path)
		cluster.Must(t, err)
		return p.Status
	}
	if alive, ready := asked("/healthz"), asked("/readyz"); alive != 200 || ready != 503 {
		t.Errorf("/healthz answers %d, /readyz %d", alive, ready)
	}
	began := time.Now()
	_, err := n.API(t).CreateSite(context.Background(), api.SiteCreate{Domain: "early.example.org"})
	if _, err := cluster.Refused(err, time.Since(began)); err != nil {
		t.Errorf("a change: %v", err)
	}
	c.Etcd.Member(0).Restart(t)
	c.Etcd.AwaitReady(t)
	cluster.Must(t, cluster.Poll(cluster.StartTimeout, "it is ready", func() error {
		if status := asked("/readyz"); status != 200 {
			return fmt.Errorf("/readyz answers %d", status)
		}
		return nil
	}))
	addSite(t, n.API(t), "docs.example.org")
	c.Serves(t, 20*time.Second, "docs.example.org")
}
