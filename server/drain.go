package server

import (
	"sync"
	"sync/atomic"
	"time"

	"statiko/api"
)

// draining is whether the node asks not to be sent visitors.
type draining struct {
	// active is read with each request of a visitor.
	active atomic.Bool

	mu sync.Mutex
	// since is when it began; zero if the node is not drained.
	since time.Time
	// stopping tells that the node is about to stop, so that nothing ends it.
	stopping bool
}

// begin drains, and returns since when the node is drained.
func (d *draining) begin(now time.Time, stopping bool) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.IsZero() {
		d.since = now
	}
	d.stopping = d.stopping || stopping
	d.active.Store(true)
	return d.since
}

// end takes visitors again, and tells whether it may.
func (d *draining) end() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return false
	}
	d.since = time.Time{}
	d.active.Store(false)
	return true
}

func (d *draining) state() (since time.Time, stopping bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since, d.stopping
}

// Drain has /readyz answer 503 from now on, so that load balancers send no more visitors; those who come are served as
// before. It is for a node that is about to stop, and nothing undoes it. It returns since when the node is drained,
// which may be earlier.
func (s *Server) Drain() time.Time { return s.drain.begin(s.Now(), true) }

// Draining tells whether the node asks not to be sent visitors.
func (s *Server) Draining() bool { return s.drain.active.Load() }

// startDrain answers POST /drain.
func (s *Server) startDrain(c *call) error {
	if !s.Draining() {
		s.Log.Info("this node is drained: it asks load balancers not to send visitors, until that is undone or it is restarted")
	}
	s.drain.begin(s.Now(), false)
	return c.done()
}

// endDrain answers POST /undrain.
func (s *Server) endDrain(c *call) error {
	drained := s.Draining()
	if !s.drain.end() {
		return api.Errorf(api.CodeStopping, "the node is stopping; it takes visitors again once it is started")
	}
	if drained {
		s.Log.Info("this node takes visitors again")
	}
	return c.done()
}
