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
		c := &cluster{etcd: shared.etcd}
		c.nodes = newNodesOn(t, builtFast(t), shared.etcd, 3, fmt.Sprintf("state.etcd.keyPrefix=/fresh-%d", round))
		began := time.Now()
		c.start(t)
		up := time.Since(began)
		domain := siteNumber("s", round).Domain
		addSite(t, apiOf(t, c.nodes[round%3]), domain)
		c.serves(t, 20*time.Second, domain)
		served := time.Since(began)
		var all sync.WaitGroup
		for _, n := range c.nodes {
			all.Go(func() {
				if err := n.end(); err != nil {
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
		first := c.leader(t, 10*time.Second, c.nodes...)
		began := time.Now()
		first.kill()
		second, err := c.awaitLeader(leaseTTL+slack, first, c.others(first)...)
		must(t, err)
		t.Logf("killed: the next leads after %s", time.Since(began).Round(time.Millisecond))
		domain := siteNumber("killed", round).Domain
		addSite(t, apiOf(t, c.others(first)[0]), domain)
		serveAlike(t, 10*time.Second, domain, c.others(first)...)

		comesBackAtOnce(t, first)
		c.serves(t, 10*time.Second, domain)

		finish := c.uploadTo(t, second)
		began = time.Now()
		must(t, second.cmd.Process.Signal(syscall.SIGTERM))
		_, err = c.awaitLeader(slack, second, c.others(second)...)
		must(t, err)
		t.Logf("terminated in the middle of an upload: the next leads after %s", time.Since(began).Round(time.Millisecond))
		finish()
		<-second.ended
		t.Logf("it has ended after %s", time.Since(began).Round(time.Millisecond))
		domain = siteNumber("terminated", round).Domain
		addSite(t, apiOf(t, c.others(second)[0]), domain)
		serveAlike(t, 10*time.Second, domain, c.others(second)...)
		second.start(t)
		must(t, second.healthy())
		c.serves(t, 10*time.Second, domain)
	}
	c.pairsMadeOnce(t)
}

// uploadTo begins to send a bundle to the node, and returns how to end that: what was sent is no archive.
func (c *cluster) uploadTo(t testing.TB, n *node) (finish func()) {
	t.Helper()
	client, begun, rest, done := apiOf(t, n), make(chan struct{}), make(chan struct{}), make(chan struct{})
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
func comesBackAtOnce(t testing.TB, n *node) {
	t.Helper()
	began := time.Now()
	n.start(t)
	client := apiOf(t, n)
	must(t, poll(slack, n.name()+" has its own name", func() error {
		list, err := client.Nodes(context.Background())
		if err != nil {
			return err
		}
		for _, m := range list {
			if m.Self && m.Up && m.Since != nil && m.Since.After(began.Add(-slack)) {
				return nil
			}
		}
		return fmt.Errorf("it is not up: %+v", list)
	}))
	t.Logf("killed and restarted, %s has its name again after %s", n.name(), time.Since(began).Round(time.Millisecond))
}

// A node that is killed and started again at once has its name back while its old lease lives.
func TestNode_KilledTakesItsNameBackAtOnce(t *testing.T) {
	c := startCluster(t, builtFast(t), 2)
	n := c.others(c.leader(t, 10*time.Second, c.nodes...))[0]
	for range 3 {
		n.kill()
		comesBackAtOnce(t, n)
	}
	list, err := apiOf(t, c.nodes[0]).Nodes(context.Background())
	if err != nil || len(list) != 2 {
		t.Errorf("the members are %+v, %v", list, err)
	}
}

// The leader freezes for three times its lease, and thaws: another has led meanwhile, the old one steps down, and no
// certificate was made twice.
func TestLeader_FrozenPastItsLease(t *testing.T) {
	t.Parallel()
	c := startCluster(t, builtFast(t), 3)
	frozen := c.leader(t, 10*time.Second, c.nodes...)
	others := c.others(frozen)
	client := apiOf(t, others[0])
	// Right before, so that the leader is in the middle of its work.
	for i := range 20 {
		addSite(t, client, siteNumber("before", i).Domain)
	}
	began := time.Now()
	thaw := frozen.freeze(t)
	for i := range 20 {
		addSite(t, client, siteNumber("during", i).Domain)
	}
	next, err := c.awaitLeader(leaseTTL+slack, frozen, others...)
	must(t, err)
	t.Logf("frozen: the next leads after %s", time.Since(began).Round(time.Millisecond))
	serials := map[string]string{}
	for i := range 20 {
		for _, what := range []string{"before", "during"} {
			domain := siteNumber(what, i).Domain
			serials[domain] = serveAlike(t, 10*time.Second, domain, others...)
		}
	}
	within(began.Add(3 * leaseTTL))
	thaw()
	thawed := time.Now()
	if l, err := c.awaitLeader(leaseTTL+slack, frozen, c.nodes...); err != nil || l != next {
		t.Errorf("%v leads after the thaw, %v", l, err)
	}
	t.Logf("the old leader knows the new one %s after its thaw", time.Since(thawed).Round(time.Millisecond))
	for i := range 20 {
		addSite(t, apiOf(t, frozen), siteNumber("after", i).Domain)
	}
	for domain, serial := range serials {
		if s := c.serves(t, 10*time.Second, domain); s != serial {
			t.Errorf("%s has the serial number %s, and had %s", domain, s, serial)
		}
	}
	for i := range 20 {
		c.serves(t, 10*time.Second, siteNumber("after", i).Domain)
	}
	c.pairsMadeOnce(t)
}

// pairsMadeOnce is an error if a secret was written more than once.
func (c *cluster) pairsMadeOnce(t testing.TB) {
	t.Helper()
	r, err := c.etcd.Client(t).Get(context.Background(), "/statiko/v1/g/", clientv3.WithPrefix())
	must(t, err)
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
	etcd := newCluster(t, builtFast(t), 1, 0).etcd
	key, secret := "auth.psk.key=the-key-of-both-nodes-is-long-enough", "secretsEncryptionKey=MDEyMzQ1Njc4OWFiY2RlZg=="
	c := &cluster{etcd: etcd, nodes: newNodesOn(t, builtFast(t), etcd, 1, key, secret)}
	led := newNodesOn(t, builtFast(t), etcd, 1, key, secret, "disallowLeadership=true")[0]
	led.settings["nodeName"] = "edge-2"
	must(t, led.write())
	c.nodes = append(c.nodes, led)
	c.start(t)
	client := apiOf(t, led)
	ctx := context.Background()
	addSite(t, client, "docs.example.org")
	serial := c.serves(t, 20*time.Second, "docs.example.org")
	must(t, client.ImportCertificate(ctx, selfMade(t, "wild", "*.example.org")))
	must(t, c.nodes[0].stop())
	must(t, poll(slack, "nobody leads", func() error {
		l, err := client.Leader(ctx)
		if err == nil && (l.Name != "" || l.NobodySince == nil) {
			err = fmt.Errorf("%+v", *l)
		}
		return err
	}))

	addSite(t, client, "waits.example.org")
	_, err := client.CreateSite(ctx, api.SiteCreate{Domain: "own.example.org", TLS: &api.SiteTLS{Type: "imported", Certificate: "wild"}})
	must(t, err)
	must(t, poll(10*time.Second, "the site waits for a leader and says so", func() error {
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
	serveAlike(t, 10*time.Second, "own.example.org", led)
	if s := serveAlike(t, time.Second, "docs.example.org", led); s != serial {
		t.Errorf("the serial number is %s, and was %s", s, serial)
	}

	began := time.Now()
	c.nodes[0].start(t)
	c.serves(t, 10*time.Second, "waits.example.org")
	t.Logf("a node that may lead was started: the certificate is there after %s", time.Since(began).Round(time.Millisecond))
	if l := c.leader(t, time.Second, c.nodes...); l == led {
		t.Error("the node leads that may not")
	}
}
