package builtin

import (
	"context"
	"net/http"
	"time"
)

// site returns the site that has the name, nil if none has. While the server may lack sites that it is about to be told
// (see Options.Complete), it waits for a name that is none: a visitor must not be told that a site is not there because
// the node was started a moment ago.
func (s *Server) site(ctx context.Context, name string) *site {
	if found := s.table.Load().find(name); found != nil || s.complete() {
		return found
	}
	timer := time.NewTimer(s.opt.Timeouts.Begin)
	defer timer.Stop()
	select {
	case <-s.opt.Complete:
	case <-timer.C:
	case <-ctx.Done():
	}
	return s.table.Load().find(name)
}

// complete tells whether the server was told all sites.
func (s *Server) complete() bool {
	if s.opt.Complete == nil {
		return true
	}
	select {
	case <-s.opt.Complete:
		return true
	default:
		return false
	}
}

// serveIncomplete answers for a host that may be a site which the server does not know yet.
func (s *Server) serveIncomplete(w http.ResponseWriter, r *http.Request) {
	refuseBody(w, r)
	w.Header().Set("Retry-After", "1")
	s.serveFile(w, r, s.pages.errorPage(http.StatusServiceUnavailable), http.StatusServiceUnavailable, nil)
}
