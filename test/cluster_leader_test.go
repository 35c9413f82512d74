package test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/api"
	"statiko/test/cluster"
)

// Three nodes are started at once on an empty etcd (weakness W23 of the earlier program, of which 4 of 27 starts
// died): all come up, one leads, and a site gets its certificate.
func TestW23_FreshClusterStartsTogether(t *testing.T) {
	t.Parallel()
	rounds := 10
	if soak() {
		rounds = 50
	}
	shared := newCluster(t, builtFast(t), 1, 0)
	var times []string
	for round := range rounds {
		c := &cluster.Cluster{Etcd: shared.Etcd}
		c.Nodes = newNodesOn(t, builtFast(t), shared.Etcd, 3, fmt.Sprintf("state.etcd.keyPrefix=/fresh-%d", round))
		began := time.Now()
		c.Start(t)
		up := time.Since(began)
		domain := siteNumber("s", round).Domain
		addSite(t, c.Nodes[round%3].API(t), domain)
		c.Serves(t, 20*time.Second, domain)
		served := time.Since(began)
		var all sync.WaitGroup
		for _, n := range c.Nodes {
			all.Go(func() {
				if err := n.End(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		times = append(times, fmt.Sprintf("%.1f/%.1f/%.1f", up.Seconds(), served.Seconds(), time.Since(began).Seconds()))
	}
	t.Logf("seconds until one led, until a new site was served by all, and until all had ended: %s", strings.Join(times, " "))
}

// The leader is killed, and is terminated: another leads in time, and goes on making certificates. A node that was
// killed takes its own name back at once.
func TestLeader_KilledAndTerminated(t *testing.T) {
	c := startCluster(t, builtFast(t), 3)
	rounds := 1
	if soak() {
		rounds = 20
	}
	for round := range rounds {
		first := c.Leader(t, 10*time.Second, c.Nodes...)
		began := time.Now()
		first.Kill()
		second, err := c.AwaitLeader(cluster.LeaseTTL+cluster.Slack, first, c.Others(first)...)
		cluster.Must(t, err)
		t.Logf("killed: the next leads after %s", time.Since(began).Round(time.Millisecond))
		domain := siteNumber("killed", round).Domain
		addSite(t, c.Others(first)[0].API(t), domain)
		cluster.ServeAlike(t, 10*time.Second, domain, c.Others(first)...)

		comesBackAtOnce(t, first)
		c.Serves(t, 10*time.Second, domain)

		finish := uploadTo(t, c, second)
		began = time.Now()
		cluster.Must(t, second.Cmd.Process.Signal(syscall.SIGTERM))
		_, err = c.AwaitLeader(cluster.Slack, second, c.Others(second)...)
		cluster.Must(t, err)
		t.Logf("terminated in the middle of an upload: the next leads after %s", time.Since(began).Round(time.Millisecond))
		finish()
		<-second.Ended
		t.Logf("it has ended after %s", time.Since(began).Round(time.Millisecond))
		domain = siteNumber("terminated", round).Domain
		addSite(t, c.Others(second)[0].API(t), domain)
		cluster.ServeAlike(t, 10*time.Second, domain, c.Others(second)...)
		second.Start(t)
		cluster.Must(t, second.Healthy())
		c.Serves(t, 10*time.Second, domain)
	}
	pairsMadeOnce(t, c)
}

// uploadTo begins to send a bundle to the node, and returns how to end that: what was sent is no archive.
func uploadTo(t testing.TB, c *cluster.Cluster, n *cluster.Node) (finish func()) {
	t.Helper()
	client, begun, rest, done := n.API(t), make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		first := sync.OnceFunc(func() { close(begun) })
		r := io.MultiReader(strings.NewReader("not an archive"), readerFunc(func([]byte) (int, error) {
			first()
			<-rest
			return 0, io.EOF
		}))
		if err := client.UploadApp(context.Background(), "never", "tar.gz", r, nil); err == nil {
			t.Error("what is no archive was accepted")
		}
	}()
	finish = sync.OnceFunc(func() {
		close(rest)
		<-done
	})
	t.Cleanup(finish)
	<-begun
	return finish
}

// readerFunc is a reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// comesBackAtOnce starts a node right after it was killed: it is registered again while its old lease lives.
func comesBackAtOnce(t testing.TB, n *cluster.Node) {
	t.Helper()
	began := time.Now()
	n.Start(t)
	client := n.API(t)
	cluster.Must(t, cluster.Poll(cluster.Slack, n.Name()+" has its own name", func() error {
		list, err := client.Nodes(context.Background())
		if err != nil {
			return err
		}
		for _, m := range list {
			if m.Self && m.Up && m.Since != nil && m.Since.After(began.Add(-cluster.Slack)) {
				return nil
			}
		}
		return fmt.Errorf("it is not up: %+v", list)
	}))
	t.Logf("killed and restarted, %s has its name again after %s", n.Name(), time.Since(began).Round(time.Millisecond))
}

// A node that is killed and started again at once has its name back while its old lease lives.
func TestNode_KilledTakesItsNameBackAtOnce(t *testing.T) {
	c := startCluster(t, builtFast(t), 2)
	n := c.Others(c.Leader(t, 10*time.Second, c.Nodes...))[0]
	for range 3 {
		n.Kill()
		comesBackAtOnce(t, n)
	}
	list, err := c.Nodes[0].API(t).Nodes(context.Background())
	if err != nil || len(list) != 2 {
		t.Errorf("the members are %+v, %v", list, err)
	}
}

// The leader freezes for three times its lease, and thaws: another has led meanwhile, the old one steps down, and no
// certificate was made twice.
func TestLeader_FrozenPastItsLease(t *testing.T) {
	t.Parallel()
	c := startCluster(t, builtFast(t), 3)
	frozen := c.Leader(t, 10*time.Second, c.Nodes...)
	others := c.Others(frozen)
	client := others[0].API(t)
	// Right before, so that the leader is in the middle of its work.
	for i := range 20 {
		addSite(t, client, siteNumber("before", i).Domain)
	}
	began := time.Now()
	thaw := frozen.Freeze(t)
	for i := range 20 {
		addSite(t, client, siteNumber("during", i).Domain)
	}
	next, err := c.AwaitLeader(cluster.LeaseTTL+cluster.Slack, frozen, others...)
	cluster.Must(t, err)
	t.Logf("frozen: the next leads after %s", time.Since(began).Round(time.Millisecond))
	serials := map[string]string{}
	for i := range 20 {
		for _, what := range []string{"before", "during"} {
			domain := siteNumber(what, i).Domain
			serials[domain] = cluster.ServeAlike(t, 10*time.Second, domain, others...)
		}
	}
	cluster.Until(began.Add(3 * cluster.LeaseTTL))
	thaw()
	thawed := time.Now()
	if l, err := c.AwaitLeader(cluster.LeaseTTL+cluster.Slack, frozen, c.Nodes...); err != nil || l != next {
		t.Errorf("%v leads after the thaw, %v", l, err)
	}
	t.Logf("the old leader knows the new one %s after its thaw", time.Since(thawed).Round(time.Millisecond))
	for i := range 20 {
		addSite(t, frozen.API(t), siteNumber("after", i).Domain)
	}
	for domain, serial := range serials {
		if s := c.Serves(t, 10*time.Second, domain); s != serial {
			t.Errorf("%s has the serial number %s, and had %s", domain, s, serial)
		}
	}
	for i := range 20 {
		c.Serves(t, 10*time.Second, siteNumber("after", i).Domain)
	}
	pairsMadeOnce(t, c)
}

// pairsMadeOnce is an error if a secret was written more than once.
func pairsMadeOnce(t testing.TB, c *cluster.Cluster) {
	t.Helper()
	r, err := c.Etcd.Client(t).Get(context.Background(), "/statiko/v1/g/", clientv3.WithPrefix())
	cluster.Must(t, err)
	count := 0
	for _, kv := range r.Kvs {
		if !strings.Contains(string(kv.Key), "/secrets/") {
			continue
		}
		count++
		if kv.Version != 1 {
			t.Errorf("%s was written %d times", shortKey(kv), kv.Version)
		}
	}
	if count == 0 {
		t.Error("there are no secrets")
	}
	t.Logf("%d secrets, each written once", count)
}

func shortKey(kv *mvccpb.KeyValue) string { return fmt.Sprintf("%.100s", kv.Key) }

// Only a node that may not lead is left: sites are served and changed, and one without certificate waits for a leader
// and says so. A node that may lead returns, and the site gets its certificate.
func TestLeader_OnlyNodesThatMayNotLead(t *testing.T) {
	t.Parallel()
	etcd := newCluster(t, builtFast(t), 1, 0).Etcd
	key, secret := "auth.psk.key=the-key-of-both-nodes-is-long-enough", "secretsEncryptionKey=MDEyMzQ1Njc4OWFiY2RlZg=="
	c := &cluster.Cluster{Etcd: etcd, Nodes: newNodesOn(t, builtFast(t), etcd, 1, key, secret)}
	led := newNodesOn(t, builtFast(t), etcd, 1, key, secret, "disallowLeadership=true")[0]
	led.Settings["nodeName"] = "edge-2"
	cluster.Must(t, led.Write())
	c.Nodes = append(c.Nodes, led)
	c.Start(t)
	client := led.API(t)
	ctx := context.Background()
	addSite(t, client, "docs.example.org")
	serial := c.Serves(t, 20*time.Second, "docs.example.org")
	cluster.Must(t, client.ImportCertificate(ctx, cluster.SelfMade("wild", "*.example.org")))
	cluster.Must(t, c.Nodes[0].Stop())
	cluster.Must(t, cluster.Poll(cluster.Slack, "nobody leads", func() error {
		l, err := client.Leader(ctx)
		if err == nil && (l.Name != "" || l.NobodySince == nil) {
			err = fmt.Errorf("%+v", *l)
		}
		return err
	}))

	addSite(t, client, "waits.example.org")
	_, err := client.CreateSite(ctx, api.SiteCreate{Domain: "own.example.org", TLS: &api.SiteTLS{Type: "imported", Certificate: "wild"}})
	cluster.Must(t, err)
	cluster.Must(t, cluster.Poll(10*time.Second, "the site waits for a leader and says so", func() error {
		s, err := client.Status(ctx, "waits.example.org", false)
		if err != nil {
			return err
		}
		if len(s.Health) != 1 || s.Health[0].Healthy || !strings.Contains(s.Health[0].Error, "waits for the leader") {
			return fmt.Errorf("%+v", s.Health)
		}
		if s.Leader != "" {
			return fmt.Errorf("%s leads", s.Leader)
		}
		return nil
	}))
	if s, err := client.Status(ctx, "waits.example.org", false); err == nil {
		t.Logf("it says: %s", s.Health[0].Error)
	}
	cluster.ServeAlike(t, 10*time.Second, "own.example.org", led)
	if s := cluster.ServeAlike(t, time.Second, "docs.example.org", led); s != serial {
		t.Errorf("the serial number is %s, and was %s", s, serial)
	}

	began := time.Now()
	c.Nodes[0].Start(t)
	c.Serves(t, 10*time.Second, "waits.example.org")
	t.Logf("a node that may lead was started: the certificate is there after %s", time.Since(began).Round(time.Millisecond))
	if l := c.Leader(t, time.Second, c.Nodes...); l == led {
		t.Error("the node leads that may not")
	}
}
