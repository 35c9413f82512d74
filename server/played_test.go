package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"statiko/reconcile"
	"statiko/state"
)

// played is a reconciler that has applied everything at once, unless it is told otherwise.
type played struct {
	store state.Store

	mu     sync.Mutex
	follow bool // every revision is applied as soon as it exists
	status reconcile.Status
	sites  map[string]reconcile.SiteStatus
	syncs  int
}

func (p *played) Status() reconcile.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	if p.follow {
		s.Revision = p.store.Snapshot().Revision()
	}
	return s
}

func (p *played) Site(domain string) reconcile.SiteStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.sites[domain]; ok {
		return s
	}
	if !p.follow {
		return reconcile.SiteStatus{Domain: domain, Err: "it is not applied yet"}
	}
	s := reconcile.SiteStatus{Domain: domain, Healthy: true, Time: time.Unix(1_600_000_000, 0)}
	if site, ok := p.store.Snapshot().Site(domain); ok {
		s.App, s.Serving = site.AppName(), site.AppName()
	}
	return s
}

func (p *played) Sync() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.syncs++
}

func (p *played) Wait(ctx context.Context, revision int64, domain string) error {
	if p.Status().Revision < revision {
		<-ctx.Done()
		return ctx.Err()
	}
	if s := p.Site(domain); domain != "" && !s.Healthy {
		return errors.New(s.Err)
	}
	return nil
}

func (p *played) set(change func(*played)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}
