package filestore

import (
	"fmt"
	"time"

	"statiko/state"
)

// run is the committer: the one goroutine that writes, until Close.
func (s *Store) run() {
	defer close(s.done)
	quiet := time.NewTimer(s.options.FoldAfter)
	defer quiet.Stop()
	look := time.NewTicker(s.options.checkEvery)
	defer look.Stop()
	changed := time.Now()
	for {
		select {
		case <-s.wake:
			if !s.unfolded() {
				s.current = time.Now()
			}
			batch, open := s.take()
			s.commit(batch)
			changed = time.Now()
			if !open {
				s.shutdown()
				return
			}
			quiet.Reset(s.foldAfter())
			if s.disk.length-s.disk.base >= s.disk.foldBytes(s.options.FoldBytes) || s.late() {
				s.startFold()
			}
		case <-quiet.C:
			s.startFold()
		case f := <-s.folded:
			s.endFold(f)
		case <-look.C:
			s.look(false)
			if time.Since(changed) >= s.foldAfter() || s.late() {
				s.startFold()
			}
		}
	}
}

// shutdown ends a fold that runs, folds what is left, and gives the files back.
func (s *Store) shutdown() {
	s.awaitFold()
	s.look(true)
	if s.disk.broken != nil {
		// Perhaps it can be written by now.
		_ = s.repair()
	}
	s.startFold()
	s.awaitFold()
	if s.disk.journal != nil {
		s.disk.journal.Close()
	}
	s.lock.Close()
}

// group is the transactions that are written with one fsync.
type group struct {
	// before is the published snapshot, newest the one that results.
	before, newest *state.Snapshot
	lines          []byte
	first          int64
	accepted       []accepted
	// late are those that an accepted one got ahead of.
	late []*request
}

type accepted struct {
	request  *request
	revision int64
}

// maxGroup bounds a group, in bytes of the journal.
const maxGroup = 4 << 20

// commit does what was asked for, in order.
func (s *Store) commit(batch []*request) {
	var g group
	for _, r := range batch {
		if !r.taken.CompareAndSwap(0, takenByCommitter) {
			continue
		}
		if r.txn != nil {
			s.stage(&g, r)
			if len(g.lines) >= maxGroup {
				s.flush(&g)
			}
			continue
		}
		s.flush(&g)
		switch {
		case r.doc != nil:
			r.answer(s.restore(r.doc, r.ifRevision))
		case r.begin:
			s.startFold()
			r.answer(0, nil)
		default:
			r.answer(0, s.foldNow())
		}
	}
	s.flush(&g)
}

// stage adds a transaction to the group, or answers it if it cannot be made.
func (s *Store) stage(g *group, r *request) {
	if s.disk.broken != nil {
		if err := s.repair(); err != nil {
			r.answer(0, unavailable(err))
			return
		}
	}
	if g.before == nil {
		g.before = s.Snapshot()
		g.newest, g.first = g.before, s.disk.line+1
	}
	t := r.txn
	switch {
	case t.Fence != nil && t.Fence.Over():
		r.answer(0, errFenced())
		return
	case !t.Holds(g.before):
		r.answer(0, state.ErrConflict)
		return
	case !t.Holds(g.newest):
		g.late = append(g.late, r)
		return
	}
	revision := g.newest.Revision() + 1
	lines, err := appendLine(g.lines, record{
		Line: g.first + int64(len(g.accepted)), Group: g.first, Revision: revision, Ops: opsOf(t),
	})
	if err != nil {
		r.answer(0, fmt.Errorf("encode the change: %w", err))
		return
	}
	g.lines = lines
	b := g.newest.Build()
	t.Apply(b, revision)
	g.newest = b.Snapshot(revision)
	g.accepted = append(g.accepted, accepted{r, revision})
}

// flush makes the group durable, then visible, and then answers.
func (s *Store) flush(g *group) {
	if len(g.accepted) == 0 {
		return
	}
	err := s.disk.append(g.lines, len(g.accepted))
	if err != nil && s.disk.broken != nil {
		err = s.settle(err)
	}
	if err == nil {
		s.Publish(g.newest)
	}
	s.noteOutcome(err)
	for _, a := range g.accepted {
		if err != nil {
			a.request.answer(0, err)
		} else {
			a.request.answer(a.revision, nil)
		}
	}
	for _, r := range g.late {
		if err != nil {
			r.answer(0, err)
		} else {
			r.answer(0, state.ErrConflict)
		}
	}
	*g = group{}
}

// settle tries to write everything anew as it was before a change failed with err, so that the change is certainly
// not applied.
func (s *Store) settle(err error) error {
	if s.disk.rewrite(s.Snapshot()) == nil {
		return unavailable(err)
	}
	return err
}

// noteOutcome keeps Health, and when to try again by ourselves.
func (s *Store) noteOutcome(err error) {
	if err == nil {
		if !s.Health().Healthy {
			s.setHealth(nil)
		}
		s.pause, s.retry = 0, time.Time{}
		return
	}
	s.postpone()
	s.setHealth(err)
}

// postpone sets when to try again what the disk refused.
func (s *Store) postpone() {
	s.pause = min(max(2*s.pause, s.options.retryAfter), maxRetryAfter)
	s.retry = time.Now().Add(s.pause)
}

// repair writes everything anew.
func (s *Store) repair() error {
	err := s.disk.rewrite(s.Snapshot())
	if err != nil && s.disk.broken == nil {
		s.disk.broken = err
	}
	s.noteOutcome(err)
	return err
}
