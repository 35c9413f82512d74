package node

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// apiServer makes the HTTP server of the API. Its limits suit uploads that take hours and requests that wait.
func (n *Node) apiServer() *http.Server {
	s := &http.Server{
		Handler:           n.server.Handler(),
		ReadHeaderTimeout: 30 * time.Second,
		ReadTimeout:       2 * time.Hour,
		WriteTimeout:      2 * time.Hour,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	// What peers do wrong, such as a handshake that they break off, is of no concern to an operator.
	if l, err := zap.NewStdLogAt(n.log.Named("api"), zap.DebugLevel); err == nil {
		s.ErrorLog = l
	}
	stopping := make(chan struct{})
	s.RegisterOnShutdown(func() { close(stopping); n.server.EndWaits() })
	s.Handler = hangUp(s.Handler, stopping)
	if n.config.TLS.Node.Enabled {
		s.TLSConfig = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return n.certificate.get(), nil },
		}
	}
	return s
}

// hangUp has connections closed after the answers that are given once stopping is closed. net/http's Shutdown passes
// over connections on which HTTP/2 begins while it runs: a peer that asks again and again would hold it up.
func hangUp(h http.Handler, stopping <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stopping:
			w.Header().Set("Connection", "close")
		default:
		}
		h.ServeHTTP(w, r)
	})
}

// runAPI answers requests until ctx ends, then lets those in flight finish.
func (n *Node) runAPI(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() {
		if n.api.TLSConfig != nil {
			ended <- n.api.ServeTLS(n.apiListener, "", "")
		} else {
			ended <- n.api.Serve(n.apiListener)
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := n.api.Shutdown(grace)
	if err != nil {
		n.log.Warn("requests to the API were cut off", zap.Error(err))
		err = n.api.Close()
	}
	if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// publicHandler is what the web server offers on names that are no site. The API's server is made after the web
// server, which serves nothing before Run.
func (n *Node) publicHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.server.PublicHandler().ServeHTTP(w, r)
	})
}
