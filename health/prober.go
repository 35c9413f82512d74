package health

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/reconcile"
	"statiko/secret"
	"statiko/state"
)

// Reconciler is what a Prober asks of [reconcile.Reconciler].
type Reconciler interface {
	// Site tells how one site is applied.
	Site(domain string) reconcile.SiteStatus
	// Served returns what is served for a domain.
	Served(domain string) (reconcile.Applied, bool)
}

// Options are what a Prober works with. All but the last group are required.
type Options struct {
	Store      state.Store
	Keyring    *secret.Keyring
	Reconciler Reconciler
	// HTTP and HTTPS are the addresses at which the node's web server serves sites. If it listens on all addresses,
	// it is visited at the loopback address.
	HTTP, HTTPS net.Addr

	// Every is how long what was found counts; 0 means 5 minutes.
	Every time.Duration
	// Timeout bounds one visit; 0 means 1.5 s.
	Timeout time.Duration
	// Log may be nil; Now is the clock, nil means time.Now.
	Log *zap.Logger
	Now func() time.Time
}

const (
	defaultEvery   = 5 * time.Minute
	defaultTimeout = 1500 * time.Millisecond
	// parallel is how many sites are visited at a time.
	parallel = 3
	// tries is how often a site that is not known to fail is visited before it counts as failing, so that a machine
	// that is busy for a moment is no fault of the site.
	tries = 2
	// patience is for how long after the newest change one that is not visited yet counts as work in progress.
	patience = 10 * time.Second
	// fewSites is how many sites may change at once and still be visited before all others.
	fewSites = 100
	// sweepEvery is how often it is looked whose turn it is.
	sweepEvery = time.Second
	// againAfter is after which part of Every a failing site is visited again, 5 s of 5 minutes; it doubles with each
	// failure, up to Every.
	againAfter = 60
)

// Prober visits the sites that its node serves: each soon after what is served for it changed, then every five
// minutes, spread over that time, and a failing one more often. Its methods are safe for concurrent use.
type Prober struct {
	o      Options
	client *http.Client
	// wake has one slot: there is something to take.
	wake chan struct{}

	mu    sync.Mutex
	sites map[string]*site
	// urgent and routine are domains whose turn it is, in order; the second waits for the first. Those that were
	// visited meanwhile are passed over.
	urgent, routine []string
	// pending are the domains that changed, or that somebody asked for, and were not visited since; true says that
	// they are among urgent.
	pending map[string]bool
	// busy are the domains that are being visited; true says that they have to be visited again then.
	busy map[string]bool
	// newest is when the newest of pending came.
	newest time.Time
	// visited is closed, and replaced, whenever a visit is over.
	visited chan struct{}
	// allAt is when the list of all sites is looked through for what was missed.
	allAt time.Time
}

// site is what is known of one site.
type site struct {
	// applied is what was served when it was visited last; probed tells whether it ever was.
	applied reconcile.Applied
	probed  bool
	// fault is what was wrong; "" for nothing. at is when that was found, and failures counts those in a row.
	fault    string
	at       time.Time
	failures int
	// due is when it is visited again; queued tells that it is among routine.
	due    time.Time
	queued bool
}

// New checks the options and returns a Prober. It starts nothing.
func New(o Options) (*Prober, error) {
	if o.Store == nil || o.Keyring == nil || o.Reconciler == nil || o.HTTP == nil || o.HTTPS == nil {
		return nil, errors.New("health: a store, keyring, reconciler and the web server's addresses are required")
	}
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Prober{
		o: o, client: newClient(reach(o.HTTP), reach(o.HTTPS), o.Timeout), wake: make(chan struct{}, 1), sites: map[string]*site{},
		pending: map[string]bool{}, busy: map[string]bool{}, visited: make(chan struct{}),
	}, nil
}

// Run visits sites until ctx ends, and then returns nil. Call it once.
func (p *Prober) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	defer p.client.CloseIdleConnections()
	defer workers.Wait()
	for range parallel {
		workers.Go(func() { p.work(ctx) })
	}
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		p.sweep()
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Changed has the domains visited soon, because what is served for them may have changed: few before all others. It
// does not block.
func (p *Prober) Changed(domains []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range domains {
		p.want(d, len(domains) <= fewSites)
	}
	p.poke()
}

// want has a domain visited soon. p.mu is held.
func (p *Prober) want(domain string, urgent bool) {
	p.newest = p.o.Now()
	if _, busy := p.busy[domain]; busy {
		p.pending[domain], p.busy[domain] = true, true
		return
	}
	hurried, wanted := p.pending[domain]
	switch {
	case urgent && !hurried:
		p.pending[domain] = true
		p.urgent = append(p.urgent, domain)
	case !urgent && !wanted:
		p.pending[domain] = false
		p.routine = append(p.routine, domain)
	}
}

// Pending tells whether something that changed has not been visited since, so that Site may tell of it wrongly. Ten
// seconds after the newest change it says no, whatever is left: thousands of sites that changed at once take longer.
func (p *Prober) Pending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending) > 0 && p.o.Now().Sub(p.newest) < patience
}

// Probe has a site visited or, if domain is "", all sites, and returns when that is done or ctx ends.
func (p *Prober) Probe(ctx context.Context, domain string) {
	if domain == "" {
		p.Changed(p.served())
	} else {
		p.Changed([]string{domain})
	}
	for {
		p.mu.Lock()
		visited, left := p.visited, len(p.pending) > 0
		if domain != "" {
			_, left = p.pending[domain]
		}
		p.mu.Unlock()
		if !left {
			return
		}
		select {
		case <-visited:
		case <-ctx.Done():
			return
		}
	}
}

// served returns the domains of all sites in the state that are served.
func (p *Prober) served() []string {
	var domains []string
	for s := range p.o.Store.Snapshot().Sites() {
		if _, ok := p.o.Reconciler.Served(s.Domain); ok {
			domains = append(domains, s.Domain)
		}
	}
	return domains
}

// Site tells how a site is: as [reconcile.Reconciler.Site] and, if that has nothing against it, as it was found at the
// last visit. A site that was not visited since it was changed is told of as it was applied.
func (p *Prober) Site(domain string) reconcile.SiteStatus {
	is := p.o.Reconciler.Site(domain)
	if !is.Healthy {
		return is
	}
	applied, ok := p.o.Reconciler.Served(domain)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sites[domain]
	if !ok || s == nil || !s.probed || s.applied != applied {
		return is
	}
	is.Time = s.at
	if s.fault != "" {
		is.Healthy, is.Err = false, s.fault
	}
	return is
}

// sweep finds out whose turn it is.
func (p *Prober) sweep() {
	now := p.o.Now()
	p.mu.Lock()
	all := !now.Before(p.allAt)
	if all {
		p.allAt = now.Add(p.o.Every)
	}
	p.mu.Unlock()
	var served []string
	if all {
		served = p.served()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range served {
		if p.sites[d] == nil {
			p.want(d, false)
		}
	}
	for d, s := range p.sites {
		if !s.queued && !now.Before(s.due) {
			s.queued = true
			p.routine = append(p.routine, d)
		}
	}
	p.poke()
}

func (p *Prober) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// spread returns a time from now on within which a site that was just found well is visited again. The first time
// after a change it is shorter by chance, so that sites that were changed together are not visited together for ever.
func (p *Prober) spread(first bool) time.Duration {
	if first {
		return p.o.Every/10 + rand.N(p.o.Every*9/10)
	}
	return p.o.Every - rand.N(p.o.Every/20+1)
}
