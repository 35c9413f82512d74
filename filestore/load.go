package filestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"go.uber.org/zap"

	"statiko/state"
)

// loaded is what was found in the files.
type loaded struct {
	snapshot *state.Snapshot
	// journal is nil if there is none.
	journal *journal
	// document is what is in the file; its info is nil if there is no document yet.
	document written
	repairs  []string
	extra    state.DocumentOptions
	foreign  []op
	// stale says why the files have to be written anew; "" if they are as the store writes them.
	stale string
}

// loader reads the files and changes nothing.
type loader struct {
	fs         FS
	log        *zap.Logger
	path       string
	journal    string
	keyID      string
	knownKeys  map[string]bool
	loaded     loaded
	doc        *state.Document
	data       []byte
	unattested bool
}

func (l *loader) load() (*loaded, error) {
	if err := l.readJournal(); err != nil {
		return nil, err
	}
	if err := l.readDocument(); err != nil {
		return nil, err
	}
	if err := l.replay(); err != nil {
		return nil, err
	}
	head := l.loaded.snapshot.Head()
	if l.keyID != "" && head.KeyID != l.keyID {
		if l.doc.KeyID != "" {
			l.loaded.stale = "its key id is that of an old key"
		}
		head.KeyID = l.keyID
		b := l.loaded.snapshot.Build()
		b.SetHead(head)
		l.loaded.snapshot = b.Snapshot(l.loaded.snapshot.Revision())
	}
	return &l.loaded, nil
}

func (l *loader) readJournal() error {
	data, _, err := readFile(l.fs, l.journal)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(data) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the state's journal: %w", err)
	}
	j, err := parseJournal(data)
	if err != nil {
		return fmt.Errorf("the state's journal %s cannot be used, and was left as it is: %w; put back a backup of both files, or move the journal away to go on without what it holds", l.journal, err)
	}
	if j.torn > 0 {
		l.log.Warn("the journal's last record was not written to its end and is dropped; it was never acknowledged",
			zap.String("file", l.journal), zap.Int64("bytes", j.torn))
		l.loaded.stale = "its journal ends in a torn record"
	}
	l.loaded.journal = j
	return nil
}

func (l *loader) readDocument() error {
	data, info, err := readFile(l.fs, l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the state: %w", err)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return l.noDocument()
	}
	l.data = data
	doc, err := state.LoadDocument(data)
	if err != nil {
		return fmt.Errorf("the state file %s cannot be used, and was left as it is: %w; correct it, or put a backup in its place", l.path, err)
	}
	if err := checkKey(doc, l.keyID, l.knownKeys); err != nil {
		return fmt.Errorf("the state file %s: %w", l.path, err)
	}
	l.doc = doc
	sum := sha256.Sum256(data)
	l.loaded.document = written{doc.Revision, hex.EncodeToString(sum[:]), info}
	l.loaded.repairs = doc.Repairs
	l.loaded.extra.Extra = doc.Extra
	j := l.loaded.journal
	l.unattested = j == nil || !j.wrote(l.loaded.document.digest)
	switch {
	case info.Mode().Perm()&0o077 != 0:
		l.log.Warn("others may read the state file; it is written anew for its owner alone",
			zap.String("file", l.path), zap.Stringer("mode", info.Mode().Perm()))
		l.loaded.stale = "others may read it"
	case len(doc.Repairs) > 0:
		l.loaded.stale = "it was repaired"
	case l.unattested:
		l.loaded.stale = "it was written by somebody else"
	}
	return nil
}

// noDocument begins a new state, unless the journal has changes to a document that is gone.
func (l *loader) noDocument() error {
	j := l.loaded.journal
	if j != nil {
		for _, r := range j.records {
			if r.changesDocument() && r.Revision > j.header.Base {
				return fmt.Errorf("the state file %s is missing or empty, but its journal %s has changes to it: put the state file back (or a backup of both), or remove the journal too to begin with an empty state",
					l.path, l.journal)
			}
		}
		l.log.Warn("the state file is missing or empty: beginning with an empty state", zap.String("file", l.path))
	}
	l.doc = &state.Document{}
	l.unattested = true
	l.loaded.stale = "it does not exist yet"
	return nil
}

func (r record) changesDocument() bool {
	for _, o := range r.Ops {
		if o.K.InDocument() {
			return true
		}
	}
	return false
}

// replay makes the snapshot: the document, and what the journal has since.
func (l *loader) replay() error {
	l.loaded.extra.Revision = true
	j := l.loaded.journal
	revision := l.doc.Revision
	if j != nil && l.unattested {
		revision = max(revision, j.last())
	}
	if l.unattested {
		// What is in the file is not what had this revision.
		revision++
	}
	revision = max(revision, 1)
	s := state.NewSnapshot(state.Head{KeyID: l.keyID}, 0).Restored(l.doc, revision)
	if j == nil {
		l.loaded.snapshot = s
		return nil
	}
	after := l.doc.Revision
	if l.unattested {
		var err error
		if s, err = l.replayOnEdited(s, j); err != nil {
			return err
		}
		after = j.last()
	}
	stale := len(j.records) > j.header.Lines
	for _, r := range j.records {
		stale = stale || r.Revision > after
		var err error
		if s, err = l.apply(s, r, after); err != nil {
			return err
		}
	}
	if stale && l.loaded.stale == "" {
		l.loaded.stale = "its journal has changes"
	}
	l.loaded.snapshot = s
	return nil
}

// replayOnEdited applies to a document that somebody changed after an unclean stop what the journal has beyond the
// document's revision. The two may contradict each other, so the result is read again as a document is.
func (l *loader) replayOnEdited(s *state.Snapshot, j *journal) (*state.Snapshot, error) {
	b, n := s.Build(), 0
	for _, r := range j.records {
		if r.Revision <= l.doc.Revision || r.Revision <= j.header.Base || !r.changesDocument() {
			continue
		}
		n++
		for _, o := range r.Ops {
			if !o.K.InDocument() {
				continue
			}
			if err := put(b, o, s.Revision()); err != nil {
				return nil, fmt.Errorf("the state's journal %s: revision %d: %w", l.journal, r.Revision, err)
			}
		}
	}
	if n == 0 {
		if l.loaded.document.info != nil {
			l.log.Info("the state file is not the one that the journal was written for; it is taken as it is", zap.String("file", l.path))
		}
		return s, nil
	}
	l.log.Warn("the state file was changed by hand after the node had not stopped in order; what the journal has besides is applied to it",
		zap.String("file", l.path), zap.Int("changes", n))
	var buf bytes.Buffer
	if err := b.Snapshot(s.Revision()).WriteDocument(&buf, l.loaded.extra); err != nil {
		return nil, err
	}
	doc, err := state.LoadDocument(buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("the state file %s with its journal: %w", l.path, err)
	}
	l.loaded.repairs = append(l.loaded.repairs, doc.Repairs...)
	return state.NewSnapshot(state.Head{KeyID: l.keyID}, 0).Restored(doc, s.Revision()), nil
}

// apply makes a record's changes: all of them if it is newer than the document, which has revision after, and else
// those of kinds outside the document.
func (l *loader) apply(s *state.Snapshot, r record, after int64) (*state.Snapshot, error) {
	revision := max(s.Revision(), r.Revision)
	b := s.Build()
	// Names first go and then come: within one commit a name may move from one site to another.
	for _, o := range r.Ops {
		if o.K == state.KindSite && r.Revision > after {
			if old, ok := s.Object(o.key()); ok {
				for _, name := range old.(*state.Site).Names() {
					b.Delete(state.Key{Kind: state.KindName, Name: name}, revision)
				}
			}
		}
	}
	for _, o := range r.Ops {
		known := knownKind(o.K)
		if !known {
			l.keepForeign(o)
			continue
		}
		if o.K.InDocument() && r.Revision <= after {
			continue
		}
		if err := put(b, o, revision); err != nil {
			return nil, fmt.Errorf("the state's journal %s: revision %d: %w", l.journal, r.Revision, err)
		}
		if o.K == state.KindSite && o.V != nil {
			if err := putNames(b, o, revision); err != nil {
				return nil, fmt.Errorf("the state's journal %s: revision %d: %w", l.journal, r.Revision, err)
			}
		}
	}
	return b.Snapshot(revision), nil
}

func knownKind(kind state.Kind) bool {
	for _, k := range state.Kinds() {
		if k == kind {
			return true
		}
	}
	return false
}

// keepForeign keeps an object of a kind that only a newer version knows.
func (l *loader) keepForeign(o op) {
	for i, f := range l.loaded.foreign {
		if f.key() == o.key() {
			l.loaded.foreign = append(l.loaded.foreign[:i], l.loaded.foreign[i+1:]...)
			break
		}
	}
	if o.V != nil {
		l.loaded.foreign = append(l.loaded.foreign, o)
	}
}

func put(b *state.Builder, o op, revision int64) error {
	if o.V == nil {
		b.Delete(o.key(), revision)
		return nil
	}
	object, err := state.Decode(o.K, o.N, o.V)
	if err != nil {
		return fmt.Errorf("%s: %w", o.key(), err)
	}
	if object.Key() != o.key() {
		return fmt.Errorf("%s: the object calls itself %s", o.key(), object.Key())
	}
	b.Put(object, revision)
	return nil
}

// putNames derives the unique index of a site's names.
func putNames(b *state.Builder, o op, revision int64) error {
	object, err := state.Decode(o.K, o.N, o.V)
	if err != nil {
		return err
	}
	site := object.(*state.Site)
	for _, name := range site.Names() {
		entry, err := state.Decode(state.KindName, name, fmt.Appendf(nil, "%q", site.Domain))
		if err != nil {
			return err
		}
		b.Put(entry, revision)
	}
	return nil
}

// checkKey returns ErrForeignKey if the document's secrets are sealed with a key that is not ours. An unknown
// own key ("") accepts any.
func checkKey(doc *state.Document, own string, known map[string]bool) error {
	if own == "" || doc.KeyID == "" || doc.KeyID == own || known[doc.KeyID] {
		return nil
	}
	return fmt.Errorf("%w: its key has the id %s, that of secretsEncryptionKey is %s; set the key that it was written with, or name that key in secretsEncryptionOldKeys",
		state.ErrForeignKey, doc.KeyID, own)
}
