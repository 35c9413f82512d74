package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/test/programs"
)

// Options say how a cluster is made. The zero value is one member without TLS and authentication.
type Options struct {
	// Members is how many there are; 0 means 1.
	Members int
	// TLS has the members speak https, and demand certificates of clients.
	TLS *TLS
	// RootPassword switches etcd's authentication on, with the user root; "" leaves it off.
	RootPassword string
	// Flags are further flags of each member, as "--quota-backend-bytes=16777216".
	Flags []string
	// Durable keeps fsync, without which a member is much faster and survives everything but the machine's end.
	Durable bool
	// Program is the server to run, as [Older] returns it; "" means that of [Binary].
	Program string
}

// Cluster is a number of members that run.
type Cluster struct {
	options Options
	members []*Member
}

// startTimeout is how long a cluster may take to answer: elections on a machine that is busy.
const startTimeout = 60 * time.Second

// Start starts a cluster and returns when it takes changes. It ends with the test, and its logs are shown if the
// test failed.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	Binary(t)
	c, err := startIn(t.TempDir(), o)
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(func() { c.end(t) })
	if o.RootPassword != "" {
		c.enableAuth(t)
	}
	return c
}

// Launch starts a cluster outside of a test, with its files in a new folder below the given one, and returns when it
// takes changes. It ends with this process, or by [Cluster.End]. Options.RootPassword must be "".
func Launch(folder string, o Options) (*Cluster, error) {
	if o.RootPassword != "" {
		return nil, errors.New("authentication is switched on in tests only")
	}
	if _, err := binary(); err != nil {
		return nil, fmt.Errorf("etcd's server: %w", err)
	}
	c, err := startIn(folder, o)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	return c, nil
}

// startIn starts a cluster, on other ports if somebody has taken one in between.
func startIn(folder string, o Options) (c *Cluster, err error) {
	if o.Members == 0 {
		o.Members = 1
	}
	for range 5 {
		var own string
		if own, err = os.MkdirTemp(folder, "etcd-"); err != nil {
			return nil, err
		}
		if c, err = start(own, o); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func start(folder string, o Options) (*Cluster, error) {
	c := &Cluster{options: o}
	ports, err := programs.FreePorts(2 * o.Members)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if o.TLS != nil {
		scheme = "https"
	}
	var initial []string
	for i := range o.Members {
		m := &Member{
			cluster: c, program: o.Program, name: fmt.Sprintf("m%d", i), data: filepath.Join(folder, fmt.Sprintf("m%d", i)),
			client: fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[2*i]), peer: fmt.Sprintf("http://127.0.0.1:%d", ports[2*i+1]),
		}
		initial = append(initial, m.name+"="+m.peer)
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		m.initial = strings.Join(initial, ",")
		if err := m.start(); err != nil {
			c.kill()
			return nil, err
		}
	}
	if err := c.awaitReady(); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// kill ends all members.
func (c *Cluster) kill() {
	for _, m := range c.members {
		m.kill()
	}
}

// End ends a cluster that [Launch] started. Its files stay.
func (c *Cluster) End() { c.kill() }

func (c *Cluster) end(t testing.TB) {
	c.kill()
	if t.Failed() {
		for _, m := range c.members {
			t.Logf("the log of etcd %s ends with:\n%s", m.name, m.lastLog(8))
		}
	}
}

// Endpoints returns the members' client URLs.
func (c *Cluster) Endpoints() []string {
	var urls []string
	for _, m := range c.members {
		urls = append(urls, m.client)
	}
	return urls
}

// Members returns all members.
func (c *Cluster) Members() []*Member { return c.members }

// Member returns the member with the index, from 0.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// Client returns a client that may do everything, and ends with the test.
func (c *Cluster) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	client, err := c.open()
	if err != nil {
		t.Fatalf("open a client of etcd: %v", err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func (c *Cluster) open(endpoints ...string) (*clientv3.Client, error) {
	if len(endpoints) == 0 {
		endpoints = c.Endpoints()
	}
	config := clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop(), MaxCallSendMsgSize: 8 << 20}
	if c.options.TLS != nil {
		config.TLS = c.options.TLS.clientConfig()
	}
	if c.authenticated() {
		config.Username, config.Password = "root", c.options.RootPassword
	}
	return clientv3.New(config)
}

func (c *Cluster) authenticated() bool { return c.options.RootPassword != "" && c.members[0].auth }

// AwaitReady returns when the cluster takes changes.
func (c *Cluster) AwaitReady(t testing.TB) {
	t.Helper()
	if err := c.awaitReady(); err != nil {
		t.Fatal(err)
	}
}

func (c *Cluster) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := c.ready(ctx)
		if err == nil {
			return nil
		}
		if dead := c.dead(); dead != nil {
			return dead
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("etcd is not ready after %v: %w", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// dead returns an error if a member that should run does not.
func (c *Cluster) dead() error {
	for _, m := range c.members {
		if m.running() && m.ended() {
			return fmt.Errorf("etcd %s ended: %s", m.name, m.lastLog(5))
		}
	}
	return nil
}

// ready asks each member that runs for a linearizable read.
func (c *Cluster) ready(ctx context.Context) error {
	for _, m := range c.members {
		if !m.running() {
			continue
		}
		client, err := c.open(m.client)
		if err != nil {
			return err
		}
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		_, err = client.Get(bounded, "ready", clientv3.WithCountOnly())
		cancel()
		client.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// enableAuth makes the user root and switches authentication on.
func (c *Cluster) enableAuth(t testing.TB) {
	t.Helper()
	client := c.Client(t)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := client.UserAdd(ctx, "root", c.options.RootPassword); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UserGrantRole(ctx, "root", "root"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AuthEnable(ctx); err != nil {
		t.Fatal(err)
	}
	for _, m := range c.members {
		m.auth = true
	}
}

// Metric returns the sum of a counter of member 0, such as "etcd_mvcc_put_total", over those of its series that have all
// the labels, such as `grpc_method="Range"`.
func (c *Cluster) Metric(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if c.options.TLS != nil {
		transport.TLSClientConfig = c.options.TLS.clientConfig()
	}
	r, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(c.members[0].client + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(string(body)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' || !hasAll(rest, labels) {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(strings.TrimSpace(rest), ' ')+1:], &v); err != nil {
			t.Fatalf("metric %q: %v", line, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		t.Fatalf("etcd has no metric %s", name)
	}
	return sum
}

func hasAll(line string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(line, p) {
			return false
		}
	}
	return true
}
