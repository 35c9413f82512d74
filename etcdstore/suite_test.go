package etcdstore

import (
	"testing"
	"time"

	"statiko/etcdclient"
	"statiko/state"
	"statiko/state/storetest"
	"statiko/test/etcdtest"
)

// soundTimeout is the timeout of requests where nothing is broken, and nobody waits for it to pass: a busy machine may
// take its time.
const soundTimeout = 10 * time.Second

// harness opens a store on a fresh prefix of the server, through the endpoint.
func harness(t testing.TB, c *etcdtest.Cluster, endpoint string, timeout time.Duration) storetest.Harness {
	prefix, etcd := newPrefix(), c.Client(t)
	open := func(o Options) *Store {
		s := openNow(t, etcdclient.Options{Endpoints: []string{endpoint}, Timeout: timeout}, o)
		awaitHealthy(t, s)
		return s
	}
	now := open(Options{Prefix: prefix})
	terms, seconds := 0, 0
	return storetest.Harness{
		Store: now,
		Reopen: func() state.Store {
			if err := now.Close(); err != nil {
				t.Fatal(err)
			}
			now = open(Options{Prefix: prefix})
			return now
		},
		Second: func() state.Store {
			seconds++
			return open(Options{Prefix: prefix, NodeName: "second"})
		},
		NewTerm: func() (state.Fence, func()) {
			terms++
			return newTerm(t, etcd, prefix+"/leader", terms%2 == 0)
		},
		Kinds: func() (kinds []state.Kind) {
			for _, k := range state.Kinds() {
				if k.Replicated() {
					kinds = append(kinds, k)
				}
			}
			return kinds
		}(),
		Timeout: timeout + 2*time.Second,
	}
}

func TestStore_KeepsTheContract(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	storetest.RunSound(t, func(t testing.TB) storetest.Harness { return harness(t, c, c.Endpoints()[0], soundTimeout) })
	storetest.RunOutcomes(t, func(t testing.TB) storetest.Harness {
		p := c.Member(0).Proxy(t)
		h := harness(t, c, p.Endpoint(), testTimeout)
		h.Break, h.Heal = p.Cut, p.Mend
		return h
	})
}

// What breaks a server breaks it for everybody on it, so that each of these has its own.
func TestStore_KeepsTheContractOnABrokenServer(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]struct {
		breaks, heals func(testing.TB, *etcdtest.Member)
	}{
		"frozen": {func(t testing.TB, m *etcdtest.Member) { m.Stop(t) }, func(t testing.TB, m *etcdtest.Member) { m.Cont(t) }},
		"killed": {func(_ testing.TB, m *etcdtest.Member) { m.Kill() }, func(t testing.TB, m *etcdtest.Member) { m.Restart(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.RunOutcomes(t, func(t testing.TB) storetest.Harness {
				c := etcdtest.Start(t, etcdtest.Options{})
				h := harness(t, c, c.Endpoints()[0], testTimeout)
				h.Break, h.Heal = func() { ends.breaks(t, c.Member(0)) }, func() { ends.heals(t, c.Member(0)) }
				return h
			})
		})
	}
}
