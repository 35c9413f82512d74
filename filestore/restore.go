package filestore

import (
	"go.uber.org/zap"

	"statiko/state"
)

// restore replaces the state by a document. The moment at which the new document takes the old one's place is the
// commit: what the journal has is older, and is passed over from then on.
func (s *Store) restore(doc *state.Document, ifRevision int64) (int64, error) {
	before := s.Snapshot()
	if ifRevision != 0 && ifRevision != before.Revision() {
		return 0, state.Errorf(state.ErrPrecondition, state.Key{}, "", "the state has revision %d, not %d; look at it again", before.Revision(), ifRevision)
	}
	if s.disk.broken != nil {
		if err := s.repair(); err != nil {
			return 0, unavailable(err)
		}
	}
	after := s.restored(before, doc)
	err := s.putRestored(after)
	if err != nil && s.disk.broken != nil {
		err = s.settle(err)
	}
	s.noteOutcome(err)
	if err != nil {
		return 0, err
	}
	s.Publish(after)
	if err := s.disk.replaceJournal(after, s.disk.line, nil, 0); err != nil {
		// The restore is durable all the same, and commits can go on in the old journal unless it is broken.
		s.foldFailed(err)
	}
	return after.Revision(), nil
}

// restored returns the snapshot after the restore of doc.
func (s *Store) restored(before *state.Snapshot, doc *state.Document) *state.Snapshot {
	revision := before.Revision() + 1
	after := before.Restored(doc, revision)
	if id := s.options.KeyID; id != "" && after.Head().KeyID != id {
		head := after.Head()
		head.KeyID = id
		b := after.Build()
		b.SetHead(head)
		after = b.Snapshot(revision)
	}
	return after
}

// putRestored makes the snapshot's document the one in the file.
func (s *Store) putRestored(after *state.Snapshot) error {
	d := s.disk
	name := d.path + suffixDocument
	w, err := d.writeDocument(name, after)
	if err != nil {
		return unavailable(err)
	}
	if err := d.announce(w); err != nil {
		d.discard(name)
		return err
	}
	perhaps, err := d.putDocument(name, w)
	switch {
	case err == nil:
		return nil
	case perhaps:
		d.log.Error("the folder of the state file could not be synced", zap.String("folder", d.folder), zap.Error(err))
		d.broken = err
		return unknown(err)
	}
	return unavailable(err)
}
