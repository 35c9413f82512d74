package builtin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"

	"statiko/bundle"
)

// serveProxy passes a request on, as nginx's proxy_pass does: if the rule's URL has a path, this takes the place
// of what the rule matched; if not, the path is passed unchanged. All methods pass. The rule's headers are set on
// the answer; X-Forwarded-For, -Host, -Proto and X-Real-IP that the client sent are replaced.
func (s *Server) serveProxy(w http.ResponseWriter, r *http.Request, site *site, rule *bundle.Rule, path, query string) {
	target := proxyTarget(rule, r, path)
	target.RawQuery = joinQuery(query, r.URL.RawQuery)
	if !bundle.ProxyAllowed(target, s.opt.AllowProxy) {
		s.log.Warn("proxy rule names a host that is not allowed", zap.String("domain", site.domain),
			zap.String("host", target.Host))
		s.fail(w, r, site, http.StatusBadGateway)
		return
	}
	control := http.NewResponseController(w)
	if r.ContentLength != 0 {
		r.Body = &stallBody{ReadCloser: r.Body, control: control, stall: s.opt.Timeouts.Stall}
	}
	effect := site.effect(rule)
	proxy := httputil.ReverseProxy{
		Transport:  s.proxies.transport,
		BufferPool: s.proxies,
		ErrorLog:   s.plain.ErrorLog,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = target, ""
			p.SetXForwarded()
			if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
				p.Out.Header.Set("X-Real-Ip", ip)
			}
		},
		ModifyResponse: func(res *http.Response) error {
			res.Header.Del("Server")
			if site.temporary {
				res.Header.Del("X-Robots-Tag")
			}
			effect.apply(res.Header, res.StatusCode)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			s.log.Debug("proxied host failed", zap.String("domain", site.domain), zap.String("host", target.Host), zap.Error(err))
			status := http.StatusBadGateway
			if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				status = http.StatusGatewayTimeout
			}
			s.fail(w, r, site, status)
		},
	}
	if r.ProtoMajor != 1 {
		w = &proxyWriter{ResponseWriter: w, control: control, stall: s.opt.Timeouts.Stall}
	}
	proxy.ServeHTTP(w, r)
}

// proxyTarget is where a request goes, without its query. A path that was not sent clean is passed on clean: else
// the proxied host could see another path than the rules did.
func proxyTarget(rule *bundle.Rule, r *http.Request, path string) *url.URL {
	to := rule.Options.Proxy
	target := &url.URL{Scheme: to.Scheme, Host: to.Host, Path: path}
	fixed := rule.Matcher == bundle.MatchExact || rule.Matcher == bundle.MatchPrefix
	switch {
	case to.Path != "" && fixed:
		target.Path = to.Path + strings.TrimPrefix(path, rule.Value)
	case path == r.URL.Path:
		target.RawPath = r.URL.RawPath
	}
	return target
}

// joinQuery puts what a rewrite added before the query of the request.
func joinQuery(added, sent string) string {
	if added == "" || sent == "" {
		return added + sent
	}
	return added + "&" + sent
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// stallBody bounds for how long a client may send nothing of a body that is passed on.
type stallBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
}

func (b *stallBody) Read(p []byte) (int, error) {
	if err := b.control.SetReadDeadline(time.Now().Add(b.stall)); err != nil {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		// The answer may take longer than the deadline; net/http would take that for the client's end.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// proxyWriter moves the deadline of an HTTP/2 stream on with each write.
type proxyWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

// Unwrap is for [http.ResponseController].
func (p *proxyWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *proxyWriter) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(p.stall)); err != nil {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}
