package reconcile

import (
	"context"
	"errors"
	"fmt"
)

// ErrFault is what [Reconciler.Wait] returns when a site cannot be served as asked.
var ErrFault = errors.New("cannot be applied")

// Status tells how far the Reconciler is.
func (r *Reconciler) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	if !s.Running {
		now := r.Now()
		for d := range r.unsettledSites {
			if st := r.sites[d]; st != nil && st.waiting && now.Sub(st.waitingSince) < patience {
				s.Running = true
				break
			}
		}
	}
	return s
}

// Site tells how one site is. A site that no pass has seen yet is not healthy, and says so.
func (r *Reconciler) Site(domain string) SiteStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	if st, ok := r.sites[domain]; ok {
		return st.status
	}
	return SiteStatus{Domain: domain, Err: "it is not applied yet", Time: r.status.LastSync}
}

// Wait returns nil once everything at the revision is applied or, for a domain, once that site is. For everything it
// also waits for what [Reconciler.Sync] was called for before. It returns an [ErrFault] that says what is wrong if
// the site cannot be served as asked, or a pass not be completed, and ctx's error when ctx ends first.
func (r *Reconciler) Wait(ctx context.Context, revision int64, domain string) error {
	r.mu.Lock()
	asked := r.asked
	r.mu.Unlock()
	for {
		r.mu.Lock()
		ended := r.passEnded
		done, err := r.status.Revision >= revision, error(nil)
		if domain == "" {
			done = done && r.looked >= asked && len(r.unsettledSites) == 0
			if done && r.status.Err != nil {
				err = fmt.Errorf("%w: %w", ErrFault, r.status.Err)
			}
		} else if st := r.sites[domain]; done && st != nil {
			switch {
			case st.waiting || st.refused == 1:
				done = false
			case !st.status.Healthy:
				err = fmt.Errorf("%w: %s", ErrFault, st.status.Err)
			}
		}
		r.mu.Unlock()
		if done {
			return err
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
