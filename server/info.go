package server

import (
	"net/http"

	"statiko/api"
)

// info answers GET /info.
func (s *Server) info(c *call) error {
	i := api.Info{AuthMethods: []string{}, Version: s.Version, Hostname: s.NodeName}
	if s.PSK != "" {
		i.AuthMethods = append(i.AuthMethods, "psk")
	}
	return c.json(http.StatusOK, i)
}

// healthz answers GET /healthz: the process is there.
func (s *Server) healthz(c *call) error {
	return c.json(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz answers GET /readyz: whether the node can be sent requests for sites.
func (s *Server) readyz(c *call) error {
	if err := s.Ready(); err != nil {
		return api.Errorf(api.CodeNotReady, "the node is not ready: %v", err)
	}
	return c.json(http.StatusOK, map[string]string{"status": "ready"})
}

// sync answers POST /sync.
func (s *Server) sync(c *call) error {
	s.Reconciler.Sync()
	s.applied(c, s.snapshot(c).Revision(), "")
	return c.done()
}
