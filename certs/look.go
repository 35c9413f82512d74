package certs

import (
	"context"
	"strings"
	"time"

	"statiko/secret"
	"statiko/state"
)

// round is one run of the duty. Only the goroutine of Run uses it; workers and commits talk to it by channels.
type round struct {
	d     *Duty
	fence state.Fence
	ctx   context.Context
	// start runs a function in a goroutine that Run waits for.
	start func(func())

	jobs    chan job
	results chan result
	// commits has one slot, so that a commit never waits for Run.
	commits chan commit

	// seen is the snapshot that was looked at last.
	seen             *state.Snapshot
	lastFull, fullAt time.Time
	// thorough tells that the last full look was at pairs that this run did not know. Pairs changed after
	// fullRevision are not known either.
	thorough     bool
	fullRevision int64

	// missing and checks are domains to look at, the oldest first. What is to be done is decided when it is begun,
	// so a domain may stand there twice.
	missing, checks []string
	// ahead is the next job, prepared; inWork has the domains of jobs that are begun, up to their commit, and
	// tells whether to look at the domain again then.
	ahead  *job
	inWork map[string]bool
	// making counts the jobs that workers have.
	making int
	failed map[string]failure
	// retryAt is when the first of failed is due; zero if none is.
	retryAt time.Time

	// unused are pairs that no site needs, and expiring the same in the order of their time.
	unused   map[string]unusedPair
	expiring []unusedPair

	// done are pairs to be committed, the oldest since doneSince.
	done       []made
	doneSince  time.Time
	batchLimit int
	inCommit   map[string]bool
	pause      time.Duration
	pausedTo   time.Time
}

type unusedPair struct {
	name string
	// domain is that of the site that needed it, "" if that is not known.
	domain string
	at     time.Time
}

type failure struct {
	attempts int
	at       time.Time
}

// absorb looks at what is new in the snapshot.
func (r *round) absorb(s *state.Snapshot) {
	prev := r.seen
	if prev == s {
		return
	}
	r.seen = s
	if prev == nil || prev.Head() != s.Head() {
		r.lookAtAll(true)
		return
	}
	keys, ok := s.ChangedSince(prev.Revision())
	if !ok {
		r.lookAtAll(true)
		return
	}
	for _, k := range keys {
		switch {
		case k.Kind == state.KindSite:
			r.lookAtSite(prev, k.Name)
		case k.Kind == state.KindSecret && !r.inCommit[k.Name] &&
			(strings.HasPrefix(k.Name, state.PrefixSelfSigned) || strings.HasPrefix(k.Name, state.PrefixACME)):
			r.lookAtSecret(prev, k.Name)
		}
	}
}

// lookAtSite looks at a site that was added, changed or removed.
func (r *round) lookAtSite(prev *state.Snapshot, domain string) {
	before, now := needIn(prev, domain), needIn(r.seen, domain)
	if before != "" && before != now {
		r.release(before, domain)
	}
	if now == "" {
		return
	}
	delete(r.unused, now)
	if _, ok := r.seen.Secret(now); !ok {
		r.missing = append(r.missing, domain)
	} else if before != now {
		r.checks = append(r.checks, domain)
	}
}

// lookAtSecret looks at a pair that somebody else added, changed or removed. Only its content tells whose it is.
func (r *round) lookAtSecret(prev *state.Snapshot, name string) {
	sec, ok := r.seen.Secret(name)
	if !ok {
		delete(r.unused, name)
		if sec, ok = prev.Secret(name); !ok {
			return
		}
	}
	domain := r.d.ownerOf(sec)
	if domain == "" {
		r.lookAtAllSoon()
		return
	}
	r.reconsider(domain)
	if _, ok := r.seen.Secret(name); ok && strings.HasPrefix(name, state.PrefixSelfSigned) && needIn(r.seen, domain) != name {
		r.release(name, domain)
	}
}

// reconsider looks at the site of a domain as if it was new.
func (r *round) reconsider(domain string) {
	site, ok := siteOf(r.seen, domain)
	if !ok {
		return
	}
	name := needIn(r.seen, domain)
	if name == "" {
		r.release(secret.PairName(state.PrefixSelfSigned, site.Domain, site.Aliases), domain)
		return
	}
	delete(r.unused, name)
	if _, ok := r.seen.Secret(name); ok {
		r.checks = append(r.checks, domain)
	} else {
		r.missing = append(r.missing, domain)
	}
}

// release notes that no site needs the pair any more.
func (r *round) release(name, domain string) {
	if _, ok := r.unused[name]; ok {
		return
	}
	if _, ok := r.seen.Secret(name); !ok {
		return
	}
	u := unusedPair{name, domain, time.Now().Add(r.d.o.Grace)}
	r.unused[name] = u
	r.expiring = append(r.expiring, u)
}

// lookAtAll looks at every site and every pair; thoroughly if they may all be other ones than before.
func (r *round) lookAtAll(thorough bool) {
	now := time.Now()
	r.thorough, r.fullRevision = thorough, r.seen.Revision()
	r.lastFull, r.fullAt = now, now.Add(jittered(r.d.o.Period))
	r.missing, r.checks = nil, nil
	needed := make(map[string]struct{}, r.seen.Len(state.KindSite))
	has := hasIn(r.seen)
	for site := range r.seen.Sites() {
		name := selfSignedFor(site, has)
		if name == "" {
			continue
		}
		needed[name] = struct{}{}
		delete(r.unused, name)
		if has(name) {
			r.checks = append(r.checks, site.Domain)
		} else {
			r.missing = append(r.missing, site.Domain)
		}
	}
	for sec := range r.seen.Secrets(state.PrefixSelfSigned) {
		if _, ok := needed[sec.Name]; !ok {
			if _, known := r.unused[sec.Name]; !known {
				r.release(sec.Name, r.d.ownerOf(sec))
			}
		}
	}
	for name := range r.unused {
		if !has(name) {
			delete(r.unused, name)
		}
	}
}

// lookAtAllSoon brings the next full look forward.
func (r *round) lookAtAllSoon() {
	if at := r.lastFull.Add(minFullLooks); at.Before(r.fullAt) {
		r.fullAt = at
	}
}

func hasIn(s *state.Snapshot) func(string) bool {
	return func(name string) bool { _, ok := s.Secret(name); return ok }
}

// siteOf returns the site with the primary domain.
func siteOf(s *state.Snapshot, domain string) (*state.Site, bool) {
	o, ok := s.Object(state.Key{Kind: state.KindSite, Name: domain})
	if !ok {
		return nil, false
	}
	return o.(*state.Site), true
}

// needIn returns the self-signed pair that the site with the primary domain needs, or "".
func needIn(s *state.Snapshot, domain string) string {
	site, ok := siteOf(s, domain)
	if !ok {
		return ""
	}
	return selfSignedFor(site, hasIn(s))
}
