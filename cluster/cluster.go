package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/etcdclient"
	"statiko/state"
)

// Options are what a Cluster works with. All but the last group are required.
type Options struct {
	// Store must be on the etcd that Client reaches, under Prefix.
	Store  state.Store
	Client *etcdclient.Client
	Prefix string
	// NodeName is this node's name, InstanceID what [InstanceID] returned.
	NodeName, InstanceID string
	// Sessions are those of the process. They must run for longer than Run does, for the node says that it stops
	// under its last one.
	Sessions *etcdclient.Sessions
	// Key is shared by all nodes: Keyring.Derive(KeyPurpose, KeySize).
	Key []byte
	// OldKeys are what the former encryption keys yield. They are accepted, and tried with nodes that refuse Key, so
	// that nodes can be given a new encryption key one after the other.
	OldKeys [][]byte
	// Address is the URL of this node's API for others; see [Address].
	Address string
	// Local answers for this node.
	Local Local

	// Pin returns that of the API's key, which may change; nil for an API without TLS.
	Pin func() string
	// Version and WebServer are as in [Record].
	Version, WebServer string
	// ForgetAfter is how long a member may be away; 0 means 24 hours.
	ForgetAfter time.Duration
	// Log may be nil; Now is the clock, nil means time.Now.
	Log *zap.Logger
	Now func() time.Time
}

// defaultForgetAfter is how long a member may be away.
const defaultForgetAfter = 24 * time.Hour

// Cluster is the [Group] of nodes that share a state in etcd. Its methods are safe for concurrent use.
type Cluster struct {
	options Options
	log     *zap.Logger
	// process is random.
	process string
	peers   *peers
	tracker tracker

	mu sync.Mutex
	// entered tells that this process held its name at least once.
	entered bool
	// absent says why the node is not registered; "" if it is.
	absent string
}

var _ Group = (*Cluster)(nil)

// New checks the options and returns a Cluster. It starts nothing, and touches neither etcd nor the network.
func New(o Options) (*Cluster, error) {
	switch {
	case o.Store == nil || o.Client == nil || o.Sessions == nil || o.Local == nil:
		return nil, errors.New("cluster: a store, client, sessions and the local node are required")
	case o.NodeName == "" || strings.Contains(o.NodeName, "/"):
		return nil, fmt.Errorf("cluster: %q is not the name of a node", o.NodeName)
	case !uuidText.MatchString(o.InstanceID):
		return nil, fmt.Errorf("cluster: %q is not an instance id", o.InstanceID)
	case len(o.Key) < KeySize:
		return nil, fmt.Errorf("cluster: the key has %d bytes; at least %d are needed", len(o.Key), KeySize)
	}
	if o.Pin == nil {
		o.Pin = func() string { return "" }
	}
	if o.ForgetAfter <= 0 {
		o.ForgetAfter = defaultForgetAfter
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Cluster{
		options: o, log: o.Log, process: newUUID(), peers: newPeers(newSigner(o.Now, append([][]byte{o.Key}, o.OldKeys...)...), o.NodeName),
		absent: "it has not registered yet",
	}, nil
}

// Run registers the node, keeps it registered until ctx ends, and then says that it stops. Etcd may come and go
// meanwhile. Run must be called once.
func (c *Cluster) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { follow(ctx, c.options.Store, &c.tracker, c.options.Local, c.options.Now, c.log) })
	c.options.Sessions.Each(ctx, func(session context.Context, s *etcdclient.Session) { c.attend(ctx, session, s.Lease()) })
	wg.Wait()
	c.peers.close()
	return nil
}

// Members is [Group]'s.
func (c *Cluster) Members() []Member {
	list := members(c.options.Store.Snapshot())
	for i := range list {
		list[i].Self = list[i].InstanceID == c.options.InstanceID && list[i].Name == c.options.NodeName
	}
	return list
}

// Call is [Group]'s.
func (c *Cluster) Call(ctx context.Context, member string, r Request) (*http.Response, error) {
	m, ok := c.member(member)
	if !ok {
		return nil, noMember(member)
	}
	return c.peers.do(ctx, m, r)
}

// self is this node as a member, whether or not it is one.
func (c *Cluster) self() Member {
	return Member{Name: c.options.NodeName, Record: c.wanted(), Self: true}
}

// Verify is [Group]'s. What is signed names this node, has a time within five minutes of this node's clock, and is
// accepted once. A node that was restarted has forgotten what it accepted; all routes for nodes read, over TLS, or have
// a node fetch what its caller has, so that somebody who could replay a call would neither learn nor change anything.
func (c *Cluster) Verify(r *http.Request, body []byte) (string, error) {
	return c.peers.signer.verify(r, body, c.options.InstanceID)
}

// unregistered says why this node is not registered as up; "" if it is.
func (c *Cluster) unregistered() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.absent
}

func (c *Cluster) setAbsent(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.absent = why
}
