package nginx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Run serves until ctx ends or Close is called. A managed nginx is started, and again whenever it ends; an external one
// is looked after by its commands, and left running at the end. See [webserver.Server]. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	s.life.Lock()
	if s.started || s.closed {
		s.life.Unlock()
		return errors.New("web server: already run or closed")
	}
	s.started = true
	s.life.Unlock()
	defer close(s.done)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()

	socket, err := s.prepareRun(ctx)
	if err != nil {
		s.setStatus(err)
		return err
	}
	close(s.prepared)
	var all sync.WaitGroup
	served := make(chan error, 1)
	all.Go(func() { served <- s.node.Serve(socket) })
	all.Go(func() { s.follow(ctx) })
	engineEnded := make(chan struct{})
	all.Go(func() {
		defer close(engineEnded)
		switch eng := s.eng.(type) {
		case *managed:
			eng.supervise(ctx)
		case *external:
			eng.watch(ctx)
		}
	})
	select {
	case <-ctx.Done():
	case err = <-served:
		err = fmt.Errorf("serve what nginx passes on: %w", err)
		served <- http.ErrServerClosed
		cancel()
	}
	// nginx first: what it still has to answer may need the node.
	<-engineEnded
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Timeouts.Shutdown)
	defer done()
	if s.node.Shutdown(grace) != nil {
		_ = s.node.Close() // its listener is closed already
	}
	all.Wait()
	s.setStatus(errors.New("stopped"))
	return err
}

// prepareRun makes all that must be there before nginx is.
func (s *Server) prepareRun(ctx context.Context) (net.Listener, error) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if err := s.makeFolders(); err != nil {
		return nil, fmt.Errorf("the folder for nginx: %w", err)
	}
	if err := s.adopt(); err != nil {
		return nil, fmt.Errorf("the folder for nginx: %w", err)
	}
	if err := s.writePages(); err != nil {
		s.log.Error("the pages of sites without a bundle cannot be written", zap.Error(err))
	}
	if s.keep(); s.opt.Managed && s.kept == "" {
		if err := s.blank(); err != nil {
			s.log.Error("nginx has no configuration yet; it is tried again", zap.Error(err))
		}
	}
	if err := removeFile(s.paths.socket); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", s.paths.socket)
	if err != nil {
		return nil, fmt.Errorf("the socket for nginx: %w", err)
	}
	err = os.Chmod(s.paths.socket, 0o660)
	if err == nil && s.owner.gid >= 0 {
		err = os.Chown(s.paths.socket, -1, s.owner.gid)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	errorLog, err := zap.NewStdLogAt(s.log, zap.DebugLevel)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.node = &http.Server{
		Handler: s.inner.Behind(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 128 << 10,
		ErrorLog: errorLog,
	}
	return l, nil
}

// follow pushes what changes without a call of Apply, and looks after old workers and files.
func (s *Server) follow(ctx context.Context) {
	ticker := time.NewTicker(s.opt.Timeouts.Watch)
	defer ticker.Stop()
	began := time.Now()
	leaving := map[int]time.Time{}
	reported := map[int]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.look:
			// Most often a call of Apply is under way that takes it along.
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(time.Second, s.opt.Timeouts.Watch)):
			}
		}
		s.refresh(ctx, began)
		m, ok := s.eng.(*managed)
		if !ok {
			continue
		}
		hanging := m.hanging(time.Now(), leaving)
		for _, pid := range hanging {
			if !reported[pid] {
				reported[pid] = true
				s.log.Warn("a worker of nginx hangs: it should have ended with its last request; its process can be killed",
					zap.Int("pid", pid))
			}
		}
	}
}

// refresh pushes new DH parameters or a new certificate of the node, and the first configuration if there was nothing to
// apply.
func (s *Server) refresh(ctx context.Context, began time.Time) {
	s.applying.Lock()
	defer s.applying.Unlock()
	if err := s.makeFolders(); err != nil {
		s.log.Error("the folder for nginx", zap.Error(err))
		return
	}
	s.sweep(time.Now())
	if s.inForce == "" && !s.none(began) || !s.Status().Running {
		return
	}
	if dh, node := s.dh, s.nodePair; s.pending() || s.inForce == "" {
		if err := s.push(ctx, "", nil); err != nil {
			s.unpend(dh, node)
			s.log.Error("nginx cannot be given what changed; it is tried again", zap.Error(err))
		}
	}
}

// none tells whether it is known that there are no sites, if none was applied.
func (s *Server) none(began time.Time) bool {
	if s.opt.Complete == nil {
		return time.Since(began) > time.Minute
	}
	select {
	case <-s.opt.Complete:
		return s.opt.Empty == nil || s.opt.Empty()
	default:
		return false
	}
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
	if m, ok := s.eng.(*managed); ok {
		m.close()
	}
	return errors.Join(append(errs, s.inner.Close())...)
}
