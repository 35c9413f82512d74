package server

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"statiko/api"
	"statiko/state"
)

// listApps answers GET /app.
func (s *Server) listApps(c *call) error {
	snap := s.snapshot(c)
	apps := make([]api.App, 0, snap.Len(state.KindApp))
	for a := range snap.Apps() {
		apps = append(apps, api.App{
			Name: a.Name, Size: a.Size, LastModified: a.Uploaded, Type: a.Type, SHA256: a.SHA256,
			Sites: deployedTo(snap, a), Signature: a.Signature, Pending: s.Library.Pending(a),
			ETag: etag(snap.Head().Generation, snap.RevisionOf(a.Key())),
		})
	}
	if truthy(c.r.URL.Query().Get("nodes")) {
		s.onNodes(c.r.Context(), apps)
	}
	return c.json(http.StatusOK, apps)
}

// deployedTo returns the domains of the sites that serve a bundle, not of those that keep it to go back to.
func deployedTo(snap *state.Snapshot, app *state.App) (domains []string) {
	for d := range snap.Users(app.Key()) {
		if site, ok := snap.Site(d); ok && site.AppName() == app.Name {
			domains = append(domains, d)
		}
	}
	return domains
}

// sayStored says of a bundle that was stored at the revision whether it still needs its signature, and its tag, unless
// somebody has changed it again.
func (s *Server) sayStored(c *call, name string, revision int64) {
	name, err := state.CheckAppName(name)
	snap := s.Store.Snapshot()
	app, ok := snap.App(name)
	if err != nil || !ok {
		return
	}
	if s.Library.Pending(app) {
		c.w.Header().Set(api.HeaderPending, "true")
	}
	if is := snap.RevisionOf(app.Key()); is <= revision {
		c.setETag(snap.Head().Generation, is)
	}
}

// downloadApp answers GET /app/{name}/archive.
func (s *Server) downloadApp(c *call) error {
	name, err := s.appName(c)
	if err != nil {
		return err
	}
	app, ok := s.snapshot(c).App(name)
	if !ok {
		return notFound("there is no bundle %s", name)
	}
	f, err := s.Library.Fetch(c.r.Context(), app)
	if err != nil && c.r.Context().Err() == nil {
		return api.Errorf(api.CodeNotReady, "this node does not have the archive of %s, and could not fetch it: %v", name, err)
	}
	if err != nil {
		return fmt.Errorf("fetch the archive of %s: %w", name, err)
	}
	defer f.Close()
	return s.sendArchive(c, f, app.SHA256)
}

// sendArchive sends an archive, or the range of it that was asked for.
func (s *Server) sendArchive(c *call, f *os.File, sha256 string) error {
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", `"`+sha256+`"`)
	began := s.Now()
	http.ServeContent(c.w, c.r, "", time.Time{}, f)
	c.wait += s.Now().Sub(began) // how long that takes is the receiver's business
	return nil
}

// setAppMetadata answers POST /app/{name}.
func (s *Server) setAppMetadata(c *call) error {
	name, err := s.appName(c)
	if err != nil {
		return err
	}
	var body api.AppMetadata
	if err := c.decode(&body, func(form url.Values) error {
		body = api.AppMetadata{Signature: form.Get("signature"), Hash: form.Get("hash")}
		return nil
	}); err != nil {
		return err
	}
	if err := s.matchApp(c, name); err != nil {
		return err
	}
	if faults := metadataFaults(body.Signature, body.Hash); len(faults) > 0 {
		if _, ok := s.Store.Snapshot().App(name); ok {
			return invalid("the request", faults...)
		}
	}
	revision, err := s.Library.SetMetadata(c.r.Context(), name, body.Signature, body.Hash)
	if err != nil {
		return err
	}
	s.sayStored(c, name, revision)
	return s.appChanged(c, revision)
}

// deleteApp answers DELETE /app/{name}.
func (s *Server) deleteApp(c *call) error {
	name, err := s.appName(c)
	if err != nil {
		return err
	}
	if err := s.matchApp(c, name); err != nil {
		return err
	}
	revision, err := s.Library.Remove(c.r.Context(), name)
	if err != nil {
		return err
	}
	return s.appChanged(c, revision)
}

func (s *Server) appChanged(c *call, revision int64) error {
	c.setRevision(revision)
	s.applied(c, revision, "")
	return c.done()
}

// appName returns the bundle's name in the path, in its stored form.
func (s *Server) appName(c *call) (string, error) {
	name, err := state.CheckAppName(c.r.PathValue("name"))
	if err != nil {
		return "", invalid("the request", fault("name", "%v", err))
	}
	return name, nil
}

// matchApp refuses unless If-Match admits the bundle.
func (s *Server) matchApp(c *call, name string) error {
	snap := s.Store.Snapshot()
	key := state.Key{Kind: state.KindApp, Name: name}
	revision := snap.RevisionOf(key)
	if tag := etag(snap.Head().Generation, revision); revision > 0 && !c.matches(tag) {
		return state.Errorf(state.ErrPrecondition, key, "", "the bundle was changed meanwhile: its tag is %s now", tag)
	}
	return nil
}

// Lengths of metadata in characters, which are the earlier program's.
const (
	maxSignature = 1024
	maxHash      = 64
)

func metadataFaults(signature, hash string) (faults []state.Fault) {
	if len(signature) > maxSignature {
		faults = append(faults, fault("signature", "is longer than %d characters", maxSignature))
	}
	if len(hash) > maxHash {
		faults = append(faults, fault("hash", "is longer than %d characters", maxHash))
	}
	return faults
}
