package test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/test/cluster"
)

// One of three members of etcd freezes: nothing fails. Two are killed (weakness W22 of the earlier program, whose
// nodes died of it): changes are refused, sites are served. They come back: all is as before.
func TestW22_MajorityOfEtcdLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, built(t), 3, 2)
	c.Start(t)
	addSite(t, c.Nodes[0].API(t), "docs.example.org")
	c.Serves(t, 20*time.Second, "docs.example.org")

	frozen := c.Etcd.Member(0)
	frozen.Stop(t)
	for i, n := range c.Nodes {
		client := n.API(t)
		cluster.Must(t, cluster.Poll(10*time.Second, "a change while a member is frozen, through "+n.Name(), func() error {
			_, err := client.CreateSite(context.Background(), siteNumber("frozen", i))
			return err
		}))
	}
	frozen.Cont(t)
	c.Etcd.AwaitReady(t)
	c.HaveExactly(t, 10*time.Second, "docs.example.org", "frozen-0.example.org", "frozen-1.example.org")

	importLoadPair(t, c.Nodes[0])
	l := startLoad(t, "docs.example.org", c.Nodes...)
	cluster.Must(t, cluster.Poll(20*time.Second, "changes go on", func() error {
		_, err := c.Nodes[0].API(t).CreateSite(context.Background(), siteNumber("before", 0))
		return err
	}))
	// A site that waits for its certificate would be a reason for /status to be 503.
	for _, domain := range []string{"before-0.example.org", "frozen-0.example.org", "frozen-1.example.org"} {
		c.Serves(t, 20*time.Second, domain)
	}
	c.Etcd.Member(1).Kill()
	c.Etcd.Member(2).Kill()
	o := outage{from: time.Now()}
	for _, n := range c.Nodes {
		awayReported(t, n)
	}
	cluster.Until(o.from.Add(outageLength() * 3 / 4))
	o.to = time.Now()
	c.Etcd.Member(1).Restart(t)
	c.Etcd.Member(2).Restart(t)
	c.Etcd.AwaitReady(t)
	converges(t, c)
	l.judge(t, o, c.Nodes...)
}

// The history is compacted under the nodes' watches, which may be behind (also weakness W22): they go on.
func TestW22_CompactionUnderWatches(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	etcd := c.Etcd.Client(t)
	thaw := c.Nodes[1].Freeze(t)
	want := []string{}
	client := c.Nodes[0].API(t)
	for i := range 30 {
		site := siteNumber("s", i)
		addSite(t, client, site.Domain)
		want = append(want, site.Domain)
	}
	r, err := etcd.Get(context.Background(), "x")
	cluster.Must(t, err)
	_, err = etcd.Compact(context.Background(), r.Header.Revision, clientv3.WithCompactPhysical())
	cluster.Must(t, err)
	cluster.Until(time.Now().Add(cluster.LeaseTTL + cluster.Slack))
	thaw()
	began := time.Now()
	addSite(t, client, "last.example.org")
	c.HaveExactly(t, 20*time.Second, append(want, "last.example.org")...)
	c.Serves(t, 20*time.Second, "last.example.org")
	t.Logf("the node that was behind the compaction is up to date after %s", time.Since(began).Round(time.Millisecond))
}
