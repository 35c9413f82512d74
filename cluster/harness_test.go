package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"statiko/api"
	"statiko/certs"
	"statiko/etcdclient"
	"statiko/etcdstore"
	"statiko/state"
	"statiko/test/etcdtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for leases to end more than they work.
	if err := flag.Set("test.parallel", "6"); err != nil {
		log.Fatal(err)
	}
	goleak.VerifyTestMain(m)
}

// quick lets etcd grant leases of two seconds.
var quick = []string{"--heartbeat-interval=50", "--election-timeout=500"}

// ttl is short for tests, and as long as a busy machine needs.
const ttl = 2 * time.Second

var testKey = []byte("0123456789abcdef0123456789abcdef")

func startEtcd(t testing.TB) *etcdtest.Cluster {
	t.Helper()
	return etcdtest.Start(t, etcdtest.Options{Flags: quick})
}

// testNode is a node with a real store, real sessions and a real HTTPS server; only what it applies is played.
type testNode struct {
	t        testing.TB
	name     string
	id       string
	client   *etcdclient.Client
	store    *etcdstore.Store
	sessions *etcdclient.Sessions
	cluster  *Cluster
	api      *httptest.Server
	pin      atomic.Pointer[string]
	// stuckAt, if not 0, is the revision at which the node stopped applying; fault is what it says of a site.
	stuckAt atomic.Int64
	fault   atomic.Pointer[string]
	// silent has the API accept calls and never answer.
	silent atomic.Bool

	once sync.Once
	end  func(abrupt bool)
}

// startNode starts a node and does not wait for it. change may change the options.
func startNode(t testing.TB, endpoint, name, id string, change func(*Options)) *testNode {
	t.Helper()
	n := &testNode{t: t, name: name, id: id}
	n.serve()
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n.client, err = etcdclient.Open(etcdclient.Options{Endpoints: []string{endpoint}, Timeout: 3 * time.Second})
	must()
	n.store, err = etcdstore.Open(etcdstore.Options{Client: n.client, Prefix: "/test", NodeName: name})
	must()
	o := Options{
		Store: n.store, Client: n.client, Prefix: "/test", NodeName: name, InstanceID: id, Key: testKey,
		Address: n.api.URL, Pin: func() string { return *n.pin.Load() }, Version: "v1", WebServer: "builtin", Local: n.local, Log: zap.NewNop(),
	}
	if change != nil {
		change(&o)
	}
	if o.Sessions == nil {
		o.Sessions = etcdclient.NewSessions(n.client, etcdclient.SessionOptions{TTL: ttl})
	}
	n.sessions = o.Sessions
	n.cluster, err = New(o)
	must()

	ctx, stop := context.WithCancel(context.Background())
	sessionCtx, stopSessions := context.WithCancel(context.Background())
	done, sessionsDone := make(chan error, 1), make(chan error, 1)
	go func() { done <- n.cluster.Run(ctx) }()
	go func() { sessionsDone <- n.sessions.Run(sessionCtx) }()
	n.end = func(abrupt bool) {
		n.api.CloseClientConnections()
		n.api.Close()
		if abrupt {
			// Nothing that the node would like to say reaches etcd any more.
			_ = n.client.Close()
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("%s: Run: %v", name, err)
		}
		stopSessions()
		if err := <-sessionsDone; err != nil {
			t.Errorf("%s: sessions: %v", name, err)
		}
		_ = n.store.Close()
		_ = n.client.Close()
		n.cluster.peers.close()
	}
	t.Cleanup(n.stop)
	return n
}

// stop ends the node as SIGTERM does; kill as a crash does.
func (n *testNode) stop() { n.once.Do(func() { n.end(false) }) }
func (n *testNode) kill() { n.once.Do(func() { n.end(true) }) }

// serve opens the node's API, under a key of its own.
func (n *testNode) serve() {
	n.t.Helper()
	n.api = httptest.NewUnstartedServer(http.HandlerFunc(n.answer))
	n.api.Config.ErrorLog = log.New(io.Discard, "", 0) // callers hang up on a wrong key
	pair, pin := newKey(n.t)
	n.pin.Store(&pin)
	n.api.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	n.api.EnableHTTP2 = true
	n.api.StartTLS()
}

func newKey(t testing.TB) (tls.Certificate, string) {
	t.Helper()
	cert, key, err := certs.SelfSigned(certs.Request{Names: []string{"node.test"}})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair, api.PinOf(pair.Leaf)
}

func (n *testNode) answer(w http.ResponseWriter, r *http.Request) {
	if n.silent.Load() {
		<-r.Context().Done()
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if _, err := n.cluster.Verify(r, body); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(api.Errorf(api.CodeUnauthorized, "%v", err))
		return
	}
	q, err := ParseQuery(r.URL.Query())
	if err != nil || r.URL.Path != StatusPath {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = json.NewEncoder(w).Encode(n.cluster.Self(r.Context(), q))
}

// local plays a node that has applied all that it knows, unless it is stuck.
func (n *testNode) local(ctx context.Context, q Query) NodeStatus {
	applied := func() int64 {
		if at := n.stuckAt.Load(); at != 0 {
			return at
		}
		return n.store.Snapshot().Revision()
	}
	s := NodeStatus{Name: n.name, Version: "v1", Leader: "a"}
	if q.Revision > 0 {
		bounded, cancel := context.WithTimeout(ctx, q.Wait)
		defer cancel()
		for {
			if s.Reached = applied() >= q.Revision; s.Reached || bounded.Err() != nil {
				break
			}
			tick, stop := context.WithTimeout(bounded, 20*time.Millisecond)
			_, _ = n.store.Wait(tick, n.store.Snapshot().Revision())
			stop()
		}
		if f := n.fault.Load(); f != nil && q.Domain != "" {
			s.Reached, s.Fault = false, *f
		}
	}
	h := n.store.Health()
	s.Applied, s.Store = applied(), api.StoreStatus{Healthy: h.Healthy, Type: h.Backend, Reason: h.Reason}
	if q.Full {
		s.Full = &api.Status{Name: n.name, Version: "v1", Store: s.Store}
	}
	return s
}

// put changes the document and returns the revision.
func (n *testNode) put(domain string) int64 {
	n.t.Helper()
	revision, err := n.store.Update(n.t.Context(), func(d *state.Draft) error { return d.Put(&state.Site{Domain: domain}) })
	if err != nil {
		n.t.Fatalf("%s: put %s: %v", n.name, domain, err)
	}
	return revision
}

// eventually waits until check returns nil.
func eventually(t testing.TB, within time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", within, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// patience is for what takes no time but that of a busy machine.
const patience = 20 * time.Second

// registered waits until the nodes are registered, and all of them know it.
func registered(t testing.TB, nodes ...*testNode) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, patience, func() error {
			if why := n.cluster.unregistered(); why != "" {
				return fmt.Errorf("%s: %s", n.name, why)
			}
			for _, other := range nodes {
				if m, ok := n.cluster.member(other.name); !ok || !m.Up || m.InstanceID != other.id {
					return fmt.Errorf("%s does not know %s: %+v", n.name, other.name, m)
				}
			}
			return nil
		})
	}
}

// find returns the status of the member with the name.
func find(t testing.TB, all []MemberStatus, name string) MemberStatus {
	t.Helper()
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("%s is not among %+v", name, all)
	return MemberStatus{}
}

// three starts three nodes that know each other.
func three(t testing.TB) (etcd *etcdtest.Cluster, a, b, c *testNode) {
	t.Helper()
	etcd = startEtcd(t)
	nodes := make([]*testNode, 3)
	for i, name := range []string{"a", "b", "c"} {
		nodes[i] = startNode(t, etcd.Endpoints()[0], name, newUUID(), nil)
	}
	registered(t, nodes...)
	return etcd, nodes[0], nodes[1], nodes[2]
}

// unused returns an address at which nobody listens.
func unused(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "https://" + l.Addr().String()
}
