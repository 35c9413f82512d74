package filestore

import (
	"bytes"
	"fmt"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// folding is a fold whose document is being written beside the committer.
type folding struct {
	snapshot *state.Snapshot
	// The journal's end when the snapshot was the newest.
	length, line int64
	incarnation  int
	began        time.Time
}

type foldResult struct {
	document written
	err      error
}

// unfolded tells whether the journal has anything that the document lacks, or is longer than it has to be.
func (s *Store) unfolded() bool {
	return s.disk.length > s.disk.base || s.disk.document.revision != s.Snapshot().Revision()
}

// foldAfter is how long nothing must have changed until the journal is folded: longer where the document is long, as one change
// now and then would have all of it written each time.
func (s *Store) foldAfter() time.Duration {
	return s.options.FoldAfter * time.Duration(1+s.disk.documentBytes()/s.options.FoldBytes)
}

// late tells whether the document has lacked something for so long that it is folded although changes go on.
func (s *Store) late() bool { return s.unfolded() && time.Since(s.current) >= s.options.maxLag }

// foldShare is the part of the document's length that the journal may reach before it is folded.
const foldShare = 2

// foldBytes is the length of the journal at which it is folded in any case, least or longer: in proportion to the document, as
// what is written for many changes would grow with it otherwise.
func (d *disk) foldBytes(least int64) int64 { return max(least, d.documentBytes()/foldShare) }

// startFold writes the newest snapshot's document to a new file, beside the commits that go on.
func (s *Store) startFold() {
	if s.folding != nil || s.disk.broken != nil || !s.unfolded() || time.Now().Before(s.retry) && !s.isClosed() {
		return
	}
	if s.edited() {
		// The edit comes first. It is looked at from time to time.
		return
	}
	f := &folding{s.Snapshot(), s.disk.length, s.disk.line, s.disk.incarnation, time.Now()}
	s.folding = f
	go func() {
		w, err := s.disk.writeDocument(s.disk.path+suffixFold, f.snapshot)
		s.folded <- foldResult{w, err}
	}()
}

// awaitFold waits for a fold that runs, and ends it.
func (s *Store) awaitFold() {
	if s.folding != nil {
		s.endFold(<-s.folded)
	}
}

// foldNow folds before it returns.
func (s *Store) foldNow() error {
	s.awaitFold()
	if s.disk.broken != nil {
		return s.repair()
	}
	s.retry = time.Time{}
	s.startFold()
	if s.folding == nil {
		return nil
	}
	return s.endFold(<-s.folded)
}

// endFold puts the new document in place, and begins a new journal with what was committed since.
func (s *Store) endFold(r foldResult) error {
	f := s.folding
	s.folding = nil
	name := s.disk.path + suffixFold
	if r.err != nil {
		return s.foldFailed(r.err)
	}
	if f.incarnation != s.disk.incarnation || s.disk.broken != nil {
		// Everything was written anew in between.
		s.disk.discard(name)
		return nil
	}
	if s.edited() {
		// Looking at the edit comes first; what follows it folds.
		s.disk.discard(name)
		if s.isClosed() {
			s.look(true)
		}
		return nil
	}
	if err := s.finishFold(f, name, r.document); err != nil {
		return s.foldFailed(err)
	}
	s.current = f.began
	if s.Health().Reason != s.notice {
		s.setHealth(nil)
	}
	return nil
}

func (s *Store) finishFold(f *folding, name string, w written) error {
	tail, records, err := s.disk.tail(f.length)
	if err != nil {
		s.disk.discard(name)
		return err
	}
	if err := s.disk.announce(w); err != nil {
		s.disk.discard(name)
		return err
	}
	if _, err := s.disk.putDocument(name, w); err != nil {
		// If the old document comes back after a crash, the journal still has all that goes with it.
		return err
	}
	return s.disk.replaceJournal(f.snapshot, f.line, tail, records)
}

// foldFailed reports; the journal goes on, and after a pause another fold is tried.
func (s *Store) foldFailed(err error) error {
	s.log.Warn("the journal could not be folded into the state file; changes are kept in the journal",
		zap.String("file", s.disk.path), zap.Error(err))
	s.postpone()
	if s.disk.broken != nil {
		s.setHealth(s.disk.broken)
		return err
	}
	h := s.Health()
	if h.Healthy {
		h.Reason = fmt.Sprintf("the state file %s is not current, changes are kept in its journal: %v", s.disk.path, err)
		s.health.Store(&h)
	}
	return err
}

// tail returns the journal's lines after the given length, and how many there are.
func (d *disk) tail(from int64) ([]byte, int, error) {
	tail := make([]byte, d.length-from)
	if _, err := d.journal.ReadAt(tail, from); err != nil && len(tail) > 0 {
		return nil, 0, fmt.Errorf("read %s: %w", d.journalPath(), err)
	}
	return tail, bytes.Count(tail, []byte("\n")), nil
}
