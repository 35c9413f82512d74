package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"statiko/api"
)

// scaled is what was measured on a node with a number of sites.
type scaled struct {
	sites int
	// restored is how long it took from a restore without certificates until all sites were served.
	restored time.Duration
	// answers and serves are how long after the start of the process the API and all sites answered; asking is the
	// processor time that the asking cost, nodeTime what the node used.
	answers, serves, asking, nodeTime time.Duration
	peak, settled                     int64
	adds                              []time.Duration
	create, change, deploy            []time.Duration
}

// joinStop stops the node, whatever happened.
func joinStop(err error, n *node) error { return errors.Join(err, n.stop()) }

// measureScale looks at nodes with few and with many sites.
func measureScale(ctx context.Context, b *bench) error {
	counts := []int{b.size.few, b.size.many}
	if b.wants("d") {
		counts = []int{b.size.few, b.size.between, b.size.many}
	}
	var all []*scaled
	for _, count := range counts {
		s, err := b.measureSites(ctx, count)
		if err != nil {
			return fmt.Errorf("with %d sites: %w", count, err)
		}
		all = append(all, s)
	}
	few, many := all[0], all[len(all)-1]
	if b.wants("b") {
		b.add(startRows(few, many)...)
	}
	if b.wants("d") {
		b.add(commitRows(all)...)
	}
	return nil
}

// measureSites takes one node through its life.
func (b *bench) measureSites(ctx context.Context, count int) (s *scaled, err error) {
	n, err := b.newNode(fmt.Sprintf("sites-%d", count))
	if err != nil {
		return nil, err
	}
	defer func() { err = joinStop(err, n) }()
	s = &scaled{sites: count}
	p := &prober{n.https()}
	sites, err := b.fill(ctx, n, p, s)
	if err != nil {
		return nil, err
	}
	if b.wants("b") {
		if err := b.restart(ctx, n, p, s, sites); err != nil {
			return nil, err
		}
		say("  %d sites: %d more, one by one", count, b.size.adds)
		for i := range b.size.adds {
			d, err := n.addSite(ctx, p, fmt.Sprintf("added-%05d.example.test", i))
			if err != nil {
				return nil, err
			}
			s.adds = append(s.adds, d)
		}
	}
	if b.wants("d") {
		if err := b.commits(ctx, n, s, sites); err != nil {
			return nil, err
		}
	}
	return s, nil
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
	if err := p.until(ctx, sites[len(sites)-1]); err != nil {
		return nil, err
	}
	if err := p.askAll(ctx, sites); err != nil {
		return nil, err
	}
	s.restored = time.Since(began)
	return sites, nil
}

// restart measures a start with everything there.
func (b *bench) restart(ctx context.Context, n *node, p *prober, s *scaled, sites []site) error {
	say("  %d sites: stop, start again, ask all", s.sites)
	if err := n.stop(); err != nil {
		return err
	}
	asking, began := ownProcessorTime(), time.Now()
	if err := n.startReady(ctx); err != nil {
		return err
	}
	s.answers = time.Since(began)
	if err := listening(ctx, n.process, n.https()); err != nil {
		return err
	}
	if err := p.askAll(ctx, sites); err != nil {
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

// commits times single changes, one after the other.
func (b *bench) commits(ctx context.Context, n *node, s *scaled, sites []site) error {
	say("  %d sites: %d changes of each kind", s.sites, b.size.changes)
	timed := func(took *[]time.Duration, change func(i int) error) error {
		for i := range b.size.changes {
			began := time.Now()
			if err := change(i); err != nil {
				return err
			}
			*took = append(*took, time.Since(began))
		}
		// What the changes caused, such as certificates, must not disturb the next kind.
		return poll(ctx, serveTimeout, 20*time.Millisecond, "the changes are not applied", func() error {
			status, err := n.client.Status(ctx, "", false)
			if err == nil && status.Sync.Running {
				err = errors.New("the node is still at it")
			}
			return err
		})
	}
	at := func(i int) string { return sites[(i*7919)%len(sites)].domain } // spread over the names
	return errors.Join(
		timed(&s.create, func(i int) error {
			_, err := n.client.CreateSite(ctx, api.SiteCreate{Domain: fmt.Sprintf("created-%05d.example.test", i)})
			return err
		}),
		timed(&s.change, func(i int) error {
			_, err := n.client.ChangeSite(ctx, at(i), api.SiteChange{Aliases: &[]string{fmt.Sprintf("changed-%05d.example.test", i)}})
			return err
		}),
		timed(&s.deploy, func(i int) error { return n.client.Deploy(ctx, at(i), bundleName((i/len(sites)+i)%bundles)) }),
	)
}

// Targets with many sites.
const (
	targetServe    = 10  // s
	targetMemory   = 300 // MB
	targetOneMore  = 100 // ms
	megabyte       = 1e6
	commitsGrowing = "flat means ×1"
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

func commitRows(all []*scaled) []row {
	few, many := all[0], all[len(all)-1]
	var rows []row
	for _, kind := range []struct {
		what string
		took func(*scaled) []time.Duration
	}{
		{"add a site (POST /site)", func(s *scaled) []time.Duration { return s.create }},
		{"change a site (PATCH /site)", func(s *scaled) []time.Duration { return s.change }},
		{"deploy (POST /site/…/app)", func(s *scaled) []time.Duration { return s.deploy }},
	} {
		p50 := func(s *scaled) float64 { return milliseconds(percentile(kind.took(s), 50)) }
		r := row{Part: "d", What: fmt.Sprintf("%s, p50, %d sites", kind.what, many.sites), Unit: "ms", Ours: p50(many)}.
			against(fmt.Sprintf("%d sites", few.sites), p50(few))
		for _, s := range slices.Clip(all[1 : len(all)-1]) {
			r.Growth = fmt.Sprintf("%d sites: %s; ", s.sites, number(p50(s)))
		}
		r.Growth += fmt.Sprintf("p99 %s ms; %s", number(milliseconds(percentile(kind.took(many), 99))), commitsGrowing)
		rows = append(rows, r)
	}
	return rows
}
