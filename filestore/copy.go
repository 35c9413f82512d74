package filestore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Files of a copy in its folder.
const (
	copyName = "copy.json"
	// previousSuffix marks the document and journal before the current ones.
	previousSuffix = ".previous"
	// memberCopy is the document's member with what belongs to the copy.
	memberCopy = "copy"
)

// copyQuiet is how long nothing must have been saved until the journal of a copy is folded.
const copyQuiet = time.Minute

// Copy keeps a snapshot of another store on this node's disk, with a note of that store's, so that the node can serve
// when it starts without it. Its files are those of a [Store]: a document, and a journal of what changed since; and
// the pair before that, should the newest be damaged. It is safe for concurrent use.
type Copy struct {
	disk      *disk
	log       *zap.Logger
	foldBytes int64
	quiet     time.Duration

	mu sync.Mutex
	// kept is what is on the disk; nil if that is not known, and everything has to be written.
	kept *state.Snapshot
	note []byte
	fold *time.Timer
	// damaged tells that the newest document was found damaged: it must not take the place of the previous one.
	damaged bool
	closed  bool
}

// copyMember is the document's member "copy". What is JSON stands there as text, as the document is indented.
type copyMember struct {
	// Note is the other store's.
	Note string `json:"note"`
	// Outside has the objects of kinds outside the document.
	Outside []copyOutside `json:"outside,omitempty"`
}

type copyOutside struct {
	Kind  state.Kind `json:"kind"`
	Name  string     `json:"name"`
	Value string     `json:"value"`
}

// copyRecord is one line of a copy's journal: what a save changed.
type copyRecord struct {
	// Document is the SHA-256 of the document that the record is based on.
	Document string          `json:"document"`
	Line     int64           `json:"n"`
	Ops      []op            `json:"ops,omitempty"`
	Note     json.RawMessage `json:"note"`
}

// OpenCopy returns the copy in the folder, which is made if it is missing. It reads nothing yet.
func OpenCopy(dir string, log *zap.Logger) (*Copy, error) { return openCopy(dir, log, osFS{}) }

func openCopy(dir string, log *zap.Logger, fsys FS) (*Copy, error) {
	if log == nil {
		log = zap.NewNop()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the folder of the local copy: %w", err)
	}
	path := filepath.Join(dir, copyName)
	d := &disk{fs: fsys, log: log, path: path, folder: dir}
	d.removeRests()
	return &Copy{disk: d, log: log, foldBytes: DefaultFoldBytes, quiet: copyQuiet}, nil
}

// Load returns the last snapshot that was saved, and its note; nil if there is none. Of a damaged copy the previous one
// is returned, and only if that is damaged too it is an error. The revisions of the objects are not the other store's.
func (c *Copy) Load() (*state.Snapshot, []byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, note, err := c.read(c.disk.path)
	if err == nil && s != nil {
		return s, note, nil
	}
	if err != nil {
		c.damaged = true
		c.log.Error("the local copy is damaged; the previous one is used", zap.Error(err))
	}
	before, note, previousErr := c.read(c.disk.path + previousSuffix)
	if before == nil {
		return nil, nil, errors.Join(err, previousErr)
	}
	return before, note, nil
}

// read returns what a document with its journal has; nil if there is no document.
func (c *Copy) read(path string) (*state.Snapshot, []byte, error) {
	data, _, err := readFile(c.disk.fs, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	// The document's last line is the sum of what precedes it.
	end := bytes.LastIndexByte(bytes.TrimSuffix(data, []byte("\n")), '\n') + 1
	sum, ok := lineText(bytes.TrimSuffix(data[end:], []byte("\n")))
	digest := sha256.Sum256(data[:end])
	if !ok || string(sum) != `"`+hex.EncodeToString(digest[:])+`"` {
		return nil, nil, fmt.Errorf("the local copy %s is damaged", path)
	}
	doc, err := state.LoadDocument(data[:end])
	if err != nil {
		return nil, nil, fmt.Errorf("the local copy %s: %w", path, err)
	}
	var m copyMember
	if err := json.Unmarshal(doc.Extra[memberCopy], &m); err != nil {
		return nil, nil, fmt.Errorf("the local copy %s: %w", path, err)
	}
	s := state.NewSnapshot(state.Head{KeyID: doc.KeyID}, 0).Restored(doc, 1)
	first := copyRecord{Note: json.RawMessage(m.Note)}
	for _, o := range m.Outside {
		first.Ops = append(first.Ops, op{K: o.Kind, N: o.Name, V: json.RawMessage(o.Value)})
	}
	l, note := loader{journal: path}, first.Note
	for _, r := range append([]copyRecord{first}, c.records(hex.EncodeToString(digest[:]))...) {
		if s, err = l.apply(s, record{Revision: s.Revision() + 1, Ops: r.Ops}, 0); err != nil {
			return nil, nil, err
		}
		note = r.Note
	}
	return s, note, nil
}

// records returns the records of the document with the digest, which may be in either journal: a crash can come between
// moving the document and its journal.
func (c *Copy) records(digest string) []copyRecord {
	a, b := c.journalOf(c.disk.path, digest), c.journalOf(c.disk.path+previousSuffix, digest)
	if len(a) >= len(b) {
		return a
	}
	return b
}

// journalOf returns the records of a journal as far as they are whole and of the document: each is a state of its own,
// so that what is torn only makes the copy older.
func (c *Copy) journalOf(path, digest string) []copyRecord {
	data, _, err := readFile(c.disk.fs, path+".journal")
	if err != nil {
		return nil
	}
	var records []copyRecord
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		text, ok := lineText(line)
		var r copyRecord
		if !whole || !ok || json.Unmarshal(text, &r) != nil || r.Document != digest || r.Line != int64(len(records)) {
			return records
		}
		records, data = append(records, r), rest
	}
	return records
}

// Save replaces what is kept; note is JSON. If the snapshot is a version of the one that was saved last, only what changed is
// written.
func (c *Copy) Save(s *state.Snapshot, note []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errors.New("the local copy is closed")
	}
	if lines, ok := c.changes(s, note); ok && c.disk.length+int64(len(lines)) <= c.disk.foldBytes(c.foldBytes) {
		if err := c.disk.append(lines, 1); err != nil {
			c.kept = nil
			return err
		}
		c.kept, c.note = s, bytes.Clone(note)
		c.foldLater()
		return nil
	}
	return c.rewrite(s, note)
}

// changes returns the record of what changed since the last save; false if that is not known.
func (c *Copy) changes(s *state.Snapshot, note []byte) ([]byte, bool) {
	if c.kept == nil || c.kept.Head() != s.Head() {
		return nil, false
	}
	keys, ok := s.ChangedSince(c.kept.Revision())
	if !ok {
		return nil, false
	}
	r := copyRecord{Document: c.disk.document.digest, Line: c.disk.line, Note: note}
	seen := map[state.Key]bool{}
	for _, k := range keys {
		if seen[k] || k.Kind == state.KindName || k.Kind == state.KindGuard {
			continue
		}
		seen[k] = true
		o := op{K: k.Kind, N: k.Name}
		if object, there := s.Object(k); there {
			raw, err := object.MarshalJSON()
			if err != nil {
				return nil, false
			}
			o.V = raw
		}
		r.Ops = append(r.Ops, o)
	}
	lines, err := appendLine(nil, r)
	return lines, err == nil
}

// rewrite writes the whole anew, beside what is there, which becomes the previous one.
func (c *Copy) rewrite(s *state.Snapshot, note []byte) error {
	c.kept = nil
	m, err := c.member(s, note)
	if err != nil {
		return err
	}
	d := c.disk
	name := d.path + suffixDocument
	document, err := c.writeDocument(name, s, m)
	if err != nil {
		return err
	}
	journal, err := d.writeNew(d.path+suffixJournal, writeNothing)
	if err != nil {
		d.discard(name)
		return err
	}
	if d.journal != nil {
		d.journal.Close()
		d.journal = nil
	}
	// What is there moves first, and for good: each moment of a crash leaves a document whose records are found.
	steps := [][][2]string{
		{{d.path, d.path + previousSuffix}, {d.path + ".journal", d.path + previousSuffix + ".journal"}},
		{{name, d.path}},
		{{d.path + suffixJournal, d.path + ".journal"}},
	}
	if c.damaged {
		steps = steps[1:]
	}
	for _, moves := range steps {
		if err := c.move(moves); err != nil {
			journal.Close()
			return err
		}
	}
	d.journal, d.length, d.line, d.broken = journal, 0, 0, nil
	d.document = document
	c.kept, c.note, c.damaged = s, bytes.Clone(note), false
	return nil
}

// move renames files, those that are there, and makes that durable.
func (c *Copy) move(moves [][2]string) error {
	for _, m := range moves {
		if err := c.disk.fs.Rename(m[0], m[1]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return c.disk.fs.SyncDir(c.disk.folder)
}

// member returns the document's member "copy".
func (c *Copy) member(s *state.Snapshot, note []byte) (json.RawMessage, error) {
	m := copyMember{Note: string(note)}
	for _, kind := range state.Kinds() {
		if kind.InDocument() {
			continue
		}
		for o := range s.Objects(kind) {
			raw, err := o.MarshalJSON()
			if err != nil {
				return nil, err
			}
			m.Outside = append(m.Outside, copyOutside{kind, o.Key().Name, string(raw)})
		}
	}
	return json.Marshal(m)
}

// foldLater has the journal folded when nothing is saved for a while.
func (c *Copy) foldLater() {
	if c.fold != nil {
		c.fold.Reset(c.quiet)
		return
	}
	c.fold = time.AfterFunc(c.quiet, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.closed || c.kept == nil || c.disk.length == 0 {
			return
		}
		if err := c.rewrite(c.kept, c.note); err != nil {
			c.log.Warn("the local copy cannot be folded", zap.Error(err))
		}
	})
}

// Close ends the use of the files. What was saved stays.
func (c *Copy) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.fold != nil {
		c.fold.Stop()
	}
	if c.disk.journal == nil {
		return nil
	}
	j := c.disk.journal
	c.disk.journal = nil
	return j.Close()
}
