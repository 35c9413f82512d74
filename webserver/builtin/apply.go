package builtin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"statiko/bundle"
	"statiko/webserver"
)

// Apply makes the changes current in one step: no request sees some of them. See [webserver.Server]. Names may
// move between the sites of one call in any order. A name that two sites claim stays with the one that has it, or
// that stands first; the other site's change fails. If a domain stands twice in changes, the last one counts.
func (s *Server) Apply(ctx context.Context, changes []webserver.Change) (map[string]error, error) {
	s.applying.Lock()
	defer s.applying.Unlock()

	old := s.table.Load()
	plan := newApplyPlan(old, changes)
	if err := plan.build(ctx, s.pairs, s.opt.Behind); err != nil {
		return nil, err
	}
	plan.settle()

	next := old.copy()
	for _, st := range plan.steps {
		if st.err == nil && st.old != nil {
			next.remove(st.old)
		}
	}
	for _, st := range plan.steps {
		if st.err != nil || st.site == nil {
			continue
		}
		if !s.opt.Behind {
			st.site.pair = s.pairs.use(st.site.pair)
		}
		next.add(st.site)
	}
	s.table.Store(next)
	failed := map[string]error{}
	for _, st := range plan.steps {
		switch {
		case st.err != nil:
			failed[st.change.Domain] = st.err
		case st.old != nil && !s.opt.Behind:
			s.pairs.release(st.old.pair)
		}
	}
	return failed, nil
}

// applyPlan is what becomes of each change.
type applyPlan struct {
	old   *table
	steps []*applyStep
	// domains are those that the call changes.
	domains map[string]*applyStep
}

type applyStep struct {
	change webserver.Change
	old    *site // what is served now; nil if nothing is
	site   *site // what shall be; nil to remove
	err    error // why not; then old stays
}

func newApplyPlan(old *table, changes []webserver.Change) *applyPlan {
	p := &applyPlan{old: old, domains: make(map[string]*applyStep, len(changes))}
	for _, c := range changes {
		if st := p.domains[c.Domain]; st != nil {
			st.change = c
			continue
		}
		st := &applyStep{change: c}
		if o := old.find(c.Domain); o != nil && o.domain == c.Domain {
			st.old = o
		}
		p.domains[c.Domain] = st
		p.steps = append(p.steps, st)
	}
	return p
}

// build makes the sites, on all cores: parsing pairs is nearly all the work. The only error is that of ctx.
func (p *applyPlan) build(ctx context.Context, pairs pairPool, behind bool) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(p.steps)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(p.steps) {
					return
				}
				if st := p.steps[i]; st.change.Site != nil {
					st.site, st.err = buildSite(st.change, pairs, behind)
				}
			}
		})
	}
	workers.Wait()
	return ctx.Err()
}

// settle refuses changes that claim a name of another site. A refused site keeps its old names, which another
// change may have been given already, so it looks again until nothing more is refused.
func (p *applyPlan) settle() {
	for again := true; again; {
		again = false
		owner := make(map[string]string, len(p.steps))
		for _, st := range p.steps {
			if st.err != nil && st.old != nil {
				for _, name := range st.old.names {
					owner[name] = st.old.domain
				}
			}
		}
		for _, st := range p.steps {
			if st.err != nil || st.site == nil {
				continue
			}
			if st.err = p.claim(owner, st.site); st.err != nil {
				again = again || st.old != nil
				if again {
					break
				}
			}
		}
	}
}

// claim gives the names to the site, all or none.
func (p *applyPlan) claim(owner map[string]string, site *site) error {
	for _, name := range site.names {
		domain, taken := owner[name]
		if !taken {
			// A site that this call does not touch; those that it does touch are in owner or give the name up.
			if o := p.old.find(name); o != nil && p.domains[o.domain] == nil {
				domain, taken = o.domain, true
			}
		}
		if taken && domain != site.domain {
			return fmt.Errorf("name %q belongs to the site %q", name, domain)
		}
	}
	for _, name := range site.names {
		owner[name] = site.domain
	}
	return nil
}

func buildSite(c webserver.Change, pairs pairPool, behind bool) (*site, error) {
	in := c.Site
	if in.Domain != c.Domain {
		return nil, fmt.Errorf("the change is for %q, its site for %q", c.Domain, in.Domain)
	}
	s := &site{domain: in.Domain, temporary: in.Temporary, root: in.Root, version: in.Version, manifest: in.Manifest}
	s.names = make([]string, 1, 1+len(in.Aliases))
	s.names[0] = in.Domain
	s.names = append(s.names, in.Aliases...)
	for i, name := range s.names {
		if name == "" || hostName(name) != name {
			return nil, fmt.Errorf("name %q: not a lower-case host name", name)
		}
		if slices.Contains(s.names[:i], name) {
			return nil, fmt.Errorf("name %q: stands twice", name)
		}
	}
	if s.root != "" {
		if s.version == "" {
			return nil, errors.New("bundle: has no version")
		}
		info, err := os.Stat(filepath.Join(s.root, bundle.FilesDir))
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		if !info.IsDir() {
			return nil, fmt.Errorf("bundle: %s is not a folder", filepath.Join(s.root, bundle.FilesDir))
		}
	}
	s.rules = ruleEffects(in.Manifest)
	digest := digestPair(in.Certificate)
	if s.pair = pairs.get(digest); s.pair != nil {
		return s, nil
	}
	var err error
	if s.pair, err = parsePair(in.Certificate, digest); err != nil {
		return nil, err
	}
	if behind {
		s.pair = &pair{digest: digest}
	}
	return s, nil
}
