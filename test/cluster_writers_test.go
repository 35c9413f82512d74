package test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"statiko/api"
	"statiko/state"
	"statiko/test/cluster"
)

// Eight clients add sites through two nodes, with aliases of which two sites each want the same (weaknesses W1 and W2
// of the earlier program, which lost 19 of 80): what was acknowledged is on both nodes, and nothing else; each name
// has one site, and each site one certificate, the same on both.
func TestW1_WritersOnTwoNodesLoseNothing(t *testing.T) {
	t.Parallel()
	const writers = 8
	tries, sample := 320, 32
	if soak() {
		tries, sample = 8000, 2000
	}
	c := startCluster(t, built(t), 2)
	ctx := context.Background()
	began := time.Now()
	var (
		all      sync.WaitGroup
		mu       sync.Mutex
		want     = map[string]string{}
		refusals int
	)
	for w := range writers {
		all.Go(func() {
			client := c.Nodes[w%2].Client()
			defer client.Close()
			for i := w; i < tries; i += writers {
				// Two neighbours, which are sent to different nodes at about the same time, want one alias.
				domain, alias := fmt.Sprintf("s%05d.example.org", i), fmt.Sprintf("shared-%d.example.org", i/2)
				if i%8 >= 4 {
					alias = "www." + domain
				}
				_, err := client.CreateSite(ctx, api.SiteCreate{Domain: domain, Aliases: []string{alias}})
				mu.Lock()
				switch {
				case err == nil:
					want[domain] = alias
				case errors.Is(err, state.ErrExists):
					refusals++
				default:
					t.Errorf("add %s: %v", domain, err)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Logf("%d sites acknowledged and %d refused in %s", len(want), refusals, time.Since(began).Round(time.Millisecond))
	if refusals != tries/4 {
		t.Errorf("%d refused, want %d: one of each two that want the same alias", refusals, tries/4)
	}
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(10*time.Second, n.Name()+" has all sites", func() error { return hasSites(n, want) }))
	}
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(2*time.Minute, "certificates of all sites", n.Settled))
	}
	t.Logf("certificates on both nodes after %s", time.Since(began).Round(time.Millisecond))
	serials, looked := map[string]string{}, 0
	for domain := range want {
		if looked++; looked > sample {
			break
		}
		serial := c.Serves(t, 10*time.Second, domain)
		if other := serials[serial]; other != "" {
			t.Errorf("%s and %s have the serial number %s", domain, other, serial)
		}
		serials[serial] = domain
	}
}

// hasSites is an error if the node has not exactly these sites, each with its alias.
func hasSites(n *cluster.Node, want map[string]string) error {
	client := n.Client()
	defer client.Close()
	sites, err := client.Sites(context.Background())
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, s := range sites {
		alias, acknowledged := want[s.Domain]
		if !acknowledged {
			return cluster.NoUse(fmt.Errorf("%s was not acknowledged", s.Domain))
		}
		if len(s.Aliases) != 1 || s.Aliases[0] != alias {
			return cluster.NoUse(fmt.Errorf("%s has the aliases %q, want %s", s.Domain, s.Aliases, alias))
		}
		for _, name := range []string{s.Domain, alias} {
			if other := names[name]; other != "" {
				return cluster.NoUse(fmt.Errorf("%s belongs to %s and %s", name, other, s.Domain))
			}
			names[name] = s.Domain
		}
	}
	if len(sites) != len(want) {
		return fmt.Errorf("%d sites, want %d", len(sites), len(want))
	}
	return nil
}

// The same site is added through both nodes at once (weakness W2 of the earlier program, which made two of it).
func TestW2_SameSiteOnTwoNodesHasOneWinner(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	a, b := c.Nodes[0].API(t), c.Nodes[1].API(t)
	var want []string
	wins := [2]int{}
	for i := range 60 {
		domain := fmt.Sprintf("s%d.example.org", i)
		var both sync.WaitGroup
		var won atomic.Int32
		for j, client := range []*api.Client{a, b} {
			both.Go(func() {
				_, err := client.CreateSite(context.Background(), api.SiteCreate{Domain: domain})
				switch {
				case err == nil:
					won.Add(1)
					wins[j]++
				case !errors.Is(err, state.ErrExists):
					t.Errorf("%s: %v", domain, err)
				}
			})
		}
		both.Wait()
		if won.Load() != 1 {
			t.Errorf("%s was added %d times", domain, won.Load())
		}
		want = append(want, domain)
	}
	t.Logf("won by the two nodes: %v", wins)
	c.HaveExactly(t, 5*time.Second, want...)
}

// Certificates are imported through a node while sites are added through it (weakness W8 of the earlier program, in
// which each import replaced the state in memory): nothing of either is lost.
func TestW8_ImportsDoNotDisturbOtherChanges(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	ctx := context.Background()
	const count = 40
	var all sync.WaitGroup
	var sites, certificates []string
	all.Go(func() {
		client := c.Nodes[0].Client()
		defer client.Close()
		for i := range count {
			domain := fmt.Sprintf("s%d.example.org", i)
			if _, err := client.CreateSite(ctx, api.SiteCreate{Domain: domain}); err != nil {
				t.Errorf("add %s: %v", domain, err)
			}
			sites = append(sites, domain)
		}
	})
	all.Go(func() {
		client := c.Nodes[0].Client()
		defer client.Close()
		for i := range count {
			name := fmt.Sprintf("pair-%02d", i)
			if err := client.ImportCertificate(ctx, cluster.SelfMade(name, "*.example.org")); err != nil {
				t.Errorf("import %s: %v", name, err)
			}
			certificates = append(certificates, name)
		}
	})
	all.Wait()
	c.HaveExactly(t, 5*time.Second, sites...)
	for _, n := range c.Nodes {
		cluster.Must(t, cluster.Poll(5*time.Second, "certificates on "+n.Name(), func() error { return hasCertificates(n, certificates...) }))
	}
}

// A writer that freezes in the middle of its changes, and one that is killed, hold up nobody (weakness W31 of the
// earlier program, whose writers took a lock and polled for it).
func TestW31_AFrozenWriterHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c := startCluster(t, built(t), 2)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for w := range 4 {
		load.Go(func() {
			client := c.Nodes[0].Client()
			defer client.Close()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() {
				<-stop
				cancel()
			}()
			for i := 0; ctx.Err() == nil; i++ {
				// What becomes of these does not matter: the node is stopped in the middle of them.
				_, _ = client.CreateSite(ctx, api.SiteCreate{Domain: fmt.Sprintf("load-%d-%d.example.org", w, i)})
			}
		})
	}
	t.Cleanup(load.Wait)
	t.Cleanup(sync.OnceFunc(func() { close(stop) }))
	client := c.Nodes[1].API(t)
	cluster.Must(t, cluster.Poll(10*time.Second, "changes through the first node", func() error {
		list, err := c.Nodes[1].Sites()
		if err == nil && len(list) < 20 {
			err = fmt.Errorf("%d sites", len(list))
		}
		return err
	}))
	write := func(what string) {
		longest := time.Duration(0)
		for i := range 50 {
			began := time.Now()
			addSite(t, client, fmt.Sprintf("%s-%d.example.org", what, i))
			longest = max(longest, time.Since(began))
		}
		t.Logf("with the other writer %s, the longest of 50 changes took %s", what, longest.Round(time.Millisecond))
		if longest > 2*time.Second {
			t.Errorf("with the other writer %s, a change took %s", what, longest)
		}
	}
	c.Nodes[0].Freeze(t)
	write("frozen")
	c.Nodes[0].Kill()
	write("killed")
}
