package test

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// One of three members of etcd freezes: nothing fails. Two are killed (weakness W22 of the earlier program, whose
// nodes died of it): changes are refused, sites are served. They come back: all is as before.
func TestW22_MajorityOfEtcdLost(t *testing.T) {
	t.Parallel()
	c := newCluster(t, built(t), 3, 2)
	c.start(t)
	addSite(t, apiOf(t, c.nodes[0]), "docs.example.org")
	c.serves(t, 20*time.Second, "docs.example.org")

	frozen := c.etcd.Member(0)
	frozen.Stop(t)
	for i, n := range c.nodes {
		client := apiOf(t, n)
		must(t, poll(10*time.Second, "a change while a member is frozen, through "+n.name(), func() error {
			_, err := client.CreateSite(context.Background(), siteNumber("frozen", i))
			return err
		}))
	}
	frozen.Cont(t)
	c.etcd.AwaitReady(t)
	c.haveExactly(t, 10*time.Second, "docs.example.org", "frozen-0.example.org", "frozen-1.example.org")

	importLoadPair(t, c.nodes[0])
	l := startLoad(t, "docs.example.org", c.nodes...)
	must(t, poll(20*time.Second, "changes go on", func() error {
		_, err := apiOf(t, c.nodes[0]).CreateSite(context.Background(), siteNumber("before", 0))
		return err
	}))
	// A site that waits for its certificate would be a reason for /status to be 503.
	for _, domain := range []string{"before-0.example.org", "frozen-0.example.org", "frozen-1.example.org"} {
		c.serves(t, 20*time.Second, domain)
	}
	c.etcd.Member(1).Kill()
	c.etcd.Member(2).Kill()
	o := outage{from: time.Now()}
	for _, n := range c.nodes {
		awayReported(t, n)
	}
	within(o.from.Add(outageLength() * 3 / 4))
	o.to = time.Now()
	c.etcd.Member(1).Restart(t)
	c.etcd.Member(2).Restart(t)
	c.etcd.AwaitReady(t)
	c.converges(t)
	l.judge(t, o, c.nodes...)
}

// The history is compacted under the nodes' watches, which may be behind (also weakness W22): they go on.
func TestW22_CompactionUnderWatches(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	etcd := c.etcd.Client(t)
	thaw := c.nodes[1].freeze(t)
	want := []string{}
	client := apiOf(t, c.nodes[0])
	for i := range 30 {
		site := siteNumber("s", i)
		addSite(t, client, site.Domain)
		want = append(want, site.Domain)
	}
	r, err := etcd.Get(context.Background(), "x")
	must(t, err)
	_, err = etcd.Compact(context.Background(), r.Header.Revision, clientv3.WithCompactPhysical())
	must(t, err)
	within(time.Now().Add(leaseTTL + slack))
	thaw()
	began := time.Now()
	addSite(t, client, "last.example.org")
	c.haveExactly(t, 20*time.Second, append(want, "last.example.org")...)
	c.serves(t, 20*time.Second, "last.example.org")
	t.Logf("the node that was behind the compaction is up to date after %s", time.Since(began).Round(time.Millisecond))
}
