package etcdclient

import (
	"fmt"
	"testing"
	"time"

	"statiko/test/etcdtest"
)

// An etcd that comes back gives every lease its whole life again. One that this process gave up meanwhile, and what
// hangs on it (a candidacy, a registration), must not stay for so long.
func TestSessions_LeaseLostWithEtcdIsGivenBackWhenItReturns(t *testing.T) {
	t.Parallel()
	const ttl = 8 * time.Second
	cluster := etcdtest.Start(t, etcdtest.Options{Members: 1})
	m := NewSessions(openSessionClient(t, cluster.Endpoints()...), SessionOptions{TTL: ttl})
	done := make(chan error, 1)
	go func() { done <- m.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	first := session(t, m, nil)

	cluster.Member(0).Kill()
	eventually(t, 2*ttl, func() error {
		if !first.Over() {
			return fmt.Errorf("the session goes on without etcd")
		}
		return nil
	})
	cluster.Member(0).Restart(t)
	second := session(t, m, first)
	// Long before the first one's life is over.
	eventually(t, ttl/2, func() error {
		if n := leases(t, cluster.Client(t)); n != 1 {
			return fmt.Errorf("there are %d leases, want only %x", n, second.Lease())
		}
		return nil
	})
}
