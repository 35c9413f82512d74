package server

import (
	"net/http"
	"slices"
	"strings"

	"statiko/api"
)

// Headers that scripts of other origins may read and send.
var (
	exposedHeaders = strings.Join([]string{"Date", "ETag", "Retry-After", api.HeaderNode, api.HeaderRevision,
		api.HeaderApplied, api.HeaderWaiting, api.HeaderReplicas, api.HeaderPending}, ",")
	allowedHeaders = strings.Join([]string{"Origin", "Content-Length", "Content-Type", "Authorization", "If-Match",
		api.HeaderMinRevision, api.HeaderSourceKey}, ",")
)

// crossOrigin looks at where a request comes from (the Fetch standard's CORS protocol), before anything else does.
// It answers preflights and requests of origins that are not allowed, and tells whether it did.
func (s *Server) crossOrigin(c *call) (answered bool) {
	origin := c.r.Header.Get("Origin")
	if origin == "" || origin == "http://"+c.r.Host || origin == "https://"+c.r.Host {
		return false
	}
	h := c.w.Header()
	h.Add("Vary", "Origin")
	if !slices.Contains(s.CORSOrigins, origin) {
		s.writeError(c, api.Errorf(api.CodeForbidden, "scripts of the origin %s may not call this node", printable(origin)))
		return true
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.r.Method != http.MethodOptions {
		h.Set("Access-Control-Expose-Headers", exposedHeaders)
		return false
	}
	h.Add("Vary", "Access-Control-Request-Method")
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET,POST,PUT,PATCH,DELETE,HEAD")
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
	h.Set("Access-Control-Max-Age", "43200")
	c.w.WriteHeader(http.StatusNoContent)
	return true
}
