package migrate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/etcdclient"
	"statiko/etcdstore"
)

// Times of opening a store on etcd.
const (
	// loadPatience bounds loading the largest states over slow lines.
	loadPatience = 5 * time.Minute
	lookEvery    = 50 * time.Millisecond
)

// etcdPlace is an open place in etcd.
type etcdPlace struct {
	*etcdstore.Store
	client *etcdclient.Client
	place  Place
}

// openEtcd connects, and waits until the state is loaded and can be changed. With create false, it returns nil if
// there is no state yet; otherwise an empty one is begun.
func openEtcd(ctx context.Context, p Place, create bool, log *zap.Logger) (_ *etcdPlace, err error) {
	client, err := etcdclient.Open(p.Etcd.Client)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, client.Close())
		}
	}()
	exists, err := present(ctx, client, p)
	if err != nil {
		return nil, err
	}
	if !exists && !create {
		return nil, client.Close()
	}
	store, err := etcdstore.Open(etcdstore.Options{
		// A name of its own: the node of this name may be running.
		Client: client, Prefix: p.Etcd.Prefix, NodeName: "migrate@" + p.Etcd.NodeName,
		KeyID: p.Keyring.ID(), KnownKeyIDs: p.Keyring.IDs(), Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	e := &etcdPlace{store, client, p}
	if err := e.await(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return e, nil
}

// present tells whether there are keys under the prefix. It is also where a connection that does not work is noticed.
func present(ctx context.Context, client *etcdclient.Client, p Place) (bool, error) {
	etcd, err := client.Etcd()
	if err == nil {
		bounded, cancel := context.WithTimeout(ctx, client.Timeout())
		defer cancel()
		var r *clientv3.GetResponse
		r, err = etcd.Get(bounded, strings.TrimRight(p.Etcd.Prefix, "/")+"/v1/head", clientv3.WithCountOnly())
		if err == nil {
			return r.Count > 0, nil
		}
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	// Which endpoint, and why.
	reasons := etcdclient.Probe(ctx, p.Etcd.Client)
	if len(reasons) == 0 {
		return false, fmt.Errorf("%s does not answer: %w", p, etcdclient.Plain(err))
	}
	text := ""
	for _, endpoint := range slices.Sorted(maps.Keys(reasons)) {
		text += fmt.Sprintf("\n  %s: %v", endpoint, reasons[endpoint])
	}
	return false, fmt.Errorf("%s does not answer:%s", p, text)
}

// await waits until the state is loaded and changes are possible.
func (e *etcdPlace) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	first, began := e.Health().Reason, time.Now()
	for loaded := e.Loaded(); ; {
		select {
		case <-loaded:
			if e.Health().Healthy {
				return nil
			}
			loaded = nil
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: the state could not be loaded: %s: %w", e.place, e.Health().Reason, ctx.Err())
		}
		switch h := e.Health(); {
		case loaded == nil && h.Healthy:
			return nil
		case h.Reason != first && time.Since(began) > e.client.Timeout()/2:
			return fmt.Errorf("%s cannot be used: %s", e.place, h.Reason)
		}
	}
}

// Close releases the store and the connection.
func (e *etcdPlace) Close() error { return errors.Join(e.Store.Close(), e.client.Close()) }
