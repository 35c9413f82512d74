package builtin

import (
	"crypto/tls"
	"net"
	"net/http"
)

// The header in which the web server in front says what the request was to it. It must set all of them on every request,
// so that no visitor can.
const (
	// PeerHeader has the visitor's IP address.
	PeerHeader = "X-Statiko-Peer"
	// SchemeHeader has "http" or "https".
	SchemeHeader = "X-Statiko-Scheme"
	// NameHeader has the server name of the TLS handshake.
	NameHeader = "X-Statiko-Name"
)

// Behind answers what a web server in front passes on: requests as they were sent to it, for any site or none, with
// the header above. It must only be reachable by that server. See [Options.Behind].
func (s *Server) Behind() http.Handler {
	plain, secure := s.plain.Handler, s.secure.Handler
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := r.Header
		peer, scheme, name := h.Get(PeerHeader), h.Get(SchemeHeader), h.Get(NameHeader)
		for _, own := range []string{PeerHeader, SchemeHeader, NameHeader} {
			h.Del(own)
		}
		if net.ParseIP(peer) != nil {
			r.RemoteAddr = net.JoinHostPort(peer, "0") // its port is not known
		}
		if scheme == "https" {
			r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: name}
			secure.ServeHTTP(w, r)
			return
		}
		plain.ServeHTTP(w, r)
	})
}

// Checkpoint returns a function that makes current again what is now. It is for a server that is behind another one, and
// must not be called while Apply runs.
func (s *Server) Checkpoint() (restore func()) {
	table := s.table.Load()
	return func() { s.table.Store(table) }
}

// OwnPages are the answers of our own, for a web server in front to send the same.
type OwnPages struct {
	// Welcome are the files of a site without a bundle by their names.
	Welcome map[string][]byte
	// Unknown is the page of hosts that are no site.
	Unknown []byte
	// Errors are the error pages by status.
	Errors map[int][]byte
}

// Pages returns the answers of our own.
func Pages() (OwnPages, error) {
	p, err := newPages()
	if err != nil {
		return OwnPages{}, err
	}
	body := func(f *file) []byte { return *f.forms[identity].body.Load() }
	own := OwnPages{Welcome: map[string][]byte{}, Unknown: body(p.unknown), Errors: map[int][]byte{}}
	for _, name := range []string{"/index.html", "/style.css", "/robots.txt"} {
		own.Welcome[name[1:]] = body(p.welcome[name])
	}
	for status, f := range p.errors {
		own.Errors[status] = body(f)
	}
	return own, nil
}
