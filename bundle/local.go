package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Local is a [Repository] in a folder, in the form that the earlier program has too: the archive of bundle "x"
// is the file "x", what is stored beside it the JSON object in ".metadata.x". Both are 0644.
//
// The metadata is there before the archive gets its name, so that an archive is never seen without.
type Local struct {
	dir string
	log *zap.Logger
	mu  sync.RWMutex // writers one at a time; a reader sees an archive with its own metadata
}

var _ Repository = (*Local)(nil)

// OpenLocal opens a folder, makes it if it is missing, and removes uploads that a crash left in it. Those that
// another process is writing on a shared folder are locked, and stay.
func OpenLocal(dir string, log *zap.Logger) (*Local, error) {
	if log == nil {
		log = zap.NewNop()
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("local repository: %w", err)
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, fmt.Errorf("local repository: %w", err)
	}
	l := &Local{dir: abs, log: log}
	if err := l.clean(); err != nil {
		return nil, fmt.Errorf("local repository: %w", err)
	}
	return l, nil
}

// Dir is the folder. Uploads spooled into it are taken over without a copy.
func (l *Local) Dir() string { return l.dir }

// Path returns where the archive of a bundle is or would be.
func (l *Local) Path(name string) (string, error) {
	stored, err := CheckName(name)
	if err != nil {
		return "", fmt.Errorf("bundle name: %w", err)
	}
	if stored != name {
		return "", fmt.Errorf("bundle name: %q must be lower case", name)
	}
	return filepath.Join(l.dir, name), nil
}

// metaGrace is the age from which metadata without an archive was left by a crash. Between the two, which other
// processes may be writing into a shared folder, are moments, but clocks of file servers differ.
const metaGrace = time.Hour

// cleanMeta removes metadata whose archive is not there: a crash came between the two.
func (l *Local) cleanMeta(e fs.DirEntry) {
	name, ok := strings.CutPrefix(e.Name(), metaPrefix)
	if !ok || !e.Type().IsRegular() {
		return
	}
	if _, err := os.Lstat(filepath.Join(l.dir, name)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < metaGrace {
		return
	}
	if err := os.Remove(filepath.Join(l.dir, e.Name())); err == nil {
		l.log.Info("removed the metadata of a bundle that is not there", zap.String("file", e.Name()))
	}
}

// clean removes leftovers. Whether somebody is still writing an upload is told by its lock, not by its age.
func (l *Local) clean() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		l.cleanMeta(e)
		if !strings.HasPrefix(e.Name(), uploadPrefix) || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(l.dir, e.Name())
		f, err := os.Open(path)
		if err != nil {
			continue // its owner removed it meanwhile, or it is not ours to read
		}
		if lockFile(f) == nil {
			if err := os.Remove(path); err == nil {
				l.log.Info("removed the rest of an interrupted upload", zap.String("file", e.Name()))
			}
		}
		_ = f.Close()
	}
	return nil
}

// Create is part of [Repository].
func (l *Local) Create(ctx context.Context, name string, upload *Spool, meta Meta) error {
	path, err := l.Path(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("store bundle %s: %w", name, err)
	}
	switch info, err := os.Lstat(path); {
	case err == nil && (info.Size() > 0 || !info.Mode().IsRegular()):
		return fmt.Errorf("store bundle %s: %w", name, ErrExists)
	case err == nil:
		if err := os.Remove(path); err != nil { // of no bytes: counts as missing
			return fmt.Errorf("store bundle %s: %w", name, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store bundle %s: %w", name, err)
	}
	if err := l.writeMeta(name, nil, meta); err != nil {
		return fmt.Errorf("store bundle %s: %w", name, err)
	}
	if err := l.take(ctx, upload, path); err != nil {
		_ = os.Remove(l.metaPath(name))
		if errors.Is(err, fs.ErrExist) {
			err = ErrExists
		}
		return fmt.Errorf("store bundle %s: %w", name, err)
	}
	return nil
}

// take gives an upload its name: by a second link to the same file, which fails if the name is taken, or, where
// links do not work, by a copy.
func (l *Local) take(ctx context.Context, upload *Spool, path string) error {
	err := os.Chmod(upload.Path, 0o644)
	if err == nil {
		err = os.Link(upload.Path, path)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = l.copyTo(ctx, upload, path)
	}
	if err != nil {
		return err
	}
	return syncPath(l.dir)
}

func (l *Local) copyTo(ctx context.Context, upload *Spool, path string) error {
	src, err := upload.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	second, err := NewSpool(ctx, l.dir, src, upload.Size)
	if err != nil {
		return err
	}
	defer second.Discard()
	if second.SHA256 != upload.SHA256 {
		return ErrHashMismatch
	}
	if err := os.Chmod(second.Path, 0o644); err != nil {
		return err
	}
	return os.Rename(second.Path, path)
}

// Stat is part of [Repository].
func (l *Local) Stat(ctx context.Context, name string) (Entry, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	e, _, err := l.describe(ctx, name)
	return e, err
}

// Open is part of [Repository].
func (l *Local) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, Meta, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	e, path, err := l.describe(ctx, name)
	if err != nil {
		return nil, Meta{}, err
	}
	f, err := os.Open(path)
	if err == nil && offset > 0 {
		if _, err = f.Seek(offset, io.SeekStart); err != nil {
			_ = f.Close()
		}
	}
	if err != nil {
		return nil, Meta{}, fmt.Errorf("open bundle %s: %w", name, err)
	}
	return f, e.Meta, nil
}

// describe returns what is stored, and where. l.mu is held.
func (l *Local) describe(ctx context.Context, name string) (e Entry, path string, err error) {
	if path, err = l.Path(name); err != nil {
		return e, path, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open bundle %s: %w", name, err)
		}
	}()
	if err = ctx.Err(); err != nil {
		return e, path, err
	}
	info, err := stat(path)
	if err != nil {
		return e, path, err
	}
	meta, _, err := l.readMeta(name)
	return Entry{Name: name, Meta: meta, Size: info.Size(), Modified: info.ModTime().UTC()}, path, err
}

// stat returns ErrNotFound unless path is a regular file with content. A symbolic link that somebody put into the
// folder may lead to one.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (info.Size() == 0 || !info.Mode().IsRegular()) {
		return nil, ErrNotFound
	}
	return info, err
}

// SetMeta is part of [Repository].
func (l *Local) SetMeta(ctx context.Context, name string, meta Meta) error {
	path, err := l.Path(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("describe bundle %s: %w", name, err)
	}
	if _, err := stat(path); err != nil {
		return fmt.Errorf("describe bundle %s: %w", name, err)
	}
	_, others, err := l.readMeta(name)
	if err != nil {
		l.log.Warn("unreadable metadata is replaced", zap.String("bundle", name), zap.Error(err))
	}
	if err := l.writeMeta(name, others, meta); err != nil {
		return fmt.Errorf("describe bundle %s: %w", name, err)
	}
	return nil
}

// Remove is part of [Repository].
func (l *Local) Remove(ctx context.Context, name string) error {
	path, err := l.Path(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remove bundle %s: %w", name, err)
	}
	if _, err := stat(path); err != nil {
		return fmt.Errorf("remove bundle %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove bundle %s: %w", name, err)
	}
	if err := os.Remove(l.metaPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("metadata of a removed bundle stays", zap.String("bundle", name), zap.Error(err))
	}
	if err := syncPath(l.dir); err != nil {
		return fmt.Errorf("remove bundle %s: %w", name, err)
	}
	return nil
}

// SetAside gives an archive that is not to be used a name that no bundle has, and returns its path. What is stored
// beside it goes with it.
func (l *Local) SetAside(ctx context.Context, name string) (where string, err error) {
	path, err := l.Path(name)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("put bundle %s aside: %w", name, err)
	}
	where = filepath.Join(l.dir, fmt.Sprintf("%s%s.%d", asidePrefix, name, time.Now().UnixNano()))
	if err := os.Rename(path, where); err != nil {
		return "", fmt.Errorf("put bundle %s aside: %w", name, err)
	}
	if err := os.Rename(l.metaPath(name), where+".metadata"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("metadata of a bundle that was put aside stays", zap.String("bundle", name), zap.Error(err))
	}
	return where, syncPath(l.dir)
}

// asidePrefix begins the names of archives that were put aside.
const asidePrefix = ".aside."

// List is part of [Repository]. Files with names that no bundle can have are left out.
func (l *Local) List(ctx context.Context) ([]Entry, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	files, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, fmt.Errorf("list bundles: %w", err)
	}
	var list []Entry
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list bundles: %w", err)
		}
		name := file.Name()
		path, err := l.Path(name)
		if strings.HasPrefix(name, ".") || err != nil {
			continue
		}
		info, err := stat(path)
		if err != nil {
			continue // removed meanwhile, or no bundle
		}
		meta, _, err := l.readMeta(name)
		if err != nil {
			l.log.Warn("a bundle's metadata cannot be read", zap.String("bundle", name), zap.Error(err))
		}
		list = append(list, Entry{Name: name, Meta: meta, Size: info.Size(), Modified: info.ModTime().UTC()})
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
