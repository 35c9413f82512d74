package server

import (
	"net/http"
	"time"

	"statiko/api"
	"statiko/cluster"
	"statiko/reconcile"
	"statiko/state"
)

// forceWait bounds how long ?force= waits for the sites to be looked at again.
const forceWait = 10 * time.Second

// status answers GET /status: 200 while sites are served, whatever the store does.
func (s *Server) status(c *call) error {
	s.force(c, "")
	snap := s.snapshot(c)
	st := s.ownStatus(c, snap)
	applied := s.Reconciler.Status().Revision
	st.Health = make([]api.SiteHealth, 0, snap.Len(state.KindSite))
	counted, healthy := 0, 0
	for site := range snap.Sites() {
		h := s.siteHealth(site)
		switch {
		case h.Healthy && site.App == nil:
			// A placeholder page proves little.
		case !h.Healthy && applied > 0 && snap.RevisionOf(site.Key()) > applied:
			// Newer than what was looked at: on its way, which is no fault.
		default:
			counted++
			if h.Healthy {
				healthy++
			}
		}
		st.Health = append(st.Health, h)
	}
	code := http.StatusOK
	if !st.Nginx.Running || counted > 0 && healthy == 0 {
		code = http.StatusServiceUnavailable
	}
	if c.authenticated {
		st.Quarantine, st.Bundles = quarantined(snap), s.bundleNotes()
	} else {
		hide(&st, maskDomain)
	}
	return c.json(code, st)
}

// siteStatus answers GET /status/{domain}: 503 if that site is not served as it should be.
func (s *Server) siteStatus(c *call) error {
	name := c.r.PathValue("domain")
	if stored, err := state.CheckDomain(name); err == nil {
		name = stored
	}
	if site, ok := s.Store.Snapshot().Site(name); ok {
		s.force(c, site.Domain)
	}
	snap := s.snapshot(c)
	site, ok := snap.Site(name)
	if !ok {
		return noSite(name)
	}
	st := s.ownStatus(c, snap)
	st.Health = []api.SiteHealth{s.siteHealth(site)}
	code := http.StatusOK
	if !st.Nginx.Running || !st.Health[0].Healthy {
		code = http.StatusServiceUnavailable
	}
	if !c.authenticated {
		hide(&st, func(domain string) string { return domain })
	}
	return c.json(code, st)
}

// force has everything looked at again before the answer, and all sites or one visited, if an authenticated caller
// asks for it.
func (s *Server) force(c *call, domain string) {
	if !c.authenticated || !truthy(c.r.URL.Query().Get("force")) {
		return
	}
	s.Reconciler.Sync()
	ctx, cancel := s.waiting(c, forceWait)
	defer cancel()
	// What is not applied or visited in time is in the answer.
	_ = s.Reconciler.Wait(ctx, s.Store.Snapshot().Revision(), "")
	s.Health.Probe(ctx, domain)
}

// ownStatus is nodeStatus with what the cluster knows of this node.
func (s *Server) ownStatus(c *call, snap *state.Snapshot) api.Status {
	st := s.nodeStatus(snap)
	st.Unregistered = s.Cluster.Self(c.r.Context(), cluster.Query{}).Unregistered
	return st
}

// nodeStatus is the part of a status that is not about single sites.
func (s *Server) nodeStatus(snap *state.Snapshot) api.Status {
	web, sync, store := s.WebServer(), s.Reconciler.Status(), s.Store.Health()
	st := api.Status{
		Name:    s.NodeName,
		Version: s.Version,
		Nginx:   api.WebServerStatus{Running: web.Running},
		Sync: api.SyncStatus{
			// Asked right after a change, a reconciler may not know of it yet. Nothing runs any more only once
			// Health tells of what was applied; so it is asked after the reconciler.
			Running:  sync.Running || sync.Revision < snap.Revision() || s.Health.Pending(),
			LastSync: sync.LastSync, Revision: sync.Revision,
		},
		Store: api.StoreStatus{Healthy: store.Healthy, Type: store.Backend, Reason: store.Reason, Revision: snap.Revision()},
	}
	if web.Err != nil && !web.Running {
		st.Nginx.Error = web.Err.Error()
	}
	if sync.Err != nil {
		st.Sync.SyncError = sync.Err.Error()
	}
	if st.Sync.LastSync.IsZero() {
		st.Sync.LastSync = s.started
	}
	since, _ := s.drain.state()
	st.Draining = timeOrNil(since)
	st.Certificate = s.Certificate()
	var known bool
	if st.Leader, known = s.Leader(); !known {
		st.NoLeaderSince = timeOrNil(s.LeaderState().NobodySince)
	}
	return st
}

func (s *Server) siteHealth(site *state.Site) api.SiteHealth {
	return wireHealth(site, s.Health.Site(site.Domain))
}

// wireHealth returns one site's health as answers show it.
func wireHealth(site *state.Site, is reconcile.SiteStatus) api.SiteHealth {
	app := site.AppName()
	h := api.SiteHealth{Domain: site.Domain, Healthy: is.Healthy, Error: is.Err}
	if app != "" {
		h.App = &app
	}
	switch {
	case is.Healthy && is.App != app:
		h.Healthy, h.Error = false, "the deployed bundle is being applied"
	case !is.Healthy && is.Err == "":
		h.Error = "it is not applied yet"
	}
	if is.Serving != "" && is.Serving != app {
		h.Serving = is.Serving
	}
	if !is.Time.IsZero() {
		h.Time = &is.Time
	}
	return h
}

func (s *Server) bundleNotes() (list []api.BundleNote) {
	for _, n := range s.Library.Notes() {
		list = append(list, api.BundleNote{Time: n.Time, Bundle: n.Bundle, Text: n.Text})
	}
	return list
}

func quarantined(snap *state.Snapshot) []api.Quarantined {
	var list []api.Quarantined
	for q := range snap.Quarantine() {
		list = append(list, api.Quarantined{Kind: string(q.Kind), Name: q.Object, Reason: q.Reason})
	}
	return list
}
