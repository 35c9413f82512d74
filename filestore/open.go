package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Defaults of [Options].
const (
	// DefaultFoldAfter is so long that a burst of changes is folded once, and so short that a document of few sites is
	// current a moment later.
	DefaultFoldAfter = time.Second
	// DefaultFoldBytes is the length of the journal in bytes that a start can read in a moment.
	DefaultFoldBytes = 8 << 20
	// defaultMaxLag is how long the document may lack a change while others go on: so long that writing all of it that often
	// is no load.
	defaultMaxLag = 5 * time.Minute
	// defaultCheckEvery is how often the document is looked at for changes by hand.
	defaultCheckEvery = 2 * time.Second
	// defaultRetryAfter doubles with each attempt, up to maxRetryAfter: each writes the whole document.
	defaultRetryAfter = 2 * time.Second
	maxRetryAfter     = time.Minute
)

// Options say which file to open, and how.
type Options struct {
	// Path is that of the state document. Its folder must exist.
	Path string
	// KeyID names the key that seals secrets now; "" accepts any document and leaves its id.
	KeyID string
	// KnownKeyIDs are further keys that can still open secrets.
	KnownKeyIDs []string
	// Log gets what an administrator should know; nil for none.
	Log *zap.Logger
	// FoldAfter is how long nothing must have changed until the journal is folded, and as long again for each FoldBytes of the
	// document; 0 is DefaultFoldAfter. Where changes go on and on, it is folded every few minutes.
	FoldAfter time.Duration
	// FoldBytes is the length of the journal at which it is folded in any case, if half of the document is not longer; 0 is
	// DefaultFoldBytes.
	FoldBytes int64
	// Moved opens the file even if its state was moved to somewhere else; see [Marker].
	Moved bool
	// FS is the file system; nil is the real one.
	FS FS

	// maxLag is how long the document may lack a change; 0 is the default.
	maxLag time.Duration
	// checkEvery is the period of looking for changes by hand, and of repairing; 0 is the default.
	checkEvery time.Duration
	// retryAfter is the first pause before a disk that refused is tried again; 0 is the default.
	retryAfter time.Duration
	// grace is how long a change that was begun may outlast its context; 0 is the default.
	grace time.Duration
}

func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.FS == nil {
		o.FS = osFS{}
	}
	if o.FoldAfter <= 0 {
		o.FoldAfter = DefaultFoldAfter
	}
	if o.FoldBytes <= 0 {
		o.FoldBytes = DefaultFoldBytes
	}
	if o.maxLag <= 0 {
		o.maxLag = defaultMaxLag
	}
	if o.checkEvery <= 0 {
		o.checkEvery = defaultCheckEvery
	}
	if o.retryAfter <= 0 {
		o.retryAfter = defaultRetryAfter
	}
	if o.grace <= 0 {
		o.grace = defaultGrace
	}
}

// Open opens the state in the file, or begins a new one if the file is missing or empty. What a crash or an
// earlier version left is repaired: see [Store.Repairs]. A file that cannot be read is an error that names its line
// and column, and is never overwritten; so is a folder that does not exist (it may be a disk that is not mounted), a
// file that another process uses, as [*MovedError] one whose state was moved to somewhere else, and, as
// [state.ErrForeignKey], one whose secrets are sealed with an unknown key.
func Open(o Options) (_ *Store, err error) {
	o.setDefaults()
	path, lock, err := lockFile(o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	l := newLoader(o, path)
	found, err := l.load()
	if err != nil {
		return nil, err
	}
	if err := refuseMoved(o, path, found); err != nil {
		return nil, err
	}
	for _, r := range found.repairs {
		o.Log.Warn("the state file was repaired", zap.String("file", path), zap.String("repair", r))
	}
	d := &disk{fs: o.FS, log: o.Log, path: path, folder: filepath.Dir(path),
		document: found.document, extra: found.extra, foreign: found.foreign}
	d.removeRests()
	if err := d.adopt(found); err != nil {
		return nil, err
	}
	return start(o, d, lock, found, l.knownKeys), nil
}

// adopt makes the files ready for commits. A disk that cannot be written to now is no reason not to serve what is
// on it: then d.broken is set.
func (d *disk) adopt(found *loaded) error {
	if found.journal != nil {
		d.line = found.journal.line()
	}
	if found.stale == "" {
		f, err := d.fs.OpenFile(d.journalPath(), os.O_RDWR, 0)
		if err == nil {
			d.journal = f
			d.length, d.base = found.journal.length, found.journal.length
			return nil
		}
		found.stale = err.Error()
	}
	d.log.Info("the state file is written anew", zap.String("file", d.path), zap.String("reason", found.stale))
	err := d.rewrite(found.snapshot)
	switch {
	case err == nil:
		return nil
	case found.document.info == nil:
		return fmt.Errorf("create the state file %s: %w", d.path, err)
	}
	d.broken = err
	return nil
}

// resolve returns the path of the file itself, so that a symbolic link to it stays one.
func resolve(fsys FS, path string) (string, error) {
	if path == "" {
		return "", errors.New("the state file has no path")
	}
	path = filepath.Clean(path)
	if _, real := fsys.(osFS); real {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		path = abs
		if target, err := filepath.EvalSymlinks(path); err == nil {
			path = target
		}
	}
	folder := filepath.Dir(path)
	info, err := fsys.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the folder %s of the state file does not exist: mount its disk, or create it (mkdir -p %s), and start again: %w", folder, folder, err)
	case err != nil:
		return "", fmt.Errorf("the folder of the state file: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("the state file cannot be in %s, which is not a folder", folder)
	}
	return path, nil
}

// Repairs says, for people, what was repaired or put into quarantine when the file was opened.
func (s *Store) Repairs() []string { return slices.Clone(s.repairs) }

// Path returns the path of the document.
func (s *Store) Path() string { return s.disk.path }

var _ state.Store = (*Store)(nil)
