package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"statiko/api"
)

// info answers GET /info.
func (s *Server) info(c *call) error {
	i := api.Info{AuthMethods: []string{}, Version: s.Version, Hostname: s.NodeName}
	if s.hasPSK {
		i.AuthMethods = append(i.AuthMethods, "psk")
	}
	return c.json(http.StatusOK, i)
}

// healthz answers GET /healthz: the process is there.
func (s *Server) healthz(c *call) error {
	return c.json(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz answers GET /readyz: whether the node can be sent requests for sites. That is so once the web server runs
// and the state was applied for the first time, and nothing else speaks against it, such as that it is drained.
func (s *Server) readyz(c *call) error {
	if err := s.notReady(); err != nil {
		return api.Errorf(api.CodeNotReady, "the node is not ready: %v", err)
	}
	return c.json(http.StatusOK, map[string]string{"status": "ready"})
}

func (s *Server) notReady() error {
	sync := s.Reconciler.Status()
	switch web := s.WebServer(); {
	case !web.Running && web.Err != nil:
		return web.Err
	case !web.Running:
		return errors.New("the web server does not run")
	case sync.Revision == 0 && (sync.Running || s.Store.Snapshot().Revision() > 0):
		return errors.New("the state is not applied yet")
	}
	if since, stopping := s.drain.state(); stopping {
		return errors.New("it is stopping")
	} else if !since.IsZero() {
		return fmt.Errorf("it is drained since %s", since.UTC().Format(time.RFC3339))
	}
	return s.Ready()
}

// sync answers POST /sync. Only this node looks again, so only it is waited for.
func (s *Server) sync(c *call) error {
	s.Reconciler.Sync()
	revision := s.snapshot(c).Revision()
	if c.wait > 0 {
		ctx, cancel := s.waiting(c, c.wait)
		defer cancel()
		var waiting []api.Waiting
		if err := s.Reconciler.Wait(ctx, revision, ""); err != nil {
			waiting = []api.Waiting{{Node: s.NodeName, Reason: err.Error()}}
		}
		c.setApplied(waiting)
	}
	return c.done()
}
