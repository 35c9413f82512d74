package nginx

import (
	"bytes"
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// breathe lets some time pass between two reloads, so that the workers of old configurations do not pile up.
func (s *Server) breathe(ctx context.Context) error {
	wait := s.opt.Timeouts.Between - time.Since(s.lastReload)
	if wait <= 0 {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// takeEffect reloads nginx and waits until new workers alone accept connections and answer with the new revision, over
// TLS, with the certificate that the name is to have: only then can workers read it, and is the configuration theirs.
func (s *Server) takeEffect(ctx context.Context, sni string, leaf []byte) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeouts.Reload)
	defer cancel()
	if err := s.eng.reload(ctx); err != nil {
		return fmt.Errorf("reload nginx: %w", err)
	}
	if sni == "" {
		sni = s.prober.host
	}
	want := s.nextRevision()
	var seen time.Time
	fresh := false
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		got, err := s.prober.ask(ctx, s.eng.address(), sni)
		switch {
		case err != nil:
			seen = time.Time{}
		case got.revision != want:
			err = fmt.Errorf("it answers with the revision %q, not %q", got.revision, want)
			seen = time.Time{}
		case leaf != nil && !bytes.Equal(got.leaf, leaf):
			err = fmt.Errorf("it presents another certificate for %s", sni)
		default:
			if seen.IsZero() {
				seen = time.Now()
			}
			// One probe more begins after the last old worker stopped to accept. It also wakes a new worker for a
			// connection that the kernel had announced to that old one alone (EPOLLEXCLUSIVE), which would wait until
			// the next visitor came.
			if fresh {
				s.setStatus(nil)
				return nil
			}
			if fresh = s.eng.fresh(seen); fresh {
				continue
			}
			err = errors.New("workers of the old configuration still accept connections")
		}
		select {
		case <-ctx.Done():
			if fault := s.eng.fault(); fault != "" {
				err = fmt.Errorf("%w; it complains: %s", err, fault)
			}
			return fmt.Errorf("nginx does not use the new configuration: %w", err)
		case <-time.After(pause):
		}
	}
}

// putBack has the last configuration used again that nginx was seen to use.
func (s *Server) putBack(ctx context.Context) error {
	last := cmp.Or(s.inForce, s.kept)
	if last == "" {
		return nil // there is none
	}
	s.log.Warn("the last configuration of nginx is put back")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Timeouts.Command)
	defer cancel()
	if err := s.eng.install(ctx, last); err != nil {
		return fmt.Errorf("put the last configuration back: %w", err)
	}
	if err := s.eng.reload(ctx); err != nil {
		return fmt.Errorf("put the last configuration back: %w", err)
	}
	return nil
}

// firstBlock returns what is in the first block of PEM.
func firstBlock(text []byte) []byte {
	if block, _ := pem.Decode(text); block != nil {
		return block.Bytes
	}
	return nil
}
