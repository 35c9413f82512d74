package health

import (
	"context"
	"encoding/pem"

	"go.uber.org/zap"

	"statiko/reconcile"
	"statiko/secret"
	"statiko/state"
)

// work visits sites, one after the other, until ctx ends.
func (p *Prober) work(ctx context.Context) {
	for ctx.Err() == nil {
		domain, ok := p.take()
		if !ok {
			select {
			case <-p.wake:
			case <-ctx.Done():
			}
			continue
		}
		p.probe(ctx, domain)
		p.done(domain)
	}
}

// take returns the domain whose turn it is.
func (p *Prober) take() (domain string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.urgent)+len(p.routine) > 0 {
		if len(p.urgent) > 0 {
			domain, p.urgent = p.urgent[0], p.urgent[1:]
		} else {
			domain, p.routine = p.routine[0], p.routine[1:]
		}
		_, due := p.pending[domain]
		if s := p.sites[domain]; s != nil {
			due = due || s.queued
			s.queued = false
		}
		if _, busy := p.busy[domain]; busy || !due {
			continue // it is being visited, or was since
		}
		p.busy[domain] = false
		if len(p.urgent)+len(p.routine) > 0 {
			p.poke() // another can help
		}
		return domain, true
	}
	p.urgent, p.routine = nil, nil // the memory behind what was taken
	return "", false
}

// done notes that a visit is over.
func (p *Prober) done(domain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	again := p.busy[domain]
	delete(p.busy, domain)
	if again {
		p.urgent = append(p.urgent, domain)
		p.poke()
		return
	}
	delete(p.pending, domain)
	close(p.visited)
	p.visited = make(chan struct{})
}

// probe visits a site and notes how it was.
func (p *Prober) probe(ctx context.Context, domain string) {
	o, inState := p.o.Store.Snapshot().Object(state.Key{Kind: state.KindSite, Name: domain})
	applied, served := p.o.Reconciler.Served(domain)
	if !inState || !served {
		p.mu.Lock()
		delete(p.sites, domain)
		p.mu.Unlock()
		return
	}
	v := visit{site: o.(*state.Site), certificate: p.certificate(applied)}
	fault := v.make(ctx, p.client, p.o.Timeout)
	for n := 1; n < tries && fault != nil && ctx.Err() == nil && !p.fails(domain); n++ {
		fault = v.make(ctx, p.client, p.o.Timeout)
	}
	if now, ok := p.o.Reconciler.Served(domain); ctx.Err() != nil || !ok || now != applied {
		return // the visit says nothing of what is served now; whoever changed that has it visited again
	}
	p.note(domain, applied, fault)
}

// fails tells whether the last visit found a fault.
func (p *Prober) fails(domain string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[domain]
	return s != nil && s.fault != ""
}

// note keeps what a visit found.
func (p *Prober) note(domain string, applied reconcile.Applied, fault error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[domain]
	if s == nil {
		s = &site{}
		p.sites[domain] = s
	}
	first := !s.probed || s.applied != applied
	before := s.fault
	s.applied, s.probed, s.at, s.fault = applied, true, p.o.Now(), ""
	if fault == nil {
		s.failures = 0
		s.due = s.at.Add(p.spread(first))
		if before != "" {
			p.o.Log.Info("a site answers again", zap.String("site", domain))
		}
		return
	}
	s.fault = fault.Error()
	s.due = s.at.Add(min(p.o.Every/againAfter<<min(s.failures, 10), p.o.Every))
	s.failures++
	if before != s.fault {
		p.o.Log.Warn("a site does not answer as it should", zap.String("site", domain), zap.String("reason", s.fault))
	}
}

// certificate returns the DER of the certificate that a site has to present; nil if that cannot be told now, because
// it is just being replaced.
func (p *Prober) certificate(applied reconcile.Applied) []byte {
	snap := p.o.Store.Snapshot()
	sealed, ok := snap.Secret(applied.Pair)
	if !ok || snap.RevisionOf(sealed.Key()) != applied.PairRevision {
		return nil
	}
	packed, err := p.o.Keyring.Open(sealed.Sealed)
	if err != nil {
		return nil
	}
	_, chain, err := secret.UnpackPair(packed)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(chain)
	if block == nil {
		return nil
	}
	return block.Bytes
}
