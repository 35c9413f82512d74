package server

import (
	"errors"

	"statiko/api"
	"statiko/state"
)

// deploy answers POST and PUT /site/{domain}/app.
func (s *Server) deploy(c *call) error {
	name, err := s.siteName(c)
	if err != nil {
		return err
	}
	if _, ok := s.Store.Snapshot().Site(name); !ok {
		// The store is asked, for this node may lag: a refusal is as true as an acceptance.
		if _, err := s.update(c, func(d *state.Draft) error {
			if _, ok := d.Site(name); !ok {
				return noSite(name)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	var body api.SiteApp
	if err := c.decode(&body, nil); err != nil {
		return err
	}
	app, err := state.CheckAppName(body.Name)
	if err != nil {
		return invalid("the request", fault("name", "%v", err))
	}

	if _, err := s.deployTo(c, name, app, nil); err != nil {
		return err
	}
	return c.done()
}

// deployTo makes a site serve a bundle, waits as the caller asked, and returns the site as it is then. Admit, if not
// nil, may refuse.
func (s *Server) deployTo(c *call, name, app string, admit func(*state.Site, *state.App) error) (*state.Site, error) {
	var now *state.Site
	var generation, before int64
	var same bool
	revision, err := s.updateWithApp(c, app, func(d *state.Draft) error {
		site, ok := d.Site(name)
		if !ok {
			return noSite(name)
		}
		if err := c.checkMatch(d, site.Key()); err != nil {
			return err
		}
		now, same = site, site.AppName() == app
		generation, before = d.Snapshot().Head().Generation, d.Revision(site.Key())
		bundle, ok := d.App(app)
		if !ok {
			return invalid("the request", fault("name", "there is no bundle %q; upload it first", app))
		}
		if admit != nil {
			if err := admit(site, bundle); err != nil {
				return err
			}
		}
		if same {
			return nil
		}
		served, _ := d.App(site.AppName())
		now = site.Clone()
		now.Deploy(bundle, served, s.Now(), s.KeepVersions)
		return putSite(d, now)
	})
	if err != nil {
		return nil, err
	}
	if same {
		c.setETag(generation, before)
	} else {
		c.setETag(generation, revision)
	}
	s.applied(c, revision, now.Domain)
	return now, nil
}

// undeploy answers DELETE /site/{domain}/app.
func (s *Server) undeploy(c *call) error {
	name, err := s.siteName(c)
	if err != nil {
		return err
	}
	var domain string
	var generation int64
	revision, err := s.update(c, func(d *state.Draft) error {
		site, ok := d.Site(name)
		if !ok {
			return noSite(name)
		}
		if err := c.checkMatch(d, site.Key()); err != nil {
			return err
		}
		domain, generation = site.Domain, d.Snapshot().Head().Generation
		changed := site.Clone()
		changed.App = nil
		return putSite(d, changed)
	})
	if err != nil {
		return err
	}
	c.setETag(generation, revision)
	s.applied(c, revision, domain)
	return c.done()
}

// errAppChanged has an update looked at again because the bundle is not the one that was checked.
var errAppChanged = errors.New("the bundle was changed meanwhile")

// maxAppChecks bounds how often a bundle is checked that keeps being changed.
const maxAppChecks = 5

// updateWithApp makes an update after which a site serves the bundle, "" for none. What keeps the bundle from
// being served is found out first, outside of the update, for it may take unpacking; the update is made only if
// the bundle is still the one that was checked. A bundle that does not exist is left for change to refuse.
func (s *Server) updateWithApp(c *call, name string, change func(*state.Draft) error) (int64, error) {
	if name == "" {
		return s.update(c, change)
	}
	key := state.Key{Kind: state.KindApp, Name: name}
	for range maxAppChecks {
		snap := s.Store.Snapshot()
		checked := snap.RevisionOf(key)
		if app, ok := snap.App(name); ok {
			if err := s.Library.CheckDeploy(c.r.Context(), app); err != nil {
				return 0, err
			}
		}
		revision, err := s.update(c, func(d *state.Draft) error {
			if d.Revision(key) != checked {
				return errAppChanged
			}
			return change(d)
		})
		if !errors.Is(err, errAppChanged) {
			return revision, err
		}
	}
	return 0, state.Errorf(state.ErrConflict, key, "", "the bundle %s keeps being changed; try again", name)
}
