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
	addSite(t, apiOf(t, c.nodes[0]), "docs.example.org")
	c.serves(t, 20*time.Second, "docs.example.org")
	importLoadPair(t, c.nodes[0])
	l := startLoad(t, "docs.example.org", c.nodes...)
	must(t, poll(10*time.Second, "changes on both nodes", func() error {
		list, err := domains(c.nodes[1])
		if err == nil && len(list) < 10 {
			err = fmt.Errorf("%d sites", len(list))
		}
		return err
	}))

	c.etcd.Member(0).Kill()
	o := outage{from: time.Now()}
	for _, n := range c.nodes {
		awayReported(t, n)
	}
	within(o.from.Add(outageLength()))
	for _, n := range c.nodes {
		awayReported(t, n)
	}
	o.to = time.Now()
	c.etcd.Member(0).Restart(t)
	c.etcd.AwaitReady(t)
	c.converges(t)
	l.judge(t, o, c.nodes...)
	c.serves(t, 10*time.Second, l.lastAdded())
}

// Both nodes are started again while etcd is away: they serve what they served, from their copies.
func TestOutage_NodesStartedWithoutEtcdServeOn(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	addSite(t, apiOf(t, c.nodes[0]), "docs.example.org", "www.example.org")
	importLoadPair(t, c.nodes[1])
	serial := c.serves(t, 20*time.Second, "docs.example.org")
	// The copy is at most a second behind.
	within(time.Now().Add(1500 * time.Millisecond))

	c.etcd.Member(0).Kill()
	o := outage{from: time.Now()}
	for i, n := range c.nodes {
		if i == 0 {
			n.kill()
		} else {
			must(t, n.stop())
		}
	}
	for _, n := range c.nodes {
		must(t, n.launch())
	}
	for _, n := range c.nodes {
		must(t, n.open())
	}
	if again := c.serves(t, 10*time.Second, "docs.example.org"); again != serial {
		t.Errorf("the serial number is %s, and was %s", again, serial)
	}
	c.haveExactly(t, time.Second, "docs.example.org")
	for _, n := range c.nodes {
		must(t, hasCertificates(n, loadPair))
		awayReported(t, n)
	}
	l := startLoad(t, "docs.example.org", c.nodes...)
	within(o.from.Add(outageLength()))
	o.to = time.Now()
	c.etcd.Member(0).Restart(t)
	c.etcd.AwaitReady(t)
	c.converges(t)
	l.judge(t, o, c.nodes...)
	c.serves(t, 10*time.Second, l.lastAdded())
}

// within waits for a moment that is part of what a test says.
func within(moment time.Time) {
	timer := time.NewTimer(time.Until(moment))
	defer timer.Stop()
	<-timer.C
}

// noticeTimeout is how long a node may take to notice that etcd is silent, if it does not close its connections: the
// client's keepalive.
const noticeTimeout = 10 * time.Second

// awayReported waits until the node says that the state cannot be changed, and why: to everybody, with status 200.
func awayReported(t testing.TB, n *node) {
	t.Helper()
	stranger, err := api.New(api.Options{Node: "127.0.0.1", Port: n.apiPort, Insecure: true, Timeout: 10 * time.Second})
	must(t, err)
	defer stranger.Close()
	known := n.client()
	defer known.Close()
	ctx := context.Background()
	must(t, poll(noticeTimeout, n.name()+" says that etcd is away", func() error {
		var answer api.Answer
		s, err := stranger.Status(ctx, "", false, api.Observe(&answer))
		if err != nil || answer.Status != 200 {
			return final{fmt.Errorf("status %d, %v, %+v", answer.Status, err, s)}
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
		t.Errorf("%s: the cluster's status: %v, %v", n.name(), members, err)
	}
}

// convergeTimeout is how long after etcd's return changes have to work again, and to be everywhere.
const convergeTimeout = 2*time.Second + slack

// converges waits, from etcd's return on, until a change through each node is on all others, and all are members that
// are up.
func (c *cluster) converges(t testing.TB) {
	t.Helper()
	began := time.Now()
	for i, n := range c.nodes {
		domain := fmt.Sprintf("back-%d.example.org", i)
		client := apiOf(t, n)
		must(t, poll(time.Until(began.Add(convergeTimeout)), "a change through "+n.name(), func() error {
			_, err := client.CreateSite(context.Background(), api.SiteCreate{Domain: domain})
			return err
		}))
		for _, other := range c.nodes {
			must(t, poll(time.Until(began.Add(convergeTimeout)), domain+" on "+other.name(), func() error {
				list, err := domains(other)
				if err == nil && !slices.Contains(list, domain) {
					err = fmt.Errorf("%d others are there", len(list))
				}
				return err
			}))
		}
	}
	t.Logf("%s after etcd's return, changes through each node are on all", time.Since(began).Round(time.Millisecond))
	for _, n := range c.nodes {
		client := apiOf(t, n)
		must(t, poll(leaseTTL+5*time.Second, "all members are up, for "+n.name(), func() error {
			members, err := client.ClusterStatus(context.Background())
			if err != nil {
				return final{err}
			}
			up := 0
			for _, m := range members {
				if m.State != api.MemberUp || !m.Store.Healthy {
					return fmt.Errorf("%s is %s (%s), its store: %+v", m.Name, m.State, m.Error, m.Store)
				}
				up++
			}
			if up != len(c.nodes) {
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
