package main

import (
	"context"
	"fmt"
	"time"
)

// scaled is what was measured on a node with a number of sites.
type scaled struct {
	sites int
	node  *node
	// served are the sites that it was filled with.
	served []site
	// restored is how long it took from a restore without certificates until all sites were served.
	restored time.Duration
	// answers is how long after the start of the process the API answered, last the site that is applied last,
	// while nobody asks for others, and serves every site; asking is the processor time that asking all cost, and
	// nodeTime what the node used meanwhile.
	answers, last, serves, asking, nodeTime time.Duration
	peak, settled                           int64
	adds                                    []time.Duration
}

// measureScale looks at nodes with few and with many sites.
func measureScale(ctx context.Context, b *bench) (err error) {
	var all []*scaled
	for _, count := range b.size.counts {
		n, openErr := b.newNode(fmt.Sprintf("sites-%d", count))
		if openErr != nil {
			return openErr
		}
		// It goes on, at rest, while the next is measured, until changes are compared.
		defer func() { err = joinStop(err, n) }()
		s := &scaled{sites: count, node: n}
		if err := b.measureSites(ctx, s); err != nil {
			return fmt.Errorf("with %d sites: %w", count, err)
		}
		all = append(all, s)
	}
	if b.wants("b") {
		b.add(startRows(b.size.counts, all)...)
	}
	if b.wants("d") {
		return b.measureChanges(ctx, all)
	}
	return nil
}

// measureSites fills one node, starts it anew and adds to it.
func (b *bench) measureSites(ctx context.Context, s *scaled) (err error) {
	p := s.node.prober()
	if s.served, err = b.fill(ctx, s.node, p, s); err != nil || !b.wants("b") {
		return err
	}
	if err := b.restart(ctx, s.node, p, s); err != nil {
		return err
	}
	say("  %d sites: %d more, one by one", s.sites, b.size.adds)
	for i := range b.size.adds {
		d, err := s.node.addSite(ctx, p, fmt.Sprintf("added-%05d.example.test", i))
		if err != nil {
			return err
		}
		s.adds = append(s.adds, d)
	}
	return nil
}

// fill starts the node and gives it the sites, with certificates.
func (b *bench) fill(ctx context.Context, n *node, p *prober, s *scaled) ([]site, error) {
	if err := n.start(ctx); err != nil {
		return nil, err
	}
	say("  %d sites: restore, certificates, all served", s.sites)
	began := time.Now()
	sites, err := n.restoreSites(ctx, s.sites)
	if err != nil {
		return nil, err
	}
	// The last one first: while it is not ready, asking all the others would only take processor time.
	if err := p.until(ctx, sites[len(sites)-1], 20*time.Millisecond); err != nil {
		return nil, err
	}
	if err := p.askAll(ctx, sites); err != nil {
		return nil, err
	}
	s.restored = time.Since(began)
	return sites, nil
}

// restart measures starts with everything there: one that is left alone, and one while all sites are asked for.
func (b *bench) restart(ctx context.Context, n *node, p *prober, s *scaled) error {
	say("  %d sites: stop, start again, ask for the last", s.sites)
	if err := n.stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := n.start(ctx); err != nil {
		return err
	}
	s.answers = time.Since(began)
	// Sites are applied in the order of their names.
	if err := p.until(ctx, s.served[len(s.served)-1], 20*time.Millisecond); err != nil {
		return err
	}
	s.last = time.Since(began)

	say("  %d sites: stop, start again, ask for all", s.sites)
	if err := n.stop(); err != nil {
		return err
	}
	asking := ownProcessorTime()
	began = time.Now()
	if err := n.start(ctx); err != nil {
		return err
	}
	if err := listening(ctx, n.Process, n.Address(n.HTTPSPort)); err != nil {
		return err
	}
	if err := p.askAll(ctx, s.served); err != nil {
		return err
	}
	s.serves = time.Since(began)
	s.asking = ownProcessorTime() - asking
	s.nodeTime = processorTime(n.Process)
	if err := rest(ctx, b.size.settle); err != nil {
		return err
	}
	var err error
	s.settled, s.peak, err = n.Memory()
	return err
}
