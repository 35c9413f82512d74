package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/certs"
	"statiko/secret"
	"statiko/state"
	"statiko/webserver"
)

// batch is how many sites are handed to the web server at once: enough to make its cost per call vanish, few
// enough that the first sites of many are served soon. A web server can ask for another number.
const batch = 500

// outcome is what became of one step.
type outcome struct {
	step    Step
	change  webserver.Change
	content *content
	remark  string
	err     error
}

// carryOut does what the steps say and notes the outcome of each. The error is one that concerns all sites.
func (r *Reconciler) carryOut(ctx context.Context, s *state.Snapshot, steps []Step) error {
	var gone, serve []*outcome
	for _, step := range steps {
		o := &outcome{step: step}
		switch step.Action {
		case Stage:
			r.stager.want(step.App)
		case Hold:
			r.held(step)
		case Remove:
			o.change = webserver.Change{Domain: step.Domain}
			gone = append(gone, o)
		case Serve:
			serve = append(serve, o)
		}
	}
	// What is removed goes along with the first, so that its names can move to others without a gap.
	next := gone
	size := batch
	if b, ok := r.Server.(webserver.Batcher); ok {
		size = b.Batch()
	}
	for len(next)+len(serve) > 0 {
		part := serve[:min(size, len(serve))]
		serve = serve[len(part):]
		r.prepare(s, part)
		next = append(next, part...)
		if err := r.hand(ctx, next); err != nil {
			if ctx.Err() == nil {
				r.fail(append(next, serve...), err)
			}
			return err
		}
		next = nil
	}
	return ctx.Err()
}

// fail notes that nothing became of the outcomes, so that no site counts as served as asked that is not.
func (r *Reconciler) fail(outcomes []*outcome, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range outcomes {
		if o.step.Action == Serve {
			r.show(r.entry(o.step.Domain), o.step.Site, err.Error())
		}
	}
}

// prepare makes what the web server is told, on all processors, as opening certificates is work.
func (r *Reconciler) prepare(s *state.Snapshot, outcomes []*outcome) {
	next := make(chan *outcome)
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(outcomes)) {
		workers.Go(func() {
			for o := range next {
				o.err = r.prepareOne(s, o)
			}
		})
	}
	for _, o := range outcomes {
		next <- o
	}
	close(next)
	workers.Wait()
}

func (r *Reconciler) prepareOne(s *state.Snapshot, o *outcome) error {
	pair, err := r.openPair(s, o.step.Want.Pair)
	if err != nil {
		return err
	}
	o.remark = o.step.Remark
	if o.step.Site.TLS.Type == state.TLSImported && !o.step.KeepPair {
		remark, err := r.judge(o.step.Site, pair)
		if err != nil {
			return err
		}
		if o.remark == "" {
			o.remark = remark
		}
	}
	if o.content, err = r.contentFor(o.step); err != nil {
		return err
	}
	site := &webserver.Site{
		Domain: o.step.Site.Domain, Aliases: o.step.Site.Aliases, Temporary: o.step.Site.Temporary, Certificate: pair,
	}
	if c := o.content; c != nil {
		site.Root, site.Version, site.Manifest = c.root, c.sha256, c.manifest
	}
	o.change = webserver.Change{Domain: site.Domain, Site: site}
	return nil
}

// contentFor returns what the site is to serve: nil for the placeholder page.
func (r *Reconciler) contentFor(step Step) (*content, error) {
	if step.App != nil {
		return r.load(step.App)
	}
	if !step.KeepContent {
		return nil, nil
	}
	r.mu.Lock()
	st := r.sites[step.Domain]
	r.mu.Unlock()
	if st != nil && st.served {
		return st.content, nil
	}
	c, err := r.lastGood(step.Domain)
	if err != nil {
		return nil, errNothingToKeep
	}
	return c, nil
}

// errNothingToKeep is for a site that cannot be served as asked and of which there is no earlier version. What is
// wrong with it is the step's problem.
var errNothingToKeep = errors.New("nothing was served before")

// openPair opens the secret that holds a certificate.
func (r *Reconciler) openPair(s *state.Snapshot, name string) (webserver.Pair, error) {
	sealed, ok := s.Secret(name)
	if !ok {
		return webserver.Pair{}, fmt.Errorf("its certificate is no longer in the state")
	}
	packed, err := r.Keyring.Open(sealed.Sealed)
	if err != nil {
		return webserver.Pair{}, fmt.Errorf("its certificate cannot be opened: %w", err)
	}
	key, certificate, err := secret.UnpackPair(packed)
	if err != nil {
		return webserver.Pair{}, fmt.Errorf("its certificate cannot be read: %w", err)
	}
	return webserver.Pair{CertificatePEM: certificate, KeyPEM: key}, nil
}

// judge says what an imported pair lacks for the site: an error if it cannot be served with it.
func (r *Reconciler) judge(site *state.Site, pair webserver.Pair) (remark string, err error) {
	var fatal, remarks []string
	for _, p := range certs.Judge(pair.CertificatePEM, pair.KeyPEM, site.Names(), r.Now()) {
		if p.Fatal {
			fatal = append(fatal, p.Text)
		} else {
			remarks = append(remarks, p.Text)
		}
	}
	if len(fatal) > 0 {
		return "", fmt.Errorf("the imported certificate %q: %s", site.TLS.Certificate, strings.Join(fatal, "; "))
	}
	if len(remarks) > 0 {
		remark = fmt.Sprintf("the imported certificate %q: %s", site.TLS.Certificate, strings.Join(remarks, "; "))
	}
	return remark, nil
}

// hand tells the web server and notes the outcomes.
func (r *Reconciler) hand(ctx context.Context, outcomes []*outcome) error {
	changes := make([]webserver.Change, 0, len(outcomes))
	for _, o := range outcomes {
		if o.err == nil {
			changes = append(changes, o.change)
		}
	}
	var failed map[string]error
	if len(changes) > 0 {
		var err error
		if failed, err = r.Server.Apply(ctx, changes); err != nil {
			return fmt.Errorf("tell the web server: %w", err)
		}
	}
	for _, o := range outcomes {
		if o.err == nil {
			o.err = failed[o.step.Domain]
		}
		r.note(o)
	}
	return nil
}

// note remembers what became of a step.
func (r *Reconciler) note(o *outcome) {
	domain := o.step.Domain
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.entry(domain)
	if o.step.Action == Remove {
		if o.err == nil {
			r.forget(domain)
			r.retryRefused()
		}
		return
	}
	if errors.Is(o.err, errNothingToKeep) {
		r.report(st, o.step.Site, o.step.Problem, o.step.Waiting)
		return
	}
	if o.err != nil {
		r.await(st, domain, o.step.Want.Pair) // a new one may be the remedy
		r.report(st, o.step.Site, o.err.Error(), false)
		if st.refused++; st.refused == 1 {
			// The web server may have refused a name that another site of the same pass gave up.
			r.dirty[domain] = true
			r.poke()
		} else {
			r.refusedSites[domain] = true
		}
		return
	}
	st.refused, st.served = 0, true
	r.retryRefused()
	if st.applied.Pair != o.step.Want.Pair {
		r.noPair(st.applied.Pair, domain)
	}
	st.applied, st.content = o.step.Want, o.content
	if o.content == nil {
		st.applied.SHA256, st.applied.Uploaded = "", 0
		r.records.forget(domain)
	} else {
		if o.step.App == nil {
			st.applied.SHA256, st.applied.Uploaded = o.content.sha256, o.content.uploaded
		}
		if err := r.records.keep(domain, *o.content); err != nil {
			r.Log.Warn("could not note what was served last", zap.String("site", domain), zap.Error(err))
		}
	}
	r.byPair[st.applied.Pair] = domain
	r.report(st, o.step.Site, o.step.Problem, o.step.Waiting)
	if st.status.Healthy {
		st.status.Err = o.remark
	}
	r.Log.Debug("served", zap.String("site", domain), zap.String("because", o.step.Reason))
}

// retryRefused has sites that the web server refused looked at again after another one changed: it may have given up a
// name that they want. r.mu is held.
func (r *Reconciler) retryRefused() {
	if len(r.refusedSites) == 0 {
		return
	}
	maps.Copy(r.dirty, r.refusedSites)
	clear(r.refusedSites)
	r.poke()
}

// held notes a site that stays as it is.
func (r *Reconciler) held(step Step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report(r.entry(step.Domain), step.Site, step.Problem, step.Waiting)
}

// settle notes that the domains of a pass for which there was nothing to do are as the state asks, or gone.
func (r *Reconciler) settle(s *state.Snapshot, domains []string, steps []Step, now time.Time) {
	planned := make(map[string]bool, len(steps))
	for _, step := range steps {
		planned[step.Domain] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range domains {
		st, ok := r.sites[d]
		if planned[d] || !ok {
			continue
		}
		if s.RevisionOf(state.Key{Kind: state.KindSite, Name: d}) == 0 {
			r.forget(d) // it was removed before it was ever served
			continue
		}
		st.status.Time, st.refused = now, 0
		if !st.status.Healthy {
			st.status.Healthy, st.status.Err = true, ""
		}
		st.waiting = false
		delete(r.unsettledSites, d)
	}
}

// forget drops all that is known of a domain that is not served any more. r.mu is held.
func (r *Reconciler) forget(domain string) {
	if st, ok := r.sites[domain]; ok {
		r.noPair(st.applied.Pair, domain)
		r.noPair(st.awaited, domain)
	}
	delete(r.sites, domain)
	delete(r.unsettledSites, domain)
	delete(r.refusedSites, domain)
	r.records.forget(domain)
}

// await has the domain looked at when the pair changes, beside the one that it presents. r.mu is held.
func (r *Reconciler) await(st *site, domain, name string) {
	if st.awaited != name && st.awaited != st.applied.Pair {
		r.noPair(st.awaited, domain)
	}
	st.awaited, r.byPair[name] = name, domain
}

// noPair notes that the domain neither presents the pair nor waits for it. r.mu is held.
func (r *Reconciler) noPair(name, domain string) {
	if r.byPair[name] == domain {
		delete(r.byPair, name)
	}
}

// entry returns what is known of a domain, new if that is nothing. r.mu is held.
func (r *Reconciler) entry(domain string) *site {
	st, ok := r.sites[domain]
	if !ok {
		st = &site{status: SiteStatus{Domain: domain}}
		r.sites[domain] = st
	}
	return st
}

// report sets the status of a site that is in the state. r.mu is held.
func (r *Reconciler) report(st *site, want *state.Site, problem string, waiting bool) {
	now := r.Now()
	if problem != "" && problem != st.status.Err && !waiting {
		r.Log.Warn("a site cannot be served as asked", zap.String("site", want.Domain), zap.String("reason", problem))
	}
	if waiting && !st.waiting {
		st.waitingSince = now
	}
	st.waiting = waiting
	if waiting {
		r.unsettledSites[want.Domain] = true
		r.await(st, want.Domain, secret.PairName(state.PrefixSelfSigned, want.Domain, want.Aliases))
	} else {
		delete(r.unsettledSites, want.Domain)
	}
	r.show(st, want, problem)
}

// show sets what is told of a site. r.mu is held.
func (r *Reconciler) show(st *site, want *state.Site, problem string) {
	st.status = SiteStatus{Domain: want.Domain, App: want.AppName(), Healthy: problem == "", Err: problem, Time: r.Now()}
	if st.served && st.content != nil {
		st.status.Serving = st.content.app
	}
}
