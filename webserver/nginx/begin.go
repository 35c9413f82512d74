package nginx

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// begin waits until nginx may be started. It returns soon after ctx ends.
func (s *Server) begin(ctx context.Context, m *managed) {
	if s.opt.Complete != nil {
		timer := time.NewTimer(s.opt.Timeouts.Begin)
		defer timer.Stop()
		select {
		case <-s.opt.Complete:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
	// A change that is under way gets its configuration into place first.
	s.applying.Lock()
	defer s.applying.Unlock()
	if ctx.Err() != nil {
		return
	}
	if s.inForce == "" && s.none(time.Now()) {
		if err := s.push(ctx, "", nil); err != nil {
			s.log.Error("nginx cannot be given a configuration without sites; it is tried again", zap.Error(err))
		}
	}
	if s.inForce == "" {
		if err := s.resume(ctx, m); err != nil {
			s.log.Error("nginx has no configuration yet; it is tried again", zap.Error(err))
		}
	}
	s.begun = true
}
