package leader

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/etcdclient"
	"statiko/state"
	"statiko/test/etcdtest"
)

// quick lets etcd grant short leases.
var quick = etcdtest.Options{Flags: []string{"--heartbeat-interval=50", "--election-timeout=500"}}

// testTTL is short for tests, and as long as a busy machine needs.
const testTTL = 2 * time.Second

// Keys of the tests.
const (
	testPrefix = "/statiko/v1/leader"
	// workKey is written by the duties, each time with the writer's name and term.
	workKey = "/work"
)

// node is a node that takes part, in this process.
type node struct {
	name     string
	client   *etcdclient.Client
	sessions *etcdclient.Sessions
	elector  *Etcd
	terms    chan *ran
	// late are the writers of the terms, which may outlive their duties.
	late sync.WaitGroup
	// stopElector ends the elector as SIGTERM does, and waits; stop the sessions too.
	stopElector, stop func()
}

// ran is a term as its duty saw it.
type ran struct {
	node  *node
	ctx   context.Context
	fence state.KeyedFence
	began time.Time
	// refused is closed when etcd has refused a write of the term, which its duty sends until then and after the
	// end of its context.
	refused chan struct{}
	// ended is closed at the end of the context, after at was set.
	ended chan struct{}
	at    time.Time
}

// key returns the revision that the term is known by.
func (r *ran) created() int64 {
	_, created := r.fence.Proof()
	return created
}

func startNode(t *testing.T, name string, endpoints []string, change ...func(*Options)) *node {
	t.Helper()
	c, err := etcdclient.Open(etcdclient.Options{Endpoints: endpoints, Timeout: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return startNodeOn(t, name, c, change...)
}

func startNodeOn(t *testing.T, name string, c *etcdclient.Client, change ...func(*Options)) *node {
	t.Helper()
	n := &node{name: name, client: c, terms: make(chan *ran, 1000)}
	n.sessions = etcdclient.NewSessions(c, etcdclient.SessionOptions{TTL: testTTL})
	o := Options{Client: c, Sessions: n.sessions, Prefix: testPrefix, NodeName: name, InstanceID: name + "-1"}
	for _, f := range change {
		f(&o)
	}
	var err error
	if n.elector, err = NewEtcd(o); err != nil {
		t.Fatal(err)
	}
	leading, endLeading := context.WithCancel(context.Background())
	living, endLiving := context.WithCancel(context.Background())
	electorDone, sessionsDone := make(chan error, 1), make(chan error, 1)
	go func() { sessionsDone <- n.sessions.Run(living) }()
	go func() { electorDone <- n.elector.Run(leading, map[string]Duty{"work": n.work}) }()
	n.stopElector = sync.OnceFunc(func() {
		endLeading()
		if err := <-electorDone; err != nil {
			t.Errorf("the elector of %s: %v", name, err)
		}
	})
	n.stop = sync.OnceFunc(func() {
		n.stopElector()
		endLiving()
		if err := <-sessionsDone; err != nil {
			t.Errorf("the sessions of %s: %v", name, err)
		}
		late := make(chan struct{})
		go func() {
			defer close(late)
			n.late.Wait()
		}()
		select {
		case <-late:
		case <-time.After(2 * time.Second): // etcd does not answer
		}
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		<-late
	})
	t.Cleanup(n.stop)
	return n
}

// work is a duty that writes all the time under its fence and does not stop at the end of its context, so that the
// fence alone keeps it from writing. It ends when etcd refuses.
func (n *node) work(ctx context.Context, f state.Fence) error {
	fence, ok := f.(state.KeyedFence)
	if !ok {
		return fmt.Errorf("the fence is a %T", f)
	}
	r := &ran{n, ctx, fence, time.Now(), make(chan struct{}), make(chan struct{}), time.Time{}}
	context.AfterFunc(ctx, func() {
		r.at = time.Now()
		close(r.ended)
	})
	n.terms <- r
	etcd, err := n.client.Etcd()
	if err != nil {
		return err
	}
	n.late.Go(func() {
		for i := 0; ; i++ {
			made, err := write(etcd, n.name, fence, i)
			if err == nil && !made {
				close(r.refused)
				return
			}
			if err != nil && ctx.Err() != nil && n.closed() {
				return
			}
			time.Sleep(5 * time.Millisecond) // an even pace
		}
	})
	<-ctx.Done()
	return ctx.Err()
}

func (n *node) closed() bool {
	_, err := n.client.Etcd()
	return err != nil
}

// write makes a fenced change, as a store does.
func write(etcd *clientv3.Client, name string, fence state.KeyedFence, i int) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	key, created := fence.Proof()
	r, err := etcd.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", created)).
		Then(clientv3.OpPut(workKey, fmt.Sprintf("%s %d %d", name, created, i))).Commit()
	if err != nil {
		return false, err
	}
	return r.Succeeded, nil
}

// term waits for the node's next term.
func (n *node) term(t *testing.T, within time.Duration) *ran {
	t.Helper()
	select {
	case r := <-n.terms:
		return r
	case <-time.After(within):
		t.Fatalf("%s does not lead after %v; it knows %+v", n.name, within, n.elector.State())
		return nil
	}
}

// over waits for the term's end, and until its writes are refused.
func (r *ran) over(t *testing.T, within time.Duration) {
	t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	for r.ctx.Err() == nil {
		select {
		case <-r.ctx.Done():
		case <-late.C:
			t.Fatalf("the term of %s is not over after %v", r.node.name, within)
		}
	}
	if !r.fence.Over() {
		t.Error("the context of the term has ended, its fence has not")
	}
	select {
	case <-r.refused:
	case <-time.After(10 * time.Second):
		t.Fatalf("the writes of %s are not refused", r.node.name)
	}
}

// anyTerm waits until one of the nodes leads.
func anyTerm(t *testing.T, within time.Duration, nodes ...*node) *ran {
	t.Helper()
	deadline := time.Now().Add(within)
	for time.Now().Before(deadline) {
		for _, n := range nodes {
			select {
			case r := <-n.terms:
				return r
			default:
			}
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("no node leads after %v", within)
	return nil
}

func eventually(t *testing.T, within time.Duration, check func() error) {
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
		time.Sleep(5 * time.Millisecond)
	}
}

// knows waits until the node says that the named node leads; "" is nobody.
func (n *node) knows(t *testing.T, leader string) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		name, ok := n.elector.Leader()
		if name != leader || ok != (leader != "") {
			return fmt.Errorf("%s knows %q, %v as leader, not %q", n.name, name, ok, leader)
		}
		return nil
	})
}

// waits waits until the node stands in the queue behind the leader.
func (n *node) waits(t *testing.T, etcd *clientv3.Client) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		r, err := etcd.Get(t.Context(), testPrefix+"/election/", clientv3.WithPrefix())
		if err != nil {
			return err
		}
		for _, kv := range r.Kvs {
			if strings.Contains(string(kv.Value), strconv.Quote(n.name)) {
				return nil
			}
		}
		return errors.New(n.name + " is not in the queue")
	})
}

// oneAtATime reads the history of all fenced writes and fails the test if one term wrote after a later one.
func oneAtATime(t *testing.T, etcd *clientv3.Client) (writes, terms int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	now, err := etcd.Get(ctx, workKey)
	if err != nil {
		t.Fatal(err)
	}
	if len(now.Kvs) == 0 {
		t.Fatal("nobody wrote anything")
	}
	newest, last := now.Kvs[0].ModRevision, int64(0)
	for r := range etcd.Watch(ctx, workKey, clientv3.WithRev(1)) {
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Events {
			var name string
			var created int64
			var i int
			if _, err := fmt.Sscan(string(e.Kv.Value), &name, &created, &i); err != nil {
				t.Fatalf("%q: %v", e.Kv.Value, err)
			}
			switch {
			case created < last:
				t.Fatalf("revision %d: term %d of %s writes after term %d began to", e.Kv.ModRevision, created, name, last)
			case created > last:
				terms++
			}
			last = created
			writes++
			if e.Kv.ModRevision >= newest {
				return writes, terms
			}
		}
	}
	t.Fatal("the history could not be read")
	return 0, 0
}

func countLeases(t *testing.T, etcd *clientv3.Client) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := etcd.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return len(r.Leases)
}

func disallowed(o *Options) { o.Disallow = true }

func logging(l *zap.Logger) func(*Options) { return func(o *Options) { o.Log = l } }
