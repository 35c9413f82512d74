package builtin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/webserver"
)

// maxStreams bounds the requests that a client may have open at a time on one HTTP/2 connection. Browsers
// expect at least 100 (RFC 9113, 6.5.2).
const maxStreams = 128

// httpServer is the server for either kind of listener.
func (s *Server) httpServer(h http.Handler) *http.Server {
	errorLog, err := zap.NewStdLogAt(s.log, zap.DebugLevel)
	if err != nil { // only for an unknown level
		errorLog = zap.NewStdLog(zap.NewNop())
	}
	srv := &http.Server{
		Handler:           s.guarded(h),
		ReadHeaderTimeout: s.opt.Timeouts.ReadHeader,
		IdleTimeout:       s.opt.Timeouts.Idle,
		// For HTTP/2 this bounds a stream; copying a body moves it on. On HTTP/1.1 [stallConn] does that.
		WriteTimeout:   s.opt.Timeouts.Stall,
		MaxHeaderBytes: s.opt.MaxHeaderBytes,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: s.opt.Timeouts.Idle},
		Protocols:      new(http.Protocols),
		ErrorLog:       errorLog,
		ConnContext:    withConn,
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	return srv
}

// Run serves until ctx ends, Close is called or a listener fails. See [webserver.Server]. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	s.life.Lock()
	if s.started || s.closed {
		s.life.Unlock()
		return errors.New("web server: already run or closed")
	}
	s.started = true
	s.life.Unlock()
	defer close(s.done)

	// requests ends with the shutdown's time limit: what proxies and the node's handler still do then stops.
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	base := func(net.Listener) context.Context { return requests }
	s.plain.BaseContext, s.secure.BaseContext = base, base

	failed := make(chan error, len(s.opt.HTTP)+len(s.opt.HTTPS))
	var serving sync.WaitGroup
	for _, l := range s.opt.HTTP {
		serving.Go(func() { failed <- serveError(l, s.plain.Serve(s.watched(l))) })
	}
	for _, l := range s.opt.HTTPS {
		serving.Go(func() { failed <- serveError(l, s.secure.ServeTLS(s.watched(l), "", "")) })
	}
	s.setStatus(nil)

	var err error
	select {
	case <-ctx.Done():
	case <-s.stop:
	case err = <-failed:
	}
	if err != nil {
		s.setStatus(err)
	} else {
		s.setStatus(errors.New("stopped"))
	}
	s.shutdown(cancel)
	serving.Wait()
	return err
}

// serveError is nil for the end of serving that was asked for.
func serveError(l net.Listener, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve on %s: %w", l.Addr(), err)
}

// shutdown stops accepting, lets requests in flight end within the time limit, and ends the others.
func (s *Server) shutdown(cancel context.CancelFunc) {
	ctx, done := context.WithTimeout(context.Background(), s.opt.ShutdownTimeout)
	defer done()
	var both sync.WaitGroup
	for _, srv := range []*http.Server{s.plain, s.secure} {
		both.Go(func() {
			if err := srv.Shutdown(ctx); err != nil {
				s.log.Info("requests were still running at the end of the shutdown", zap.Error(err))
				cancel()
				_ = srv.Close() // its listeners are closed already; open connections have nobody to tell
			}
		})
	}
	both.Wait()
	s.proxies.close()
}

// Close stops serving as the end of Run's context does, waits for Run and closes the listeners. It is idempotent.
func (s *Server) Close() error {
	s.life.Lock()
	first, started := !s.closed, s.started
	s.closed = true
	s.life.Unlock()
	if first {
		close(s.stop)
	}
	if started {
		<-s.done
	}
	if !first {
		return nil
	}
	var errs []error
	for _, l := range append(s.opt.HTTP[:len(s.opt.HTTP):len(s.opt.HTTP)], s.opt.HTTPS...) {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close listener %s: %w", l.Addr(), err))
		}
	}
	s.proxies.close()
	return errors.Join(errs...)
}

// Status never blocks. See [webserver.Server].
func (s *Server) Status() webserver.Status { return *s.status.Load() }

func (s *Server) setStatus(err error) {
	s.status.Store(&webserver.Status{Running: err == nil, Err: err, Since: time.Now()})
}
