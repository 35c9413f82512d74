package etcdstore

import (
	"context"
	"encoding/json"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// copyPause is how far the local copy may lag behind: changes in quick succession are written once.
const copyPause = time.Second

// copyNote is what a local copy has beside the objects.
type copyNote struct {
	Head headRecord `json:"head"`
	// HeadRevision is that of the head's last change, Revision the snapshot's, as etcd counts.
	HeadRevision int64   `json:"headRevision"`
	Revision     int64   `json:"revision"`
	Seen         witness `json:"seen"`
}

// loadCopy begins with what was kept on this node's disk.
func (s *Store) loadCopy() error {
	if s.options.Copy == nil {
		return nil
	}
	kept, data, err := s.options.Copy.Load()
	if err != nil {
		s.log.Error("the local copy of the state cannot be used; waiting for etcd", zap.Error(err))
		return nil
	}
	if kept == nil {
		return nil
	}
	var note copyNote
	if err := json.Unmarshal(data, &note); err != nil || note.Head.ID == "" {
		s.log.Error("the local copy of the state does not say what it is; waiting for etcd", zap.Error(err))
		return nil
	}
	if err := s.checkKey(note.Head.KeyID); err != nil {
		return err
	}
	note.Head.revision = note.HeadRevision
	b := kept.Build()
	b.SetHead(note.Head.state())
	s.publish(replica{head: note.Head, seen: note.Seen}, b.Snapshot(note.Head.lift(note.Revision)), nil)
	s.markLoaded()
	s.log.Info("serving from the local copy until etcd answers", zap.Int64("revision", note.Revision),
		zap.Int("sites", kept.Len(state.KindSite)))
	return nil
}

// keepCopy saves what the replica becomes, until ctx ends, and once more then.
func (s *Store) keepCopy(ctx context.Context) {
	saved, failing := int64(0), false
	for {
		_, err := s.Wait(ctx, saved)
		if s.followed.Load() {
			saved, failing = s.saveCopy(saved, failing)
		}
		if err != nil || ctx.Err() != nil {
			return
		}
		// Interrupted by the end, the next Wait returns at once: with what is not saved yet, or with an error.
		_ = sleep(ctx, copyPause)
	}
}

// saveCopy saves the newest snapshot, and returns its revision and whether that failed. Only the first of several
// failures is reported.
func (s *Store) saveCopy(saved int64, failing bool) (int64, bool) {
	snapshot, note := s.copyNote()
	if snapshot.Revision() == saved {
		return saved, failing
	}
	data, err := json.Marshal(note)
	if err == nil {
		err = s.options.Copy.Save(snapshot, data)
	}
	if err == nil {
		return snapshot.Revision(), false
	}
	if !failing {
		s.log.Error("the local copy of the state cannot be written", zap.Error(err))
	}
	return saved, true
}

// copyNote returns the newest snapshot with what goes with it.
func (s *Store) copyNote() (*state.Snapshot, copyNote) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snapshot, head := s.Snapshot(), s.now.head
	return snapshot, copyNote{Head: head, HeadRevision: head.revision, Revision: head.lower(snapshot.Revision()), Seen: s.now.seen}
}
