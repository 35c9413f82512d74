package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"statiko/api"
)

// change is one kind of change to the state.
type change struct {
	what string
	// make makes the i-th change; no two of one kind are the same.
	make func(ctx context.Context, s *scaled, i int) error
}

var changes = [...]change{
	{"add a site (POST /site)", func(ctx context.Context, s *scaled, i int) error {
		_, err := s.node.client.CreateSite(ctx, api.SiteCreate{Domain: fmt.Sprintf("created-%05d.example.test", i)})
		return err
	}},
	{"change a site (PATCH /site)", func(ctx context.Context, s *scaled, i int) error {
		aliases := []string{fmt.Sprintf("changed-%05d.example.test", i)}
		_, err := s.node.client.ChangeSite(ctx, s.some(i), api.SiteChange{Aliases: &aliases})
		return err
	}},
	{"deploy (POST /site/…/app)", func(ctx context.Context, s *scaled, i int) error {
		// Each time around all the sites, another bundle.
		return s.node.client.Deploy(ctx, s.some(i), bundleName((i/s.sites+i)%bundles))
	}},
}

// some returns domains of the node's, spread over all.
func (s *scaled) some(i int) string { return s.served[(i*7919)%len(s.served)].domain } // 7919 is prime

// measureChanges times single changes, without waiting until they are applied, on all nodes by turns.
func (b *bench) measureChanges(ctx context.Context, all []*scaled) error {
	for _, c := range changes {
		say("  %s: %d on each node", c.what, b.size.changes)
		p50 := make([][]float64, len(all)) // by node and round, in ms
		took := make([][]time.Duration, len(all))
		each := max(1, b.size.changes/changeRounds)
		for round := range changeRounds {
			for k, s := range all {
				var times []time.Duration
				for i := range each {
					began := time.Now()
					if err := c.make(ctx, s, round*each+i); err != nil {
						return fmt.Errorf("with %d sites: %s: %w", s.sites, c.what, err)
					}
					times = append(times, time.Since(began))
				}
				took[k] = append(took[k], times...)
				p50[k] = append(p50[k], milliseconds(percentile(times, 50)))
				if err := s.node.atRest(ctx); err != nil {
					return err
				}
			}
		}
		b.add(changeRow(c.what, all, took, p50))
	}
	return nil
}

// changeRounds is how often each node has its turn.
const changeRounds = 10

func changeRow(what string, all []*scaled, took [][]time.Duration, p50 [][]float64) row {
	last := len(all) - 1
	all50 := func(k int) float64 { return milliseconds(percentile(took[k], 50)) }
	r := row{Part: "d", What: fmt.Sprintf("%s, p50, %d sites", what, all[last].sites), Unit: "ms", Ours: all50(last)}.
		against(fmt.Sprintf("%d sites", all[0].sites), all50(0))
	r.Ratio = median(ratios(p50[last], p50[0]))
	for k := range all[:last] {
		if k > 0 {
			r.Growth += fmt.Sprintf("%d sites: %s (×%.2f); ", all[k].sites, number(all50(k)), median(ratios(p50[k], p50[0])))
		}
	}
	r.Growth += fmt.Sprintf("p99 %s ms", number(milliseconds(percentile(took[last], 99))))
	return r
}

// atRest waits until the node has applied everything, such as certificates for what changed.
func (n *node) atRest(ctx context.Context) error {
	const busy = "the changes are not applied"
	return poll(ctx, serveTimeout, 20*time.Millisecond, busy, func() error {
		status, err := n.client.Status(ctx, "", false)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(status.Health, func(h api.SiteHealth) bool { return !h.Healthy }); i >= 0 {
			return fmt.Errorf("%s: %s", status.Health[i].Domain, status.Health[i].Error)
		}
		if status.Sync.Running {
			return errors.New("the node is still at it")
		}
		return nil
	})
}
