package node

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"statiko/config"
	"statiko/etcdclient"
	"statiko/etcdstore"
	"statiko/secret"
	"statiko/state"
)

// openEtcd opens the store on etcd, with the local copy if it is not nil. The client is closed after the store.
func openEtcd(c *config.Config, k *secret.Keyring, kept etcdstore.Copy, log *zap.Logger) (*etcdclient.Client, *etcdstore.Store, error) {
	client, err := etcdclient.Open(etcdclient.Configured(c, log))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to etcd (keys state.etcd.*): %w", err)
	}
	store, err := etcdstore.Open(etcdstore.Options{
		Client: client, Prefix: c.State.Etcd.KeyPrefix, NodeName: c.NodeName, KeyID: k.ID(), KnownKeyIDs: k.IDs(),
		Copy: kept, CompareEvery: c.Store.CompareEvery, Log: log,
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the state in etcd (keys state.etcd.*): %w", err), client.Close())
	}
	return client, store, nil
}

// OpenStore opens the store that the configuration names, of either kind, as a node without a local copy does. A
// store on etcd is not waited for. Closing the result releases all that it took.
func OpenStore(c *config.Config, k *secret.Keyring, log *zap.Logger) (state.Store, error) {
	if log == nil {
		log = zap.NewNop()
	}
	if c.State.Store != "etcd" {
		return openStore(c, k, log)
	}
	client, store, err := openEtcd(c, k, nil, log)
	if err != nil {
		return nil, err
	}
	return &clientStore{store, client}, nil
}

// clientStore closes the client of etcd together with the store.
type clientStore struct {
	*etcdstore.Store
	client *etcdclient.Client
}

// Close closes the store, then the client.
func (s *clientStore) Close() error { return errors.Join(s.Store.Close(), s.client.Close()) }
