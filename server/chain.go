package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"time"

	"go.uber.org/zap"

	"statiko/api"
)

// slowCall is how long a request may take before the log mentions it. Waiting that was asked for does not count.
const slowCall = 5 * time.Second

// chain is what every request goes through before its route: headers, the log, the catching of panics, and the
// check of its origin.
func (s *Server) chain(routes []route, authenticate bool) http.Handler {
	mux := s.mux(routes, authenticate)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{w: &recorder{ResponseWriter: w}, r: r}
		h := w.Header()
		h.Set(api.HeaderNode, s.NodeName)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		c.setRevision(s.Store.Snapshot().Revision())
		began := s.Now()
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(http.ErrAbortHandler) // net/http's own way of cutting a connection
				}
				s.caught(c, p)
			}
			s.log(c, s.Now().Sub(began))
		}()
		if s.crossOrigin(c) {
			return
		}
		mux.ServeHTTP(c.w, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
	})
}

// caught answers a request whose handler panicked. The caller gets a reference, the log the reason.
func (s *Server) caught(c *call, reason any) {
	ref := reference()
	s.Log.Error("a handler panicked", zap.String("reference", ref), zap.String("method", c.r.Method),
		zap.String("route", c.route), zap.Any("reason", reason), zap.Stack("stack"))
	s.writeError(c, internalError(ref))
}

// log writes one line a request. The path, the query and the headers stay out of it: they may name secrets.
func (s *Server) log(c *call, took time.Duration) {
	write := s.Log.Debug
	// An unhealthy /status is an answer as good as another; whoever polls it must not fill the log.
	fault := c.w.status >= 500 && c.route != "/status" && c.route != "/status/{domain}" && c.route != "/readyz"
	if fault || took-c.wait > slowCall {
		write = s.Log.Warn
	}
	write("request", zap.String("method", c.r.Method), zap.String("route", c.route), zap.Int("status", c.w.status),
		zap.Int64("bytes", c.w.bytes), zap.Duration("took", took), zap.Bool("authenticated", c.authenticated))
}

// reference returns a random text that ties an answer to a line of the log.
func reference() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // it never fails, says crypto/rand
	return hex.EncodeToString(b[:])
}
