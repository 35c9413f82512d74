package main

import (
	"context"
	"errors"
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

// joinStop stops the node, whatever happened.
func joinStop(err error, n *node) error { return errors.Join(err, n.stop()) }

// measureScale looks at nodes with few and with many sites.
func measureScale(ctx context.Context, b *bench) (err error) {
	counts := []int{b.size.few, b.size.many}
	if b.wants("d") {
		counts = []int{b.size.few, b.size.between, b.size.many}
	}
	var all []*scaled
	for _, count := range counts {
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
		b.add(startRows(all[0], all[len(all)-1])...)
	}
	if b.wants("d") {
		return b.measureChanges(ctx, all)
	}
	return nil
}

// measureSites fills one node, starts it anew and adds to it.
func (b *bench) measureSites(ctx context.Context, s *scaled) (err error) {
	p := &prober{s.node.https()}
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
	if err := n.startReady(ctx); err != nil {
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
	if err := n.startReady(ctx); err != nil {
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
	if err := n.startReady(ctx); err != nil {
		return err
	}
	if err := listening(ctx, n.process, n.https()); err != nil {
		return err
	}
	if err := p.askAll(ctx, s.served); err != nil {
		return err
	}
	s.serves = time.Since(began)
	s.asking = ownProcessorTime() - asking
	s.nodeTime = n.process.processorTime()
	if err := rest(ctx, b.size.settle); err != nil {
		return err
	}
	var err error
	s.settled, s.peak, err = n.process.memory()
	return err
}

// Targets with many sites.
const (
	targetServe   = 10  // s
	targetMemory  = 300 // MB
	targetOneMore = 100 // ms
	megabyte      = 1e6
)

func startRows(few, many *scaled) []row {
	name := fmt.Sprintf("%d sites", few.sites)
	with := fmt.Sprintf(", %d sites", many.sites)
	beside := func(what, unit string, f func(*scaled) float64) row {
		r := row{Part: "b", What: what + with, Unit: unit, Ours: f(many)}.against(name, f(few))
		r.Growth = fmt.Sprintf("%s %s a site more", number((f(many)-f(few))/float64(many.sites-few.sites)*1000), thousandth(unit))
		return r
	}
	serves := beside("start to all hosts answered", "s", func(s *scaled) float64 { return s.serves.Seconds() }).atMost(targetServe)
	serves.Growth += fmt.Sprintf("; processor time: node %s s, asking %s s", number(many.nodeTime.Seconds()), number(many.asking.Seconds()))
	one := func(p float64) row {
		r := beside(fmt.Sprintf("one site more, POST to HTTPS, p%.0f", p), "ms", func(s *scaled) float64 { return milliseconds(percentile(s.adds, p)) })
		r.Growth = ""
		return r.atMost(targetOneMore)
	}
	rate := row{Part: "b", What: "restore without certificates to all served" + with, Unit: "sites/s",
		Ours: float64(many.sites) / many.restored.Seconds()}.against(name, float64(few.sites)/few.restored.Seconds())
	return []row{
		rate,
		beside("start to the API's answer", "s", func(s *scaled) float64 { return s.answers.Seconds() }),
		beside("start to the last site's answer, others not asked for", "s", func(s *scaled) float64 { return s.last.Seconds() }),
		serves,
		beside("memory at most (VmHWM)", "MB", func(s *scaled) float64 { return float64(s.peak) / megabyte }).atMost(targetMemory),
		beside("memory when settled (VmRSS)", "MB", func(s *scaled) float64 { return float64(s.settled) / megabyte }),
		one(50), one(99),
	}
}

// thousandth names a unit's thousandth.
func thousandth(unit string) string {
	return map[string]string{"s": "ms", "MB": "kB", "ms": "µs"}[unit]
}
