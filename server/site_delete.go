package server

import (
	"statiko/state"
)

// deleteSite answers DELETE /site/{domain}. It also removes what is quarantined under that name, so that a faulty
// site of an old state file can be got rid of.
func (s *Server) deleteSite(c *call) error {
	name, err := s.siteName(c)
	if err != nil {
		return err
	}
	domain := name
	revision, err := s.update(c, func(d *state.Draft) error {
		removed := false
		if site, ok := d.Site(name); ok {
			if err := c.checkMatch(d, site.Key()); err != nil {
				return err
			}
			domain, removed = site.Domain, true
			if err := d.Delete(site.Key()); err != nil {
				return err
			}
		}
		for q := range d.Snapshot().Quarantine() {
			if q.Kind == state.KindSite && (q.Object == domain || q.Object == name || q.Object == c.r.PathValue("domain")) {
				removed = true
				if err := d.Delete(q.Key()); err != nil {
					return err
				}
			}
		}
		if !removed {
			return noSite(name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.applied(c, revision, domain)
	return c.done()
}
