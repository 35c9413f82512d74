package node

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"statiko/cluster"
	"statiko/config"
	"statiko/etcdclient"
	"statiko/etcdstore"
	"statiko/filestore"
	"statiko/leader"
	"statiko/secret"
	"statiko/server"
)

// shared is what a node with its state in etcd has besides the store.
type shared struct {
	client *etcdclient.Client
	store  *etcdstore.Store
	// sessions keep the one lease, on which the registration and the candidacy hang.
	sessions *etcdclient.Sessions
	elector  *leader.Etcd
}

// openState opens the store that the configuration names, behind the gate that migrations close.
func (n *Node) openState(dirs folders) error {
	c, log := n.config, n.log.Named("store")
	if c.State.Store != "etcd" {
		store, err := openStore(c, n.keyring, log)
		if err != nil {
			return err
		}
		n.onClose("the store", store.Close)
		n.store = server.NewGate(store, nil)
		loaded := make(chan struct{})
		close(loaded)
		n.loaded = loaded
		return nil
	}
	kept, err := filestore.OpenCopy(dirs.copy, log)
	if err != nil {
		return err
	}
	client, store, err := openEtcd(c, n.keyring, kept, log)
	if err != nil {
		return err
	}
	n.onClose("the connection to etcd", client.Close)
	n.onClose("the store", store.Close)
	n.store, n.loaded = server.NewGate(store, nil), store.Loaded()
	n.shared = &shared{client: client, store: store, sessions: etcdclient.NewSessions(client, etcdclient.SessionOptions{
		TTL: c.Leader.LeaseTTL, Log: n.log.Named("session"),
	})}
	return nil
}

// ready says why the node cannot serve yet.
func (n *Node) ready() error {
	select {
	case <-n.loaded:
		return nil
	default:
		return fmt.Errorf("there is no state yet: etcd has not answered (%s), and this node has no local copy", n.store.Health().Reason)
	}
}

// join makes what takes part in the cluster: the elector, the group, and the duties of whoever leads.
func (n *Node) join(o Options, dirs folders) error {
	c := n.config
	if err := n.makeDuties(o); err != nil {
		return err
	}
	local := func(ctx context.Context, q cluster.Query) cluster.NodeStatus { return n.server.LocalStatus(ctx, q) }
	port := n.apiListener.Addr().(*net.TCPAddr).Port
	address, err := cluster.Address(c.Cluster.Advertise, c.TLS.Node.Address, port, c.TLS.Node.Enabled)
	if err != nil {
		return fmt.Errorf("cluster.advertise: %w", err)
	}
	if n.shared == nil {
		n.elector = leader.NewStatic(c.NodeName, n.log.Named("leader"))
		n.group = cluster.Single(cluster.SingleOptions{
			Store: n.store, NodeName: c.NodeName, Local: local, Address: address, Pin: n.Pin,
			Version: o.Version, WebServer: c.WebServer, Log: n.log.Named("cluster"),
		})
	} else if err := n.joinShared(o, dirs, local, address); err != nil {
		return err
	}
	return n.addHealthDuty()
}

func (n *Node) joinShared(o Options, dirs folders, local cluster.Local, address string) error {
	c, s := n.config, n.shared
	instance, err := cluster.InstanceID(filepath.Join(dirs.misc, "instance"))
	if err != nil {
		return err
	}
	key, oldKeys, err := nodeKeys(c)
	if err != nil {
		return err
	}
	group, err := cluster.New(cluster.Options{
		// A frozen node belongs to the cluster as before, so this is the store behind the gate.
		Store: s.store, Client: s.client, Prefix: c.State.Etcd.KeyPrefix, NodeName: c.NodeName, InstanceID: instance,
		Sessions: s.sessions, Key: key, OldKeys: oldKeys, Address: address, Local: local, Pin: n.Pin,
		Version: o.Version, WebServer: c.WebServer, ForgetAfter: c.Cluster.ForgetAfter, Log: n.log.Named("cluster"),
	})
	if err != nil {
		return err
	}
	elector, err := leader.NewEtcd(leader.Options{
		Client: s.client, Sessions: s.sessions, Prefix: c.State.Etcd.KeyPrefix + "/v1/leader",
		NodeName: c.NodeName, InstanceID: instance, Disallow: c.DisallowLeadership, Fit: s.store.Changeable,
		Log: n.log.Named("leader"),
	})
	if err != nil {
		return err
	}
	n.group, n.elector, s.elector = group, elector, elector
	n.duties["forgotten members"] = group.ForgetDuty
	n.duties["old generations"] = s.store.SweepDuty
	return nil
}

// nodeKeys derives what nodes know each other by, from the encryption key and from the old ones, so that keys can be
// changed node by node.
func nodeKeys(c *config.Config) (key []byte, old [][]byte, err error) {
	var keys [][]byte
	for _, k := range append([]string{c.SecretsEncryptionKey}, c.SecretsEncryptionOldKeys...) {
		ring, err := secret.NewKeyring(k)
		if err != nil {
			return nil, nil, err
		}
		derived, err := ring.Derive(cluster.KeyPurpose, cluster.KeySize)
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, derived)
	}
	return keys[0], keys[1:], nil
}

// reconcileWhenLoaded waits for a state before the first pass, which would take an empty one for what is asked.
func (n *Node) reconcileWhenLoaded(ctx context.Context) error {
	select {
	case <-n.loaded:
		return n.reconciler.Run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// healthEvery is how often it is asked whether the state can be changed.
const healthEvery = time.Second

// keepBundles keeps the archives of bundles in step with the state. The first look waits until the state can be
// changed, as what is in the repository only, such as the bundles of the earlier program, is entered into it.
func (n *Node) keepBundles(ctx context.Context) error {
	look := time.NewTicker(healthEvery)
	defer look.Stop()
	for !n.store.Health().Healthy {
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
	}
	return n.library.Run(ctx)
}
