package builtin

import (
	"errors"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"statiko/bundle"
)

// guarded ends only the request if h panics, and says so in the log.
func (s *Server) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			fault := recover()
			if fault == nil {
				return
			}
			if err, ok := fault.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				s.log.Error("request ended by a panic", zap.Any("panic", fault), zap.String("host", r.Host),
					zap.String("path", r.URL.Path), zap.ByteString("stack", debug.Stack()))
			}
			panic(http.ErrAbortHandler) // net/http ends the stream or the connection, silently
		}()
		if s.opt.HangUp != nil && s.opt.HangUp() {
			w.Header()["Connection"] = closing[:] // over HTTP/2, net/http makes a GOAWAY of it
		}
		h.ServeHTTP(w, r)
	})
}

// servePlain answers plain HTTP: redirects to HTTPS for sites, and the node's own paths.
func (s *Server) servePlain(w http.ResponseWriter, r *http.Request) {
	site := s.siteFor(r)
	switch {
	case challengePath(r.URL.Path) && s.opt.NodeHandler != nil:
		s.opt.NodeHandler.ServeHTTP(w, r)
	case site == nil:
		s.serveUnknown(w, r, http.StatusNotFound)
	default:
		refuseBody(w, r)
		s.redirectToSite(w, r, site)
	}
}

// serveSecure answers HTTPS.
func (s *Server) serveSecure(w http.ResponseWriter, r *http.Request) {
	name, site := hostName(r.Host), s.siteFor(r)
	switch {
	case challengePath(r.URL.Path) && s.opt.NodeHandler != nil:
		s.opt.NodeHandler.ServeHTTP(w, r)
	case site == nil:
		status := http.StatusNotFound
		if sni := hostName(r.TLS.ServerName); sni != name && s.table.Load().find(sni) != nil {
			status = http.StatusMisdirectedRequest
		}
		s.serveUnknown(w, r, status)
	case name != site.domain:
		refuseBody(w, r)
		s.redirectToSite(w, r, site)
	default:
		s.serveSite(w, r, site)
	}
}

// siteFor returns the site of a request, nil if there is none. What concerns the node itself waits for none.
func (s *Server) siteFor(r *http.Request) *site {
	if nodePath(r.URL.Path) {
		return s.table.Load().find(hostName(r.Host))
	}
	return s.site(r.Context(), hostName(r.Host))
}

// serveUnknown answers for a host that is no site.
func (s *Server) serveUnknown(w http.ResponseWriter, r *http.Request, status int) {
	if nodePath(r.URL.Path) && s.opt.NodeHandler != nil {
		s.opt.NodeHandler.ServeHTTP(w, r)
		return
	}
	if status == http.StatusNotFound && !s.complete() {
		s.serveIncomplete(w, r)
		return
	}
	refuseBody(w, r)
	switch r.URL.Path {
	case "/style.css", "/robots.txt":
		s.serveFile(w, r, s.pages.welcome[r.URL.Path], http.StatusOK, nil)
	default:
		s.serveFile(w, r, s.pages.unknown, status, nil)
	}
}

// redirectToSite sends the client to the same path and query, as sent, on the site's domain over HTTPS.
func (s *Server) redirectToSite(w http.ResponseWriter, r *http.Request, site *site) {
	target := "https://" + site.domain
	if port := s.opt.PublicHTTPSPort; port != 0 && port != 443 {
		target += ":" + strconv.Itoa(port)
	}
	if uri := r.RequestURI; strings.HasPrefix(uri, "/") {
		target += escapeBytes(uri)
	} else { // absolute form, or "*"
		target += escapeBytes((&url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}).RequestURI())
	}
	s.redirect(w, r, target)
}

func (s *Server) redirect(w http.ResponseWriter, r *http.Request, target string) {
	w.Header()["Location"] = []string{target}
	s.serveFile(w, r, s.pages.errors[http.StatusMovedPermanently], http.StatusMovedPermanently, nil)
}

// escapeBytes escapes what must not stand in a header, and leaves all else as it was sent.
func escapeBytes(s string) string {
	clean := true
	for i := 0; i < len(s); i++ {
		clean = clean && s[i] > ' ' && s[i] < 0x7f
	}
	if clean {
		return s
	}
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, 3*len(s))
	for i := 0; i < len(s); i++ {
		if c := s[i]; c > ' ' && c < 0x7f {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

// refuseBody makes sure that a request's body, which nobody wants, is not waited for: the answer is sent at
// once, and what is left of an HTTP/1.1 connection is closed soon after.
func refuseBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.ProtoMajor != 1 {
		return
	}
	w.Header()["Connection"] = closing[:]
	// It cannot fail on a connection of net/http; if it could, the idle timeout would do the same later.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyDrain))
}

// bodyDrain is for how long an unwanted body is read before its connection is closed, so that a client which
// sends all of it before it reads gets the answer.
const bodyDrain = time.Second

// serveSite answers for a site under its own domain.
func (s *Server) serveSite(w http.ResponseWriter, r *http.Request, site *site) {
	h := w.Header()
	if site.temporary {
		h["X-Robots-Tag"] = noIndex[:]
	}
	path, ok := cleanPath(r.URL.Path)
	switch {
	case r.URL.Path == "" && r.Method != http.MethodConnect: // absolute form without a path
		path = "/"
	case !ok:
		s.fail(w, r, site, http.StatusBadRequest)
		return
	case r.URL.RawPath != "" && encodedSlash(r.URL.RawPath):
		s.fail(w, r, site, http.StatusNotFound)
		return
	}
	if site.manifest == nil {
		s.serveStatic(w, r, site, path, "", nil)
		return
	}
	path, query := site.manifest.Rewrite(path)
	rule := site.manifest.Select(path)
	switch {
	case rule == nil:
		s.serveStatic(w, r, site, path, query, nil)
	case rule.Options.Deny:
		s.fail(w, r, site, http.StatusNotFound)
	case rule.Options.Proxy != nil:
		s.serveProxy(w, r, site, rule, path, query)
	default:
		s.serveStatic(w, r, site, path, query, site.effect(rule))
	}
}

// effect returns what a rule does to headers; nil for nothing.
func (s *site) effect(r *bundle.Rule) *ruleEffect { return s.rules[r] }

// fail answers with an error page: the site's own, or a short one of ours. Nothing of a rule applies to it.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, site *site, status int) {
	refuseBody(w, r)
	page := ""
	if site.manifest != nil {
		switch status {
		case http.StatusForbidden:
			page = site.manifest.Page403
		case http.StatusNotFound:
			page = site.manifest.Page404
		}
	}
	if page != "" && site.root != "" {
		f, err := s.lookup(site, "/"+page)
		if err == nil && !s.isManifest("/"+page) {
			s.serveFile(w, r, f, status, nil)
			return
		}
		s.log.Debug("error page of a bundle cannot be used", zap.String("domain", site.domain),
			zap.String("page", page), zap.Error(err))
	}
	s.serveFile(w, r, s.pages.errorPage(status), status, nil)
}

// isManifest tells whether a path is the manifest's.
func (s *Server) isManifest(path string) bool {
	return s.opt.ManifestFile != "" && path[1:] == s.opt.ManifestFile
}
