package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"statiko/api"
	"statiko/test/cluster"
)

// change is one kind of change to the state.
type change struct {
	what string
	// site returns the domain that the i-th change is about; make makes it. No two of one kind are the same.
	site func(s *scaled, i int) string
	make func(ctx context.Context, s *scaled, domain string, i int) error
}

var changes = [...]change{
	{"add a site (POST /site)", func(_ *scaled, i int) string { return fmt.Sprintf("created-%05d.example.test", i) },
		func(ctx context.Context, s *scaled, domain string, _ int) error {
			_, err := s.node.client.CreateSite(ctx, api.SiteCreate{Domain: domain})
			return err
		}},
	{"change a site (PATCH /site)", (*scaled).some, func(ctx context.Context, s *scaled, domain string, i int) error {
		aliases := []string{fmt.Sprintf("changed-%05d.example.test", i)}
		_, err := s.node.client.ChangeSite(ctx, domain, api.SiteChange{Aliases: &aliases})
		return err
	}},
	{"deploy (POST /site/…/app)", (*scaled).some, func(ctx context.Context, s *scaled, domain string, i int) error {
		// Each time around all the sites, another bundle.
		return s.node.client.Deploy(ctx, domain, bundleName((i/s.sites+i)%bundles))
	}},
}

// some returns domains of the node's, spread over all.
func (s *scaled) some(i int) string { return s.served[(i*7919)%len(s.served)].domain } // 7919 is prime

// measureChanges times single changes, without waiting until they are applied, on all nodes by turns.
func (b *bench) measureChanges(ctx context.Context, all []*scaled) error {
	for _, c := range changes {
		say("  %s: %d on each node", c.what, b.size.changes)
		took := make([][][]time.Duration, len(all)) // by node and round
		each := max(1, b.size.changes/changeRounds)
		for round := range changeRounds {
			for k, s := range all {
				var times []time.Duration
				var domains []string
				for i := round * each; i < (round+1)*each; i++ {
					domain := c.site(s, i)
					d, err := stopwatch(func() error { return c.make(ctx, s, domain, i) })
					if err != nil {
						return fmt.Errorf("with %d sites: %s: %w", s.sites, c.what, err)
					}
					times, domains = append(times, d), append(domains, domain)
				}
				took[k] = append(took[k], times)
				if err := s.node.applied(ctx, domains); err != nil {
					return err
				}
			}
		}
		b.add(changeRow(c.what, b.size.counts, took))
	}
	return nil
}

// changeRounds is how often each node has its turn.
const changeRounds = 10

func changeRow(what string, counts []int, took turns) row {
	few, many := 0, len(counts)-1
	r := row{Part: "d", What: fmt.Sprintf("%s, p50, %d sites", what, counts[many]), Unit: "ms", Ours: took.percentile(many, 50)}.
		against(fmt.Sprintf("%d sites", counts[few]), took.percentile(few, 50))
	r.Ratio = median(ratios(took.p50(many), took.p50(few)))
	r.Growth = growth(counts, "ms", func(k int) float64 { return took.percentile(k, 50) }) +
		fmt.Sprintf("; p99 %s ms", number(took.percentile(many, 99)))
	return r
}

// applied waits until the node has applied what was changed, certificates as well, and does nothing more. It asks for single
// sites, as the answer about all takes longer the more there are.
func (n *node) applied(ctx context.Context, domains []string) error {
	for _, domain := range domains {
		if err := cluster.PollEvery(ctx, 20*time.Millisecond, serveTimeout, "the change of "+domain+" is applied", func() error {
			status, err := n.client.Status(ctx, domain, false)
			switch {
			case err != nil:
				return err
			case !status.Health[0].Healthy:
				return errors.New(status.Health[0].Error)
			case status.Sync.Running:
				return errors.New("the node is still at it")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
