package server

import (
	"net/http"
	"net/url"
	"slices"

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
			Sites: slices.Collect(snap.Users(a.Key())),
		})
	}
	return c.json(http.StatusOK, apps)
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
