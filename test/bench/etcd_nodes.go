package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"statiko/state"
)

// nodesPart is the letter of this part.
const nodesPart = "h"

// measureNodes has a cluster of the real program make certificates for sites that were restored without any, and
// serve them from each node.
func measureNodes(ctx context.Context, b *bench) (err error) {
	nodes, server, end, err := b.startCluster("cluster")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	e := &etcd{bench: b, endpoints: server.Endpoints()}
	observer, err := e.openHealthy(ctx, "/statiko", "observer")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, observer.close()) }()
	return b.certify(ctx, nodes, observer)
}

// certify measures; what the nodes commit is seen by the observer.
func (b *bench) certify(ctx context.Context, nodes []*node, observer *replica) error {
	count := b.size.etcd.certified
	say("  %d sites: restore, certificates, all served by each node", count)
	began := time.Now()
	sites, err := nodes[0].restoreSites(ctx, count)
	if err != nil {
		return err
	}
	certificates := func(s *state.Snapshot) int {
		n := 0
		for range s.Secrets(state.PrefixSelfSigned) {
			n++
		}
		return n
	}
	first, err := observer.until(ctx, "the sites are not there", func(s *state.Snapshot) bool { return s.Len(state.KindSite) >= count })
	if err != nil {
		return err
	}
	already := certificates(observer.Snapshot())
	last, err := observer.until(ctx, "not all sites have certificates", func(s *state.Snapshot) bool { return certificates(s) >= count })
	if err != nil {
		return err
	}
	all, inner := errgroup.WithContext(ctx)
	for _, n := range nodes {
		all.Go(func() error {
			p := n.prober()
			if err := p.until(inner, sites[len(sites)-1], 20*time.Millisecond); err != nil {
				return err
			}
			return p.askAll(inner, sites)
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	served := time.Since(began)
	made, took := count-already, last.Sub(first)
	if made == 0 {
		// So few that they were made before the first look.
		made, took = count, last.Sub(began)
	}
	what := fmt.Sprintf(", %d nodes on one machine, %d sites", len(nodes), count)
	b.add(
		row{Part: nodesPart, What: "etcd: certificates made and committed" + what, Unit: "a second", Ours: float64(made) / took.Seconds()},
		row{Part: nodesPart, What: "etcd: restore without certificates to all served by each node" + what, Unit: "sites/s", Ours: float64(count) / served.Seconds()},
	)
	return nil
}

// until waits until the condition holds, and returns when that was seen.
func (r *replica) until(ctx context.Context, what string, holds func(*state.Snapshot) bool) (time.Time, error) {
	bounded, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	for s := r.Snapshot(); ; {
		if holds(s) {
			return time.Now(), nil
		}
		// Looking costs more the more there is: not at each of many changes.
		if err := rest(bounded, 10*time.Millisecond); err != nil && ctx.Err() == nil {
			return time.Time{}, fmt.Errorf("%s within %s", what, serveTimeout)
		}
		next, err := r.Wait(bounded, s.Revision())
		switch {
		case ctx.Err() != nil:
			return time.Time{}, ctx.Err()
		case err != nil:
			return time.Time{}, fmt.Errorf("%s within %s: %w", what, serveTimeout, err)
		}
		s = next
	}
}
