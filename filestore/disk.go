package filestore

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"go.uber.org/zap"

	"statiko/state"
)

// disk is what is in the files. Only the committer uses it, except that writeNew may also run beside it.
type disk struct {
	fs     FS
	log    *zap.Logger
	path   string
	folder string

	// journal is the open journal; nil only while broken.
	journal File
	// length is that of the journal as far as it is durable and whole; line is the number of its last record.
	length, line int64
	// base is the length of the journal when nothing has been committed since it was written.
	base int64
	// incarnation changes whenever document or journal is replaced.
	incarnation int

	// The document that we wrote, or took, last.
	document written
	// extra are the document's members of newer versions, foreign the objects of kinds that only those know.
	extra   state.DocumentOptions
	foreign []op

	// broken says why nothing may be appended before rewrite has succeeded; nil if all is well.
	broken error
}

// written is a document in the file.
type written struct {
	revision int64
	digest   string
	info     fs.FileInfo
}

// documentBytes is the document's length; 0 if there is none.
func (d *disk) documentBytes() int64 {
	if d.document.info == nil {
		return 0
	}
	return d.document.info.Size()
}

func (d *disk) journalPath() string { return d.path + ".journal" }

// Suffixes of files that are being written. Two may be written at once, so each use has its own.
const (
	suffixDocument = ".new"
	suffixFold     = ".fold"
	suffixJournal  = ".journal.new"
	suffixRejected = ".rejected.new"
)

// removeRests removes what an earlier process left half-written.
func (d *disk) removeRests() {
	for _, suffix := range []string{suffixDocument, suffixFold, suffixJournal, suffixRejected} {
		if err := d.fs.Remove(d.path + suffix); err == nil {
			d.log.Info("removed a file that was not written to its end", zap.String("file", d.path+suffix))
		}
	}
}

// writeNew writes a new file that only its owner can read, and makes its content durable. The caller renames it
// and closes it. On failure nothing stays.
func (d *disk) writeNew(name string, write func(io.Writer) error) (_ File, err error) {
	if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := d.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			d.discard(name)
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := write(w); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("fsync %s: %w", name, err)
	}
	return f, nil
}

func (d *disk) discard(name string) {
	if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("a file that is of no use could not be removed", zap.String("file", name), zap.Error(err))
	}
}

// writeDocument writes the snapshot's document to a new file.
func (d *disk) writeDocument(name string, s *state.Snapshot) (written, error) {
	sum := sha256.New()
	f, err := d.writeNew(name, func(w io.Writer) error {
		return s.WriteDocument(io.MultiWriter(w, sum), d.extra)
	})
	if err != nil {
		return written{}, err
	}
	return d.finish(f, name, s.Revision(), hex.EncodeToString(sum.Sum(nil)))
}

// finish closes the new file of a document.
func (d *disk) finish(f File, name string, revision int64, digest string) (written, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		d.discard(name)
		return written{}, err
	}
	return written{revision, digest, info}, nil
}

// putDocument makes the new file the document. The error tells whether that may have happened nevertheless.
func (d *disk) putDocument(name string, w written) (perhaps bool, err error) {
	if err := d.fs.Rename(name, d.path); err != nil {
		d.discard(name)
		return false, err
	}
	d.document = w
	d.incarnation++
	if err := d.fs.SyncDir(d.folder); err != nil {
		return true, fmt.Errorf("fsync %s: %w", d.folder, err)
	}
	return false, nil
}

// announce notes in the journal that w is about to become the document.
func (d *disk) announce(w written) error {
	line, err := appendLine(nil, record{Line: d.line + 1, Group: d.line + 1, Revision: w.revision, Document: w.digest})
	if err != nil {
		return err
	}
	return d.append(line, 1)
}

// append makes the lines, which are numbered from d.line+1 on, part of the journal. Afterwards they are durable
// or, if the error is ErrUnavailable, certainly not in the journal. With ErrUnknown they may be.
func (d *disk) append(lines []byte, records int) error {
	_, err := d.journal.WriteAt(lines, d.length)
	synced := false
	if err == nil {
		synced = true
		if err = d.journal.Sync(); err == nil {
			d.length += int64(len(lines))
			d.line += int64(records)
			return nil
		}
	}
	err = renamed(err, d.journalPath())
	undo := d.journal.Truncate(d.length)
	if undo == nil {
		undo = d.journal.Sync()
	}
	if synced {
		// After a failed fsync the kernel may take pages for clean that never reached the disk, so that not
		// even a later fsync that succeeds says anything about them.
		d.broken = err
	}
	if undo == nil {
		return unavailable(err)
	}
	if info, statErr := d.journal.Stat(); statErr == nil && !synced && info.Size() == d.length {
		return unavailable(err)
	}
	d.broken = err
	return unknown(err)
}

// renamed puts the name that the file has now into an error that has the one that it was made with.
func renamed(err error, name string) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return &fs.PathError{Op: p.Op, Path: name, Err: p.Err}
	}
	return err
}

// failure is why the disk refused a change.
type failure struct {
	// outcome is ErrUnavailable or ErrUnknown.
	outcome error
	cause   error
}

func (f *failure) Error() string {
	if f.outcome == state.ErrUnknown {
		return fmt.Sprintf("%v: the change may have been stored: %v", f.outcome, f.cause)
	}
	return fmt.Sprintf("%v: nothing was changed: %v", f.outcome, f.cause)
}

func (f *failure) Unwrap() []error { return []error{f.outcome, f.cause} }

// unavailable says that a change was certainly not applied, because of err.
func unavailable(err error) error { return &failure{state.ErrUnavailable, err} }

// unknown says that a change may have been applied, because of err.
func unknown(err error) error { return &failure{state.ErrUnknown, err} }

// replaceJournal begins a new journal on the document that was written last: with the objects of kinds outside
// of the document as they are in s, and the lines of the tail, the commits since, records in all.
func (d *disk) replaceJournal(s *state.Snapshot, line int64, tail []byte, records int) error {
	lines, n, err := outsideLines(s, d.foreign)
	if err != nil {
		return err
	}
	head, err := appendLine(nil, header{
		Version: journalVersion, Base: d.document.revision, Document: d.document.digest, Line: line, Lines: n + records,
	})
	if err != nil {
		return err
	}
	name := d.path + suffixJournal
	f, err := d.writeNew(name, func(w io.Writer) error {
		for _, part := range [][]byte{head, lines, tail} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.fs.Rename(name, d.journalPath()); err != nil {
		f.Close()
		d.discard(name)
		return err
	}
	if d.journal != nil {
		d.journal.Close()
	}
	d.journal = f
	d.base = int64(len(head) + len(lines))
	d.length = d.base + int64(len(tail))
	d.line = line + int64(records)
	d.incarnation++
	if err := d.fs.SyncDir(d.folder); err != nil {
		// A crash could bring the old journal back, without what would be appended to this one.
		d.broken = fmt.Errorf("fsync %s: %w", d.folder, err)
		return d.broken
	}
	return nil
}

// rewrite writes everything anew from the snapshot: document and journal. It is how the disk is repaired.
func (d *disk) rewrite(s *state.Snapshot) error {
	name := d.path + suffixDocument
	w, err := d.writeDocument(name, s)
	if err != nil {
		return err
	}
	if _, err := d.putDocument(name, w); err != nil {
		return err
	}
	if err := d.replaceJournal(s, d.line, nil, 0); err != nil {
		return err
	}
	d.broken = nil
	return nil
}

// maxOutsideLine bounds the lines that hold the objects of kinds outside of the document, in bytes.
const maxOutsideLine = 256 << 10

// outsideLines returns the objects of kinds outside of the document as records, and their number.
func outsideLines(s *state.Snapshot, foreign []op) (lines []byte, n int, err error) {
	var ops []op
	size := 0
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		lines, err = appendLine(lines, record{Revision: s.Revision(), Ops: ops})
		ops, size = nil, 0
		n++
		return err
	}
	add := func(o op) error {
		ops = append(ops, o)
		if size += len(o.V); size > maxOutsideLine {
			return flush()
		}
		return nil
	}
	for _, kind := range state.Kinds() {
		if kind.InDocument() {
			continue
		}
		for o := range s.Objects(kind) {
			raw, err := o.MarshalJSON()
			if err != nil {
				return nil, 0, err
			}
			if err := add(op{K: kind, N: o.Key().Name, V: raw}); err != nil {
				return nil, 0, err
			}
		}
	}
	for _, o := range foreign {
		if err := add(o); err != nil {
			return nil, 0, err
		}
	}
	return lines, n, flush()
}
