package filestore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// edited tells whether the document in the file is perhaps not the one that we wrote. It costs one stat.
func (s *Store) edited() bool {
	info, err := s.disk.fs.Stat(s.disk.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return !unchanged(info, s.disk.document.info)
}

func unchanged(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// look does what is due from time to time: repair a disk that refused, and see to changes by hand. Somebody may be
// in the middle of writing, so that a change counts once it was there in two looks; at the end (last) at once.
func (s *Store) look(last bool) {
	if !s.Health().Healthy && !time.Now().Before(s.retry) {
		_ = s.repair()
	}
	if s.disk.broken != nil || !s.edited() {
		s.suspect = nil
		return
	}
	data, info, err := readFile(s.disk.fs, s.disk.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("the state file cannot be read", zap.String("file", s.disk.path), zap.Error(err))
		return
	}
	sum := sha256.Sum256(data)
	now := written{digest: hex.EncodeToString(sum[:]), info: info}
	if err == nil && now.digest == s.disk.document.digest {
		s.disk.document.info = info
		s.suspect = nil
		return
	}
	if !last && (s.suspect == nil || s.suspect.digest != now.digest) {
		s.suspect = &now
		return
	}
	s.suspect = nil
	s.awaitFold()
	s.takeEdit(data, info)
}

// takeEdit restores what somebody wrote into the file, or keeps it aside.
func (s *Store) takeEdit(data []byte, info fs.FileInfo) {
	if info == nil {
		s.notice = fmt.Sprintf("the state file %s was removed while in use; it was written again", s.disk.path)
		s.log.Warn("the state file was removed while in use; it is written again", zap.String("file", s.disk.path))
		_ = s.repair()
		s.showNotice()
		return
	}
	doc, err := s.judgeEdit(data)
	if err == nil {
		revision, restoreErr := s.restore(doc, 0)
		if restoreErr == nil {
			s.notice = ""
			s.log.Info("the state file was changed by hand, which is taken as a restore",
				zap.String("file", s.disk.path), zap.Int64("revision", revision))
			s.showNotice()
			return
		}
		s.log.Warn("the state file was changed by hand, but could not be restored", zap.Error(restoreErr))
		return
	}
	name, keepErr := s.keepAside(data)
	if keepErr != nil {
		// Nothing is lost: the edit stays where it is, and our changes in the journal.
		s.log.Warn("the state file was changed by hand, and could not be kept aside", zap.Error(keepErr))
		return
	}
	s.notice = fmt.Sprintf("a change of the state file by hand was not taken (%v); it is kept as %s", err, name)
	s.log.Warn("the state file was changed by hand, which is not taken", zap.String("kept", name), zap.Error(err))
	_ = s.repair()
	s.showNotice()
}

// judgeEdit returns the document that somebody wrote, or why it cannot be taken.
func (s *Store) judgeEdit(data []byte) (*state.Document, error) {
	doc, err := state.ParseDocument(data)
	if err != nil {
		return nil, err
	}
	if now := s.Snapshot().Revision(); doc.Revision != now {
		return nil, fmt.Errorf("it changes revision %d, and the newest is %d", doc.Revision, now)
	}
	return doc, checkKey(doc, s.options.KeyID, s.knownKeys)
}

// keepAside keeps a copy of what somebody wrote. It is a copy, so that the document's place is never empty.
func (s *Store) keepAside(data []byte) (string, error) {
	d := s.disk
	base := d.path + ".rejected-" + time.Now().UTC().Format("20060102T150405Z")
	name := base
	for n := 2; ; n++ {
		if _, err := d.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
	f, err := d.writeNew(d.path+suffixRejected, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return "", err
	}
	f.Close()
	if err := d.fs.Rename(d.path+suffixRejected, name); err != nil {
		d.discard(d.path + suffixRejected)
		return "", err
	}
	return name, d.fs.SyncDir(d.folder)
}

// showNotice brings the notice into Health.
func (s *Store) showNotice() {
	if s.Health().Healthy {
		s.setHealth(nil)
	}
}
