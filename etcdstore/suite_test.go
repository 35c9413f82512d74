package etcdstore

import (
	"testing"
	"time"

	"statiko/state"
	"statiko/state/storetest"
	"statiko/test/etcdtest"
)

// harness opens a store on a fresh prefix of the server, through the endpoint.
func harness(t testing.TB, c *etcdtest.Cluster, endpoint string) storetest.Harness {
	prefix, etcd := newPrefix(), c.Client(t)
	now := openOn(t, []string{endpoint}, Options{Prefix: prefix})
	terms, seconds := 0, 0
	return storetest.Harness{
		Store: now,
		Reopen: func() state.Store {
			if err := now.Close(); err != nil {
				t.Fatal(err)
			}
			now = openOn(t, []string{endpoint}, Options{Prefix: prefix})
			return now
		},
		Second: func() state.Store {
			seconds++
			return openOn(t, []string{endpoint}, Options{Prefix: prefix, NodeName: "second"})
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
		Timeout: testTimeout + 2*time.Second,
	}
}

func TestStore_KeepsTheContract(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		p := c.Member(0).Proxy(t)
		h := harness(t, c, p.Endpoint())
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
				h := harness(t, c, c.Endpoints()[0])
				h.Break, h.Heal = func() { ends.breaks(t, c.Member(0)) }, func() { ends.heals(t, c.Member(0)) }
				return h
			})
		})
	}
}
