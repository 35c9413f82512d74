package server

import (
	"errors"
	"fmt"
	"net/http"

	"statiko/api"
	"statiko/state"
)

// createSite answers POST /site.
func (s *Server) createSite(c *call) error {
	var body api.SiteCreate
	if err := c.decode(&body, nil); err != nil {
		return err
	}
	site := storedSite(&body)
	if site.Temporary {
		if err := s.checkTemporary(site); err != nil {
			return err
		}
	}
	for range maxTemporaryNames {
		if site.Temporary {
			site.Domain, site.Created = temporaryName(s.TemporaryDomain), s.Now()
		}
		if faults := site.Normalize(); len(faults) > 0 {
			return invalid("the site", faults...)
		}
		err := s.storeNewSite(c, site)
		if site.Temporary && errors.Is(err, errNameTaken) {
			continue
		}
		return err
	}
	return fmt.Errorf("no free name for a temporary site was found in %d attempts", maxTemporaryNames)
}

// storedSite makes the object of a request.
func storedSite(body *api.SiteCreate) *state.Site {
	site := &state.Site{Domain: body.Domain, Aliases: body.Aliases, Temporary: body.Temporary}
	if body.TLS != nil {
		site.TLS = &state.SiteTLS{Type: body.TLS.Type, Certificate: body.TLS.Certificate, Version: body.TLS.Version}
	}
	if body.App != nil {
		site.App = &state.SiteApp{Name: body.App.Name}
	}
	return site
}

// deployed returns a copy of a new site with its bundle, if it has one, as the first version of its history.
func (s *Server) deployed(d *state.Draft, site *state.Site) *state.Site {
	if site.App == nil {
		return site
	}
	app, ok := d.App(site.App.Name)
	if !ok {
		return site // putSite says what is missing
	}
	site = site.Clone()
	site.Deploy(app, nil, s.Now(), s.KeepVersions)
	return site
}

// storeNewSite stores a normalized site and answers.
func (s *Server) storeNewSite(c *call, site *state.Site) error {
	var generation int64
	revision, err := s.updateWithApp(c, site.AppName(), func(d *state.Draft) error {
		generation = d.Snapshot().Head().Generation
		if err := freeNames(d, site, ""); err != nil {
			return err
		}
		return putSite(d, s.deployed(d, site))
	})
	if err != nil {
		return err
	}
	c.setETag(generation, revision)
	s.applied(c, revision, site.Domain)
	return c.json(http.StatusOK, wireSite(site))
}

// errNameTaken is in the chain of what freeNames returns.
var errNameTaken = state.ErrExists

// freeNames refuses a site one of whose names belongs to a site other than the one with the domain self, and says
// so of every such name.
func freeNames(d *state.Draft, site *state.Site, self string) error {
	var details []api.Detail
	for i, name := range site.Names() {
		owner, ok := d.Site(name)
		if !ok || owner.Domain == self {
			continue
		}
		field, message := "domain", fmt.Sprintf("the site %s exists already", name)
		if i > 0 {
			field = fmt.Sprintf("aliases[%d]", i-1)
		}
		if owner.Domain != name {
			message = fmt.Sprintf("%s is an alias of the site %s", name, owner.Domain)
		} else if i > 0 {
			message = fmt.Sprintf("%s is a site of its own", name)
		}
		details = append(details, api.Detail{Field: field, Message: message})
	}
	if len(details) == 0 {
		return nil
	}
	e := api.Errorf(api.CodeExists, "%s", details[0].Message)
	if len(details) > 1 {
		e.Message = fmt.Sprintf("%d of the site's names are taken", len(details))
	}
	e.Details = details
	return e
}

// putSite stores a site. That what it uses is missing is a fault of the request, and every missing thing is named.
func putSite(d *state.Draft, site *state.Site) error {
	err := d.Put(site)
	if !errors.Is(err, state.ErrNotFound) {
		return err
	}
	var faults []state.Fault
	if t := site.TLS; t.Type == state.TLSImported {
		if _, ok := d.Object(state.ImportedCertificateKey(t.Certificate)); !ok {
			faults = append(faults, fault("tls.cert", "there is no imported certificate %q", t.Certificate))
		}
	}
	if site.App != nil {
		if _, ok := d.App(site.App.Name); !ok {
			faults = append(faults, fault("app.name", "there is no bundle %q; upload it first", site.App.Name))
		}
	}
	if len(faults) == 0 {
		return err
	}
	return invalid("the site "+site.Domain, faults...)
}
