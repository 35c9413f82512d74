package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statiko/etcdclient"
	"statiko/etcdstore"
	"statiko/test/cluster"
	"statiko/test/etcdtest"
)

// measureEtcd measures the store on etcd in this process, beside etcd's own client on the same server, which is a
// process of its own and syncs its disk. What the reference does stands in etcd_raw.go.
func measureEtcd(ctx context.Context, b *bench) error {
	say("  start etcd (the first time, it is built)")
	server, err := etcdtest.Launch(b.dir, etcdtest.Options{Durable: true})
	if err != nil {
		return err
	}
	defer server.End()
	e := &etcd{bench: b, size: b.size.etcd, endpoints: server.Endpoints()}
	for _, m := range []struct {
		about string
		run   func(context.Context) error
	}{
		{"single updates", e.measureSingle}, {"updates by several writers", e.measureThroughput},
		{"many sites", e.measureBulk}, {"one site among many", e.measureFlat},
	} {
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", m.about, err)
		}
	}
	return nil
}

// etcd is the server that a run measures with.
type etcd struct {
	*bench
	size      etcdSizes
	endpoints []string
}

// connect opens a connection as a node does. The reference uses the same.
func (e *etcd) connect() (*etcdclient.Client, error) {
	return etcdclient.Open(etcdclient.Options{Endpoints: e.endpoints})
}

// replica is a store with a connection of its own, as each node has one.
type replica struct {
	*etcdstore.Store
	client *etcdclient.Client
}

func (r *replica) close() error { return errors.Join(r.Store.Close(), r.client.Close()) }

// open opens a store, and returns when it has loaded what is under the prefix.
func (e *etcd) open(ctx context.Context, prefix, node string) (*replica, error) {
	client, err := e.connect()
	if err != nil {
		return nil, err
	}
	store, err := etcdstore.Open(etcdstore.Options{Client: client, Prefix: prefix, NodeName: node})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	r := &replica{store, client}
	late := time.NewTimer(serveTimeout)
	defer late.Stop()
	select {
	case <-store.Loaded():
		return r, nil
	case <-late.C:
		err = fmt.Errorf("%s is not loaded: %s", prefix, store.Health().Reason)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, r.close())
}

// healthy waits until the store takes changes, which is a moment after it has loaded.
func (r *replica) healthy(ctx context.Context) error {
	return cluster.PollEvery(ctx, time.Millisecond, startTimeout, "the store takes changes", func() error {
		if h := r.Health(); !h.Healthy {
			return errors.New(h.Reason)
		}
		return nil
	})
}

// openHealthy opens a store that takes changes.
func (e *etcd) openHealthy(ctx context.Context, prefix, node string) (*replica, error) {
	r, err := e.open(ctx, prefix, node)
	if err != nil {
		return nil, err
	}
	if err := r.healthy(ctx); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}
