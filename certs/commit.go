package certs

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Pauses after the store refused a commit.
const (
	firstPause = 100 * time.Millisecond
	longPause  = 30 * time.Second
)

// made is a pair to be committed.
type made struct {
	job    job
	sealed []byte
}

// commit is what became of a batch of pairs or of removals.
type commit struct {
	batch   []made
	removal []unusedPair
	// count is how many were written or removed; the others were no longer wanted.
	count    int
	revision int64
	err      error
}

func (r *round) committing() bool { return r.inCommit != nil }

// startCommit commits what is finished, if it is time, or else removes what has been unused for long enough.
func (r *round) startCommit() {
	now := time.Now()
	if now.Before(r.pausedTo) {
		return
	}
	if len(r.done) == 0 {
		r.startRemoval(now)
		return
	}
	more := r.making > 0 || r.ahead != nil || len(r.missing) > 0
	if more && len(r.done) < r.batchLimit && now.Before(r.doneSince.Add(linger)) {
		return
	}
	n, size := 0, 0
	for n < len(r.done) && n < r.batchLimit {
		m := r.done[n]
		// Base64, with what a transaction has around it.
		if size += len(m.job.name) + len(m.sealed)*4/3 + 100; n > 0 && size > maxBatchBytes {
			break
		}
		n++
	}
	batch := r.done[:n:n]
	r.done = r.done[n:]
	r.inCommit = map[string]bool{}
	for _, m := range batch {
		r.inCommit[m.job.name] = true
	}
	r.start(func() {
		c := commit{batch: batch}
		c.revision, c.count, c.err = r.d.commitPairs(r.ctx, r.fence, batch)
		r.commits <- c
	})
}

// commitPairs stores those pairs of the batch that are still wanted: the site is there, needs this very pair, and
// nobody else has stored one meanwhile.
func (d *Duty) commitPairs(ctx context.Context, fence state.Fence, batch []made) (rev int64, count int, err error) {
	rev, err = d.o.Store.Update(ctx, func(draft *state.Draft) error {
		count = 0
		for _, m := range batch {
			if needInDraft(draft, m.job.site.Domain) != m.job.name {
				continue
			}
			sec := &state.Secret{Name: m.job.name, Sealed: m.sealed}
			if draft.Revision(sec.Key()) != m.job.revision {
				continue
			}
			if err := draft.Put(sec); err != nil {
				return err
			}
			count++
		}
		return nil
	}, state.WithFence(fence))
	return rev, count, err
}

func needInDraft(draft *state.Draft, domain string) string {
	o, ok := draft.Object(state.Key{Kind: state.KindSite, Name: domain})
	if !ok {
		return ""
	}
	return selfSignedFor(o.(*state.Site), func(name string) bool { _, ok := draft.Secret(name); return ok })
}

// startRemoval removes pairs whose grace is over.
func (r *round) startRemoval(now time.Time) {
	var batch []unusedPair
	for len(r.expiring) > 0 && len(batch) < maxRemovals && !now.Before(r.expiring[0].at) {
		u := r.expiring[0]
		r.expiring = r.expiring[1:]
		if r.unused[u.name] == u { // else it was needed again meanwhile
			batch = append(batch, u)
		}
	}
	if len(batch) == 0 {
		return
	}
	r.inCommit = map[string]bool{}
	for _, u := range batch {
		r.inCommit[u.name] = true
	}
	r.start(func() {
		c := commit{removal: batch}
		c.revision, c.count, c.err = r.d.commitRemovals(r.ctx, r.fence, batch)
		r.commits <- c
	})
}

// commitRemovals removes those pairs of the batch that are still there and not needed.
func (d *Duty) commitRemovals(ctx context.Context, fence state.Fence, batch []unusedPair) (rev int64, count int, err error) {
	rev, err = d.o.Store.Update(ctx, func(draft *state.Draft) error {
		count = 0
		for _, u := range batch {
			key := state.Key{Kind: state.KindSecret, Name: u.name}
			if neededInDraft(draft, u) {
				continue
			}
			switch err := draft.Delete(key); {
			case errors.Is(err, state.ErrNotFound):
			case err != nil:
				return err
			default:
				count++
			}
		}
		return nil
	}, state.WithFence(fence))
	return rev, count, err
}

// neededInDraft tells whether a site needs the pair. Only the site with the primary domain that the pair is named after
// can; where that is not known, all are asked, unprotected: a site that comes at this very moment gets a new pair, as
// any other whose pair is removed.
func neededInDraft(draft *state.Draft, u unusedPair) bool {
	if u.domain != "" {
		return needInDraft(draft, u.domain) == u.name
	}
	has := hasIn(draft.Snapshot())
	for site := range draft.Snapshot().Sites() {
		if selfSignedFor(site, has) == u.name {
			return true
		}
	}
	return false
}

// committed takes the outcome of a commit. Its error ends the run.
func (r *round) committed(c commit) error {
	if c.err != nil {
		r.inCommit = nil
		return r.refused(c)
	}
	r.pauseOver()
	r.batchLimit = maxBatch
	// The commit's own changes are in the snapshot, and passed over while inCommit has their names.
	r.absorb(r.d.o.Store.Snapshot())
	r.inCommit = nil
	for _, u := range c.removal {
		delete(r.unused, u.name)
		if _, ok := r.seen.Secret(u.name); ok { // needed again
			r.lookAtSecret(r.seen, u.name)
		}
	}
	for _, m := range c.batch {
		// Somebody else's change, before or after, was passed over too.
		if key := (&state.Secret{Name: m.job.name}).Key(); r.seen.RevisionOf(key) != c.revision {
			r.inWork[m.job.site.Domain] = true
		}
		r.workDone(m.job.site.Domain)
	}
	if c.count > 0 {
		what := "stored self-signed certificates"
		if len(c.removal) > 0 {
			what = "removed self-signed certificates that no site needs"
		}
		r.d.o.Log.Info(what, zap.Int("count", c.count), zap.Int64("revision", c.revision))
	}
	r.doneSince = time.Now()
	return nil
}

// refused keeps what could not be committed for later.
func (r *round) refused(c commit) error {
	if r.ctx.Err() != nil {
		return nil
	}
	if errors.Is(c.err, state.ErrFenced) {
		return c.err
	}
	refused := errors.Is(c.err, state.ErrTooLarge) || errors.Is(c.err, state.ErrInvalid)
	if refused && len(c.batch) == 1 {
		r.fail(c.batch[0].job, c.err)
		return nil
	}
	r.done = append(c.batch, r.done...)
	r.expiring = append(c.removal, r.expiring...)
	if refused && len(c.batch) > 1 {
		r.batchLimit = max(1, len(c.batch)/2) // until the one at fault is alone
		return nil
	}
	r.pause = min(max(2*r.pause, firstPause), longPause)
	r.pausedTo = time.Now().Add(jittered(r.pause))
	r.d.o.Log.Warn("the store does not take certificates, trying again", zap.Error(c.err), zap.Duration("in", r.pause))
	return nil
}

// pauseOver ends a pause: the store has just shown that it works.
func (r *round) pauseOver() { r.pause, r.pausedTo = 0, time.Time{} }

// wakeUp does what is due by time alone.
func (r *round) wakeUp(now time.Time) {
	if !now.Before(r.fullAt) {
		r.absorb(r.d.o.Store.Snapshot())
		r.lookAtAll(false)
	}
	if !r.retryAt.IsZero() && !now.Before(r.retryAt) {
		r.retryAt = time.Time{}
		for domain, f := range r.failed {
			if !now.Before(f.at) {
				r.reconsider(domain)
				if _, ok := siteOf(r.seen, domain); !ok {
					delete(r.failed, domain)
				}
			} else if r.retryAt.IsZero() || f.at.Before(r.retryAt) {
				r.retryAt = f.at
			}
		}
	}
}

// untilWake returns how long nothing is due by time.
func (r *round) untilWake(now time.Time) time.Duration {
	at := r.fullAt
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if !r.retryAt.IsZero() {
		sooner(r.retryAt)
	}
	if !r.committing() {
		switch {
		case now.Before(r.pausedTo):
			sooner(r.pausedTo)
		case len(r.done) > 0:
			sooner(r.doneSince.Add(linger))
		case len(r.expiring) > 0:
			sooner(r.expiring[0].at)
		}
	}
	return max(at.Sub(now), 0)
}
