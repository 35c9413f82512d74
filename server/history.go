package server

import (
	"net/http"

	"statiko/api"
	"statiko/state"
)

// siteHistory answers GET /site/{domain}/history.
func (s *Server) siteHistory(c *call) error {
	name, err := s.siteName(c)
	if err != nil {
		return err
	}
	snap := s.snapshot(c)
	site, ok := snap.Site(name)
	if !ok {
		return noSite(name)
	}
	c.setETag(snap.Head().Generation, snap.RevisionOf(site.Key()))
	versions := make([]api.SiteVersion, 0, len(site.History))
	for _, v := range site.History {
		w := api.SiteVersion{App: v.App, SHA256: v.SHA256, Time: timeOrNil(v.Time), Current: v.App == site.AppName()}
		app, ok := snap.App(v.App)
		w.Problem = gone(v, app, ok)
		versions = append(versions, w)
	}
	return c.json(http.StatusOK, versions)
}

// gone says why a site cannot go back to a version; "" if it can.
func gone(v state.Deployment, app *state.App, exists bool) string {
	switch {
	case !exists:
		return "the bundle is missing"
	case app.SHA256 != v.SHA256:
		return "the bundle of this name has another content now"
	}
	return ""
}

// rollback answers POST /site/{domain}/rollback.
func (s *Server) rollback(c *call) error {
	name, err := s.siteName(c)
	if err != nil {
		return err
	}
	var body api.SiteRollback
	if c.r.ContentLength != 0 {
		if err := c.decode(&body, nil); err != nil {
			return err
		}
	}
	target := body.App
	if target == "" {
		site, ok := s.Store.Snapshot().Site(name)
		if !ok {
			return noSite(name)
		}
		previous, ok := site.Previous()
		if !ok {
			return api.Errorf(api.CodeConflict, "the site %s has no earlier version to go back to", site.Domain)
		}
		target = previous.App
	} else if target, err = state.CheckAppName(target); err != nil {
		return invalid("the request", fault("app", "%v", err))
	}
	site, err := s.deployTo(c, name, target, func(site *state.Site, app *state.App) error {
		if previous, _ := site.Previous(); body.App == "" && previous.App != target {
			return state.Errorf(state.ErrConflict, site.Key(), "", "the site %s was deployed to meanwhile; look at its history", site.Domain)
		}
		for _, v := range site.History {
			if v.App != target {
				continue
			}
			if why := gone(v, app, true); why != "" {
				return api.Errorf(api.CodeConflict, "the site %s cannot go back to %s: %s", site.Domain, target, why)
			}
			return nil
		}
		return invalid("the request", fault("app", "the site %s never served %q, as far as its history goes", site.Domain, target))
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, wireSite(site))
}
