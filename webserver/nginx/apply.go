package nginx

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"go.uber.org/zap"

	"statiko/webserver"
)

// Apply makes the changes current in one reload, or without one if only bundles changed. See [webserver.Server]. Names
// may move between the sites of one call in any order, as in package builtin.
func (s *Server) Apply(ctx context.Context, changes []webserver.Change) (map[string]error, error) {
	if err := s.awaitPrepared(ctx); err != nil {
		return nil, err
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	if s.undo != nil {
		s.undo()
		s.undo = nil
	}
	refused := map[string]error{}
	for {
		restore := s.inner.Checkpoint()
		rest := without(changes, refused)
		failed, err := s.inner.Apply(ctx, rest)
		if err != nil {
			return nil, err
		}
		faulty, err := s.apply(ctx, without(rest, failed))
		if err != nil && s.inForce == "" {
			s.undo = restore // what nginx passes on of the sites of before is answered meanwhile
			return nil, err
		}
		if err != nil {
			restore()
			return nil, err
		}
		maps.Copy(refused, faulty)
		if len(faulty) == 0 {
			maps.Copy(failed, refused)
			return failed, nil
		}
		// What a refused site keeps may be what another one was given, so all is looked at again without it.
		restore()
	}
}

// awaitPrepared waits a little until Run has made what a configuration of a managed nginx needs.
func (s *Server) awaitPrepared(ctx context.Context) error {
	if !s.opt.Managed {
		return nil
	}
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case <-s.prepared:
		return nil
	case <-timer.C:
		return fmt.Errorf("nginx does not serve: %w", s.Status().Err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// without returns the changes of other domains. If a domain stands twice, the last one counts.
func without(changes []webserver.Change, refused map[string]error) []webserver.Change {
	at := map[string]int{}
	var rest []webserver.Change
	for _, c := range changes {
		if _, ok := refused[c.Domain]; ok {
			continue
		}
		if i, ok := at[c.Domain]; ok {
			rest[i] = c
			continue
		}
		at[c.Domain] = len(rest)
		rest = append(rest, c)
	}
	return rest
}

// nameForm is what may stand in a configuration as a name; more than a site of the state can have.
var nameForm = regexp.MustCompile(`^[a-z0-9_][a-z0-9_.-]{0,252}$`)

// prepare makes the entry of a site, with its files. The first error is the site's, the second one concerns all.
func (s *Server) prepare(site *webserver.Site) (e *entry, fault, err error) {
	for _, name := range append([]string{site.Domain}, site.Aliases...) {
		if !nameForm.MatchString(name) {
			return nil, fmt.Errorf("name %q: not a host name", name), nil
		}
	}
	c, fault := s.renderer.newClass(site)
	if fault != nil {
		return nil, fault, nil
	}
	if known := s.model.classes[c.id]; known != nil {
		c = known.class // its text is in memory once
	}
	e = &entry{site: site, class: c, pair: digestPair(site.Certificate)}
	return e, nil, s.writeOnce(s.pairFile(e.pair), joinPair(site.Certificate))
}

func (s *Server) pairFile(digest string) string {
	return filepath.Join(s.paths.pairs, digest+pairSuffix)
}

func joinPair(p webserver.Pair) []byte {
	return slices.Concat(p.CertificatePEM, []byte("\n"), p.KeyPEM)
}

// step is one change as nginx gets it.
type step struct {
	domain   string
	old, new *entry
}

// apply makes changes current that package builtin took. It returns those that nginx cannot take, and then has
// changed nothing, like with an error.
func (s *Server) apply(ctx context.Context, changes []webserver.Change) (faulty map[string]error, err error) {
	if err := s.makeFolders(); err != nil {
		return nil, fmt.Errorf("write nginx's configuration: %w", err)
	}
	faulty = map[string]error{}
	var steps []step
	for _, c := range changes {
		st := step{domain: c.Domain, old: s.model.sites[c.Domain]}
		if c.Site == nil {
			if st.old != nil {
				steps = append(steps, st)
			}
			continue
		}
		var fault error
		if st.new, fault, err = s.prepare(c.Site); err != nil {
			return nil, fmt.Errorf("write the certificate of %s: %w", c.Domain, err)
		}
		if fault != nil {
			faulty[c.Domain] = fault
			continue
		}
		steps = append(steps, st)
	}
	if len(faulty) > 0 {
		return faulty, nil
	}
	if err := s.newLinks(steps); err != nil {
		return nil, fmt.Errorf("link to a bundle: %w", err)
	}
	before := s.model.changes
	dh, node := s.dh, s.nodePair
	pending := s.pending()
	s.put(steps)
	if s.model.changes != before || s.inForce == "" || pending {
		if faulty, err = s.pushSteps(ctx, steps); err != nil || len(faulty) > 0 {
			s.unput(steps)
			s.unpend(dh, node)
			s.discardNew(steps)
			return faulty, err
		}
	} else if st := s.Status(); !st.Running && (s.begun || !s.opt.Managed) {
		s.unput(steps)
		return nil, st.Err
	}
	s.discardOld(steps)
	if err := s.switchLinks(steps); err != nil {
		// The configuration is in force already, but for these bundles. The next try finds only links to change.
		return nil, fmt.Errorf("link to a bundle: %w", err)
	}
	s.sweep(time.Now())
	return nil, nil
}

func (s *Server) put(steps []step) {
	for _, st := range steps {
		s.model.put(st.domain, st.new, s.head)
	}
}

func (s *Server) unput(steps []step) {
	for _, st := range steps {
		s.model.put(st.domain, st.old, s.head)
	}
}

// newLinks makes the links that no configuration in force uses yet.
func (s *Server) newLinks(steps []step) error {
	for _, st := range steps {
		if st.new != nil && (st.old == nil || st.old.class.id != st.new.class.id) {
			if err := s.link(s.target(st.new.site), s.linkOf(st.domain, st.new.class)); err != nil {
				return err
			}
		}
	}
	return nil
}

// switchLinks makes other bundles current of sites whose configuration stays as it is.
func (s *Server) switchLinks(steps []step) error {
	for _, st := range steps {
		if st.new != nil && st.old != nil && st.old.class.id == st.new.class.id {
			if err := s.link(s.target(st.new.site), s.linkOf(st.domain, st.new.class)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Server) linkOf(domain string, c *class) string {
	return filepath.Join(s.paths.roots, c.id, domain)
}

func (s *Server) target(site *webserver.Site) string {
	if site.Root == "" {
		return s.paths.welcome
	}
	return site.Root
}

// discardOld notes what the steps leave behind.
func (s *Server) discardOld(steps []step) {
	for _, st := range steps {
		if st.old == nil {
			continue
		}
		if st.new == nil || st.new.class.id != st.old.class.id {
			s.discard(s.linkOf(st.domain, st.old.class))
		}
		if st.new == nil || st.new.pair != st.old.pair {
			s.discard(s.pairFile(st.old.pair))
		}
	}
}

// discardNew notes what steps that failed leave behind.
func (s *Server) discardNew(steps []step) {
	for _, st := range steps {
		if st.new != nil {
			s.discard(s.linkOf(st.domain, st.new.class))
			s.discard(s.pairFile(st.new.pair))
		}
	}
}

// pushSteps brings what the steps made of the model into force, or names those that nginx refuses.
func (s *Server) pushSteps(ctx context.Context, steps []step) (map[string]error, error) {
	var sni string
	var leaf []byte
	for _, st := range steps {
		if st.new != nil {
			sni, leaf = st.domain, firstBlock(st.new.site.Certificate.CertificatePEM)
			break
		}
	}
	err := s.push(ctx, sni, leaf)
	var refusal *configError
	if !errors.As(err, &refusal) {
		return nil, err
	}
	faulty, findErr := s.blame(ctx, steps, refusal)
	if findErr != nil {
		return nil, findErr
	}
	if len(faulty) == 0 {
		return nil, err
	}
	s.log.Warn("nginx refuses sites", zap.Int("sites", len(faulty)), zap.Error(refusal))
	return faulty, nil
}

// blame finds the sites at fault: those of the class that nginx names, and else by trying halves.
func (s *Server) blame(ctx context.Context, steps []step, refusal *configError) (map[string]error, error) {
	faulty := map[string]error{}
	byClass := map[string][]string{} // those that are new
	for _, st := range steps {
		if st.new != nil && (st.old == nil || st.old.class.id != st.new.class.id) {
			byClass[st.new.class.id] = append(byClass[st.new.class.id], st.domain)
		}
	}
	id := s.model.small.owner(refusal.file, refusal.line)
	if id == "" {
		id = s.model.shared.rules.owner(refusal.file, refusal.line)
	}
	if len(byClass[id]) > 0 {
		for _, d := range byClass[id] {
			faulty[d] = refusal
		}
		return faulty, nil
	}
	defer func() { s.unput(steps); s.put(steps) }()
	s.unput(steps)
	if err := s.trial(ctx, nil); err != nil {
		return nil, fmt.Errorf("nginx's configuration without the changes: %w", err)
	}
	var good []step
	err := s.halve(ctx, steps, &good, faulty)
	return faulty, err
}

// halve adds those of the steps that nginx takes, beside good, to good, and the others to faulty.
func (s *Server) halve(ctx context.Context, steps []step, good *[]step, faulty map[string]error) error {
	err := s.trial(ctx, slices.Concat(*good, steps))
	var refusal *configError
	switch {
	case err == nil:
		*good = append(*good, steps...)
		return nil
	case !errors.As(err, &refusal):
		return err
	case len(steps) == 1:
		faulty[steps[0].domain] = refusal
		return nil
	}
	half := len(steps) / 2
	if err := s.halve(ctx, steps[:half], good, faulty); err != nil {
		return err
	}
	return s.halve(ctx, steps[half:], good, faulty)
}

// trial tells whether nginx takes what is in force with some steps more.
func (s *Server) trial(ctx context.Context, steps []step) error {
	s.put(steps)
	defer s.unput(steps)
	text, err := s.render()
	if err != nil {
		return err
	}
	return s.eng.try(ctx, text)
}
