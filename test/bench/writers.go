package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"statiko/api"
)

// applyWait is for how long an added site may take to be applied.
const applyWait = time.Minute

// addSite adds a site and asks it over HTTPS, once the node says that it is applied. It returns how long it took from
// the request to the answer with the site's own certificate.
func (n *node) addSite(ctx context.Context, p *prober, domain string) (time.Duration, error) {
	began := time.Now()
	if _, err := n.client.CreateSite(ctx, api.SiteCreate{Domain: domain}, api.Wait(applyWait)); err != nil {
		return 0, fmt.Errorf("add %s: %w", domain, err)
	}
	if err := p.until(ctx, site{domain: domain}, 2*time.Millisecond); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// measureWriters has several writers add sites at once, each waiting for its site before the next.
func measureWriters(ctx context.Context, b *bench) (err error) {
	n, err := b.newNode("writers")
	if err != nil {
		return err
	}
	defer func() { err = joinStop(err, n) }()
	if err := n.start(ctx); err != nil {
		return err
	}
	p := n.prober()
	took := make([]time.Duration, b.size.writtenSites)
	var next atomic.Int64
	writers, inner := errgroup.WithContext(ctx)
	var mu sync.Mutex
	began := time.Now()
	for range b.size.writers {
		writers.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(took) || inner.Err() != nil {
					return inner.Err()
				}
				d, err := n.addSite(inner, p, fmt.Sprintf("written-%05d.example.test", i))
				if err != nil {
					return err
				}
				mu.Lock()
				took[i] = d
				mu.Unlock()
			}
		})
	}
	if err := writers.Wait(); err != nil {
		return err
	}
	all := time.Since(began)
	var sites []site
	for i := range took {
		sites = append(sites, site{domain: fmt.Sprintf("written-%05d.example.test", i)})
	}
	if err := p.askAll(ctx, sites); err != nil {
		return fmt.Errorf("after the last site was added: %w", err)
	}
	half := len(took) / 2
	what := fmt.Sprintf("%d sites by %d writers, from POST to the first HTTPS answer", len(took), b.size.writers)
	b.add(
		row{Part: "a", What: what, Unit: "sites/s", Ours: float64(len(took)) / all.Seconds()},
		row{Part: "a", What: "… of one site, p50", Unit: "ms", Ours: milliseconds(percentile(took, 50)),
			Growth: fmt.Sprintf("first half %s ms, second half %s ms",
				number(milliseconds(percentile(took[:half], 50))), number(milliseconds(percentile(took[half:], 50))))},
		row{Part: "a", What: "… of one site, p99", Unit: "ms", Ours: milliseconds(percentile(took, 99))},
	)
	return nil
}
