package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"

	"statiko/config"
	"statiko/etcdclient"
)

// Check connects to what the configuration names, etcd and the repository, and returns all that is wrong. It changes
// nothing.
func Check(ctx context.Context, c *config.Config) error {
	return errors.Join(checkEtcd(ctx, c), CheckRepository(ctx, c))
}

// checkEtcd asks every endpoint by itself: a node does with those that answer, but whoever named the others wants to know.
func checkEtcd(ctx context.Context, c *config.Config) error {
	if c.State.Store != "etcd" {
		return nil
	}
	failed := etcdclient.Probe(ctx, etcdclient.Configured(c, zap.NewNop()))
	var errs []error
	for _, endpoint := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, fmt.Errorf("state.etcd.address: %s: %w", endpoint, failed[endpoint]))
	}
	if n := len(c.State.Etcd.Address); len(errs) > 0 && len(errs) < n {
		errs = append(errs, fmt.Errorf("the other %d of %d endpoints answer, so the node would start", n-len(errs), n))
	}
	return errors.Join(errs...)
}
