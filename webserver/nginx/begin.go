package nginx

import (
	"context"
	"time"
)

// begin waits until nginx may be started. It returns soon after ctx ends.
func (s *Server) begin(ctx context.Context) {
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
	s.begun = true
}
