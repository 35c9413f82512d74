package reconcile

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/bundle"
	"statiko/certs"
	"statiko/secret"
	"statiko/state"
	"statiko/webserver"
)

// Bundles is what a Reconciler needs of [bundle.Library].
type Bundles interface {
	// Ready returns the bundle if it is unpacked on this node.
	Ready(app *state.App) (*bundle.Staged, bool)
	// Ensure has the bundle fetched and unpacked, and returns it.
	Ensure(ctx context.Context, app *state.App) (*bundle.Staged, error)
	// Wanted tells whether the bundle is to be unpacked, whether or not a site serves it now.
	Wanted(s *state.Snapshot, app *state.App) bool
	// Kept returns what is unpacked under a digest, whether or not the state knows it.
	Kept(sha256 string) (*bundle.Staged, bool)
	// Collect removes what is unpacked, and neither wanted nor among the digests in use.
	Collect(inUse map[string]bool) error
}

// Options are what a Reconciler works with. All but the last group are required.
type Options struct {
	Store   state.Store
	Keyring *secret.Keyring
	Bundles Bundles
	Server  webserver.Server
	// Dir is a folder for records of what was last served well.
	Dir string
	// ManifestFile is the manifest's name in bundles.
	ManifestFile string
	// AllowProxy has the hosts that manifests may pass requests on to.
	AllowProxy []string

	// Changed is told at the end of each pass, before Status tells of it, the domains for which the pass changed, or
	// tried to change, what is served. It must not block. It may be nil.
	Changed func(domains []string)
	// DHBits is the size of the group that is used until the state has Diffie-Hellman parameters; 0 means 2048.
	DHBits int
	// FirstPass, if not nil, is called once: when a pass over the whole state has ended well for the first time.
	FirstPass func()
	// Period is how often everything is looked at even if nothing happened; 0 means one minute.
	Period time.Duration
	Log    *zap.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Reconciler makes the web server serve what the state asks for. Its methods are safe for concurrent use.
type Reconciler struct {
	Options
	records records
	stager  stager
	// builtinDH is the group used until the state has parameters; "" before the first pass.
	builtinDH string
	// look has one slot: several reasons to look are one look.
	look chan struct{}

	mu    sync.Mutex
	sites map[string]*site
	// byPair maps the secret that a site presents, or waits for, to the site's domain.
	byPair map[string]string
	// dirty are domains to look at in the next pass although their objects did not change.
	dirty map[string]bool
	// tried are names of bundles that are to be looked at again, as their last try has ended or the next one may be made.
	tried map[string]bool
	all   bool
	// unsettledSites wait for a certificate or a bundle.
	unsettledSites map[string]bool
	// refusedSites were refused by the web server twice in a row, and wait for a change of another.
	refusedSites map[string]bool
	// contents has the bundles that are or were served, by digest.
	contents map[string]*content
	status   Status
	// asked counts the calls of Sync, and looked how many of them a pass that has ended took up.
	asked, looked int64
	// passEnded is closed, and replaced, at the end of each pass.
	passEnded chan struct{}
}

// site is what the Reconciler knows of one domain.
type site struct {
	applied Applied
	served  bool
	content *content
	status  SiteStatus
	waiting bool
	// waitingSince is when waiting last became true.
	waitingSince time.Time
	// awaited is the pair that the site waits for, or waited for last.
	awaited string
	// refused counts the tries in a row that failed. After the first another one follows at once.
	refused int
}

// patience is how long a site that waits counts as work in progress; after that it counts as a fault.
const patience = 30 * time.Second

// New returns a Reconciler that has not looked yet.
func New(o Options) *Reconciler {
	if o.Period == 0 {
		o.Period = time.Minute
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Reconciler{
		Options: o,
		records: records{dir: o.Dir},
		look:    make(chan struct{}, 1),
		sites:   map[string]*site{}, byPair: map[string]string{}, dirty: map[string]bool{}, tried: map[string]bool{}, all: true,
		unsettledSites: map[string]bool{}, refusedSites: map[string]bool{}, contents: map[string]*content{},
		status:    Status{Running: true, LastSync: o.Now()},
		passEnded: make(chan struct{}),
	}
	r.stager = stager{bundles: o.Bundles, jobs: map[string]*job{}, done: r.staged}
	return r
}

// Run applies the state, and whatever becomes of it, until ctx ends. It returns nil then; faults are reported by
// Status and Site, and tried again.
func (r *Reconciler) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() { r.follow(ctx) })
	r.stager.start(ctx, &running)

	ticker := time.NewTicker(r.Period)
	defer ticker.Stop()
	for failed := 0; ; {
		var again <-chan time.Time
		if failed++; r.pass(ctx) {
			failed = 0
		} else {
			again = time.After(min(time.Second<<min(failed-1, 10), r.Period))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.look:
		case <-again:
		case <-ticker.C:
			r.mark(func() { r.all = true })
		}
	}
}

// follow turns new snapshots into looks.
func (r *Reconciler) follow(ctx context.Context) {
	seen := int64(-1)
	for {
		s, err := r.Store.Wait(ctx, seen)
		if err != nil {
			return
		}
		seen = s.Revision()
		r.poke()
	}
}

func (r *Reconciler) poke() {
	select {
	case r.look <- struct{}{}:
	default:
	}
}

// mark changes what the next pass looks at.
func (r *Reconciler) mark(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// Sync looks at everything again, soon, and tries again what failed. It does not wait; see [Reconciler.Wait].
func (r *Reconciler) Sync() {
	r.stager.forgetFailures(true)
	r.mark(func() { r.asked++; r.all = true; r.status.Running = true })
	r.poke()
}

// staged is told when a bundle was unpacked, or could not be.
func (r *Reconciler) staged(app *state.App) {
	s := r.Store.Snapshot()
	r.mark(func() {
		r.tried[app.Name] = true
		for domain := range s.Users(app.Key()) {
			r.dirty[domain] = true
		}
	})
	r.poke()
}

// pass brings what is applied up to the newest snapshot, and tells whether it could, faults of single sites aside.
func (r *Reconciler) pass(ctx context.Context) bool {
	s := r.Store.Snapshot()
	began := r.Now()
	r.mu.Lock()
	asked := r.asked
	r.mu.Unlock()
	domains, apps, everything := r.begin(s, began)
	if everything {
		r.stager.forgetFailures(false)
		r.records.retain(func(domain string) bool {
			return s.RevisionOf(state.Key{Kind: state.KindSite, Name: domain}) != 0
		})
	}
	steps := Plan(View{Snapshot: s, Applied: r.applied, Staged: r.stagedNow, PairFor: certs.PairFor}, domains)
	for _, app := range apps {
		if !r.Bundles.Wanted(s, app) {
			continue
		}
		if _, ready := r.Bundles.Ready(app); !ready {
			r.stager.want(app)
		}
	}
	dhErr := r.tellDH(ctx, s)
	err := r.carryOut(ctx, s, steps)
	r.settle(s, domains, steps, began)
	var untidy error
	if everything && err == nil {
		untidy = r.Bundles.Collect(r.inUse())
	}
	r.tell(steps)
	untidy = errors.Join(untidy, dhErr)
	r.end(s, asked, err, untidy)
	if fault := errors.Join(err, untidy); fault != nil && ctx.Err() == nil {
		r.Log.Error("the pass did not complete", zap.Error(fault))
	}
	return err == nil
}

// begin decides what a pass looks at.
func (r *Reconciler) begin(s *state.Snapshot, now time.Time) (domains []string, apps []*state.App, everything bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, known := s.ChangedSince(r.status.Revision)
	everything = r.all || !known
	r.status.LastSync, r.status.Running = now, true
	r.all = false
	dirty, tried := r.dirty, r.tried
	r.dirty, r.tried = map[string]bool{}, map[string]bool{}
	if everything {
		domains = make([]string, 0, s.Len(state.KindSite))
		for site := range s.Sites() {
			domains = append(domains, site.Domain)
		}
		for d := range r.sites {
			if s.RevisionOf(state.Key{Kind: state.KindSite, Name: d}) == 0 {
				domains = append(domains, d)
			}
		}
		for app := range s.Apps() {
			apps = append(apps, app)
		}
		return domains, apps, true
	}
	for _, k := range keys {
		switch k.Kind {
		case state.KindSite:
			dirty[k.Name] = true
		case state.KindApp:
			if app, ok := s.App(k.Name); ok {
				apps = append(apps, app)
			}
			for d := range s.Users(k) {
				dirty[d] = true
			}
		case state.KindSecret:
			for d := range s.Users(k) {
				dirty[d] = true
			}
			if d, ok := r.byPair[k.Name]; ok {
				dirty[d] = true
			}
		}
	}
	for name := range tried {
		if app, ok := s.App(name); ok {
			apps = append(apps, app)
		}
	}
	for d := range maps.Keys(dirty) {
		domains = append(domains, d)
	}
	return domains, apps, false
}

// end publishes the outcome of a pass: what kept it from applying all, and what else went wrong.
func (r *Reconciler) end(s *state.Snapshot, asked int64, err, untidy error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Err = errors.Join(err, untidy)
	r.status.Running = r.all || len(r.dirty) > 0
	r.status.Revision, r.looked = s.Revision(), asked
	if err != nil {
		r.all = true
	} else if r.FirstPass != nil {
		r.FirstPass()
		r.FirstPass = nil
	}
	close(r.passEnded)
	r.passEnded = make(chan struct{})
}

// tell says which domains the steps were about.
func (r *Reconciler) tell(steps []Step) {
	if r.Changed == nil {
		return
	}
	var domains []string
	for _, step := range steps {
		if step.Action == Serve || step.Action == Remove {
			domains = append(domains, step.Domain)
		}
	}
	if len(domains) > 0 {
		r.Changed(domains)
	}
}

// Served returns what is served for a domain; false if nothing is. Two equal values mean that nothing was changed in
// between.
func (r *Reconciler) Served(domain string) (Applied, bool) { return r.applied(domain) }

func (r *Reconciler) applied(domain string) (Applied, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st, ok := r.sites[domain]
	if !ok || !st.served {
		return Applied{}, false
	}
	return st.applied, true
}

// inUse returns the digests of all bundles that are served, or were last served well.
func (r *Reconciler) inUse() map[string]bool {
	set := r.records.digests()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, st := range r.sites {
		if st.served {
			set[st.applied.SHA256] = true
		}
	}
	for sha := range r.contents {
		if !set[sha] {
			delete(r.contents, sha)
		}
	}
	return set
}
