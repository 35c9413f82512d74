package server

import (
	"net"
	"net/http"
	"strings"

	"statiko/api"
	"statiko/state"
)

// challenge answers GET /.well-known/acme-challenge/{token} (RFC 8555, section 8.3): the key authorization of a
// token, on the host for which it was issued.
func (s *Server) challenge(c *call) error {
	host := c.r.Header.Get("X-Forwarded-Host")
	if host == "" {
		host = c.r.Host
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host, err := state.CheckDomain(host)
	if err != nil {
		return malformed("the request does not name the host that is to be proved")
	}
	snap := s.snapshot(c)
	sealed, ok := snap.Secret(state.PrefixChallenge + c.r.PathValue("token"))
	if !ok {
		return api.Errorf(api.CodeForbidden, "there is no such token")
	}
	record, err := s.Keyring.Open(sealed.Sealed)
	if err != nil {
		return notFound("the token cannot be read")
	}
	domain, authorization, ok := strings.Cut(string(record), "|")
	if !ok || !s.answersFor(snap, host, domain) {
		return api.Errorf(api.CodeForbidden, "the token was not issued for this host")
	}
	c.body(http.StatusOK, "text/plain", []byte(authorization))
	return nil
}

// answersFor tells whether a token that was issued for the domain may be shown to who asks for the host: both are
// the node, or names of one site.
func (s *Server) answersFor(snap *state.Snapshot, host, domain string) bool {
	if stored, err := state.CheckDomain(domain); err == nil {
		domain = stored
	}
	if host == domain && strings.EqualFold(host, s.NodeName) {
		return true
	}
	asked, ok := snap.Site(host)
	if !ok {
		return false
	}
	issued, ok := snap.Site(domain)
	return ok && issued.Domain == asked.Domain
}
