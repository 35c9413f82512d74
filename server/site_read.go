package server

import (
	"net/http"

	"statiko/api"
	"statiko/state"
)

// wireSite returns a site as answers show it.
func wireSite(s *state.Site) api.Site {
	w := api.Site{Domain: s.Domain, Aliases: s.Aliases, Temporary: s.Temporary}
	if s.TLS != nil {
		w.TLS = &api.SiteTLS{Type: s.TLS.Type, Certificate: s.TLS.Certificate, Version: s.TLS.Version}
	}
	if s.App != nil {
		w.App = &api.SiteApp{Name: s.App.Name}
	}
	return w
}

// listSites answers GET /site.
func (s *Server) listSites(c *call) error {
	snap := s.snapshot(c)
	sites := make([]api.Site, 0, snap.Len(state.KindSite))
	for site := range snap.Sites() {
		sites = append(sites, wireSite(site))
	}
	return c.json(http.StatusOK, sites)
}

// getSite answers GET /site/{domain}.
func (s *Server) getSite(c *call) error {
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
	return c.json(http.StatusOK, wireSite(site))
}

// siteName returns the name in the path, in its stored form if it has one. With ?temporary= it is the first label
// of a temporary site's domain.
func (s *Server) siteName(c *call) (string, error) {
	name := c.r.PathValue("domain")
	if truthy(c.r.URL.Query().Get("temporary")) {
		if s.TemporaryDomain == "" {
			return "", noTemporarySites()
		}
		name += "." + s.TemporaryDomain
	}
	// What is no domain is no site's either, but a quarantined one may be called so.
	if stored, err := state.CheckDomain(name); err == nil {
		name = stored
	}
	return name, nil
}

func noSite(name string) error {
	return notFound("there is no site %s", printable(name))
}
