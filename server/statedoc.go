package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"statiko/api"
	"statiko/state"
)

// getState answers GET /state.
func (s *Server) getState(c *call) error {
	snap := s.snapshot(c)
	// The length is found out first, by writing everything to nowhere: with it, a caller can tell a document that
	// was cut off from a whole one.
	var length counter
	if err := snap.WriteDocument(&length, state.DocumentOptions{}); err != nil {
		return err
	}
	c.setETag(snap.Head().Generation, snap.Revision())
	h := c.w.Header()
	h.Set("Content-Type", jsonType)
	h.Set("Content-Length", strconv.FormatInt(int64(length), 10))
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil
	}
	_ = snap.WriteDocument(c.w, state.DocumentOptions{}) // all that can fail now is the connection
	return nil
}

// counter counts what is written to it.
type counter int64

func (n *counter) Write(b []byte) (int, error) {
	*n += counter(len(b))
	return len(b), nil
}

// setState answers POST and PUT /state.
func (s *Server) setState(c *call) error {
	data, mediaType, _, err := c.read(s.MaxStateSize)
	if err != nil {
		return err
	}
	if mediaType != "application/json" {
		return c.unsupported(false)
	}
	doc, err := state.ParseDocument(data)
	if err != nil {
		if inv, ok := errors.AsType[*state.InvalidError](err); ok && !json.Valid(data) {
			e := api.FromState(inv)
			e.Code, e.Status = api.CodeMalformed, http.StatusBadRequest
			return e
		}
		return err
	}
	opened, err := s.openDocument(c, doc)
	if err != nil {
		return err
	}
	snap := s.Store.Snapshot()
	// A backup of the earlier program does not know of bundles: those that there are stay.
	doc.Inherit(state.KindApp, snap)
	var ifRevision int64
	if len(c.r.Header.Values("If-Match")) > 0 {
		if tag := etag(snap.Head().Generation, snap.Revision()); !c.matches(tag) {
			return state.Errorf(state.ErrPrecondition, state.Key{}, "", "the state was changed meanwhile: its tag is %s now", tag)
		}
		ifRevision = snap.Revision()
	}
	if truthy(c.r.URL.Query().Get("dryRun")) {
		c.setRevision(snap.Revision())
		return c.json(http.StatusOK, compare(snap, doc))
	}
	if err := s.reseal(doc, opened); err != nil {
		return err
	}
	revision, err := s.Store.Restore(c.r.Context(), doc, ifRevision)
	if err != nil {
		return err
	}
	c.setRevision(revision)
	c.setETag(s.Store.Snapshot().Head().Generation, revision)
	s.applied(c, revision, "")
	return c.done()
}

// compare tells what a restore would change.
func compare(snap *state.Snapshot, doc *state.Document) api.StateDryRun {
	d := api.StateDryRun{Added: map[string][]string{}, Changed: map[string][]string{}, Removed: map[string][]string{}}
	for _, kind := range state.Kinds() {
		if !kind.InDocument() {
			continue
		}
		note := func(to map[string][]string, k state.Key) {
			name := k.Name
			if name == "" {
				name = string(kind)
			}
			to[string(kind)] = append(to[string(kind)], name)
		}
		stays := map[string]bool{}
		for _, o := range doc.Objects(kind) {
			k := o.Key()
			stays[k.Name] = true
			if old, ok := snap.Object(k); !ok {
				note(d.Added, k)
			} else if !sameJSON(old, o) {
				note(d.Changed, k)
			}
		}
		for o := range snap.Objects(kind) {
			if !stays[o.Key().Name] {
				note(d.Removed, o.Key())
			}
		}
	}
	return d
}
