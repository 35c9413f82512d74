package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"statiko/api"
	"statiko/bundle"
	"statiko/cluster"
	"statiko/state"
)

// bundlesPath is the route by which nodes tell, read and offer bundles.
const bundlesPath = "/internal/v1/bundles"

// Peers is the [bundle.Peers] of a node: what the routes for nodes offer, called on other members. Group returns nil
// as long as there is none.
func Peers(group func() cluster.Group) bundle.Peers { return peers{group} }

type peers struct{ group func() cluster.Group }

// Others is part of [bundle.Peers].
func (p peers) Others() (up []string, members int) {
	g := p.group()
	if g == nil {
		return nil, 1
	}
	self := false
	for _, m := range g.Members() {
		members++
		self = self || m.Self
		if m.Up && !m.Self {
			up = append(up, m.Name)
		}
	}
	if !self {
		members++
	}
	return up, members
}

// Open is part of [bundle.Peers].
func (p peers) Open(ctx context.Context, node string, app *state.App, offset int64) (io.ReadCloser, error) {
	r := cluster.Request{Method: http.MethodGet, Path: bundlesPath + "/" + app.Name, Query: url.Values{"sha256": {app.SHA256}}}
	if offset > 0 {
		r.Header = http.Header{"Range": {fmt.Sprintf("bytes=%d-", offset)}}
	}
	response, err := p.group().Call(ctx, node, r)
	if e, ok := errors.AsType[*api.Error](err); ok && e.Code == api.CodeNotFound {
		return nil, fmt.Errorf("%w there", bundle.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	if offset > 0 && response.StatusCode != http.StatusPartialContent {
		_ = response.Body.Close()
		return nil, fmt.Errorf("answers with status %d to a request for a range", response.StatusCode)
	}
	return response.Body, nil
}

// Offer is part of [bundle.Peers].
func (p peers) Offer(ctx context.Context, node string, app *state.App) error {
	body, err := json.Marshal(app)
	if err != nil {
		return err
	}
	response, err := p.group().Call(ctx, node, cluster.Request{Method: http.MethodPost, Path: bundlesPath + "/" + app.Name, Body: body,
		Header: http.Header{"Content-Type": {"application/json"}}})
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// holdings asks a member what it has.
func (p peers) holdings(ctx context.Context, node string) (map[string]bundle.Holding, error) {
	response, err := p.group().Call(ctx, node, cluster.Request{Method: http.MethodGet, Path: bundlesPath})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var all map[string]bundle.Holding
	err = json.NewDecoder(response.Body).Decode(&all)
	return all, err
}

// peerBundles answers GET /internal/v1/bundles.
func (s *Server) peerBundles(c *call) error {
	all, err := s.Library.Holdings(c.r.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, all)
}

// peerArchive answers GET /internal/v1/bundles/{name}?sha256=.
func (s *Server) peerArchive(c *call) error {
	sha256 := c.r.URL.Query().Get("sha256")
	f, err := s.Library.Archive(c.r.Context(), c.r.PathValue("name"), sha256)
	if errors.Is(err, bundle.ErrNotFound) {
		return notFound("this node does not have the bundle")
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.sendArchive(c, f, sha256)
}

// peerOffer answers POST /internal/v1/bundles/{name}: it fetches the bundle from the node that calls.
func (s *Server) peerOffer(c *call) error {
	data, err := io.ReadAll(c.r.Body)
	if err != nil {
		return err
	}
	o, err := state.Decode(state.KindApp, "", data)
	app, ok := o.(*state.App)
	if err != nil || !ok {
		return malformed("the offer is no bundle: %v", err)
	}
	if name, err := state.CheckAppName(app.Name); err != nil || name != c.r.PathValue("name") {
		return malformed("the offer is of %s", printable(app.Name))
	}
	began := s.Now()
	err = s.Library.Accept(c.r.Context(), c.node, app)
	c.wait += s.Now().Sub(began)
	if err != nil {
		return err
	}
	return c.done()
}

// onNodes asks all members that are up which bundles they have, and notes it. What does not answer in time is left out.
func (s *Server) onNodes(ctx context.Context, apps []api.App) {
	ctx, cancel := context.WithTimeout(ctx, cluster.AskTimeout)
	defer cancel()
	members := s.Cluster.Members()
	found := make([]map[string]bundle.Holding, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			// A node that does not answer has nothing, as far as is known.
			switch {
			case m.Self:
				found[i], _ = s.Library.Holdings(ctx)
			case m.Up:
				found[i], _ = peers{func() cluster.Group { return s.Cluster }}.holdings(ctx, m.Name)
			}
		})
	}
	wg.Wait()
	for i := range apps {
		for j, m := range members {
			h := found[j][apps[i].Name]
			if h.Archive {
				apps[i].Nodes = append(apps[i].Nodes, m.Name)
			}
			if h.Unpacked {
				apps[i].Unpacked = append(apps[i].Unpacked, m.Name)
			}
		}
	}
}
