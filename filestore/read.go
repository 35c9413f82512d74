package filestore

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"statiko/state"
)

// Reading is a state that was read from its files, which are kept from other processes, and are not changed, until
// Close.
type Reading struct {
	disk  disk
	lock  io.Closer
	found *loaded
	// marker is nil if the state was not moved.
	marker *Marker
}

// Read reads the state in the file as [Open] does, and writes nothing but the lock file: what Open would repair is
// repaired in the snapshot alone. That the state was moved is no error. Otherwise errors are as those of Open.
func Read(o Options) (*Reading, error) {
	o.setDefaults()
	path, lock, err := lockFile(o)
	if err != nil {
		return nil, err
	}
	r := &Reading{lock: lock, disk: disk{fs: o.FS, log: o.Log, path: path, folder: filepath.Dir(path)}}
	if r.found, err = newLoader(o, path).load(); err == nil {
		r.marker, err = readMarker(o.FS, path)
	}
	if err != nil {
		lock.Close()
		return nil, err
	}
	return r, nil
}

// Snapshot returns the state.
func (r *Reading) Snapshot() *state.Snapshot { return r.found.snapshot }

// Path returns the path of the document, with symbolic links resolved.
func (r *Reading) Path() string { return r.disk.path }

// Exists tells whether there is a document at all; without one the snapshot is empty.
func (r *Reading) Exists() bool { return r.found.document.info != nil }

// Repairs says, for people, what was repaired or put into quarantine in the snapshot.
func (r *Reading) Repairs() []string { return slices.Clone(r.found.repairs) }

// Unknown returns the names of the document's members that this version does not know, sorted.
func (r *Reading) Unknown() []string { return slices.Sorted(maps.Keys(r.found.extra.Extra)) }

// Moved returns where the state was moved to; nil if it was not.
func (r *Reading) Moved() *Marker { return r.marker }

// MarkMoved is [Store.MarkMoved].
func (r *Reading) MarkMoved(m Marker) error {
	if now := r.Snapshot().Revision(); now != m.Revision {
		return changedMeanwhile(now, m.Revision)
	}
	return r.disk.writeMarker(m)
}

// Close lets other processes use the files again.
func (r *Reading) Close() error { return r.lock.Close() }

// lockFile takes the files for this process.
func lockFile(o Options) (path string, lock io.Closer, err error) {
	if path, err = resolve(o.FS, o.Path); err != nil {
		return "", nil, err
	}
	if lock, err = o.FS.Lock(path + ".lock"); err != nil {
		var locked *LockedError
		if errors.As(err, &locked) {
			return "", nil, fmt.Errorf("the state file %s is in use: %w; stop it first, or use another file", path, err)
		}
		return "", nil, fmt.Errorf("lock the state file %s: %w", path, err)
	}
	return path, lock, nil
}

func newLoader(o Options, path string) *loader {
	l := &loader{fs: o.FS, log: o.Log, path: path, journal: path + ".journal", keyID: o.KeyID, knownKeys: map[string]bool{}}
	for _, id := range o.KnownKeyIDs {
		l.knownKeys[id] = true
	}
	return l
}

// refuseMoved is for [Open]: a file that is not in force is not to be served from.
func refuseMoved(o Options, path string, found *loaded) error {
	m, err := readMarker(o.FS, path)
	switch {
	case err != nil:
		return err
	case m == nil:
		return nil
	case o.Moved:
		o.Log.Info("the state file is opened although its state was moved", zap.String("file", path), zap.String("to", m.Target))
		return nil
	}
	return m.refuse(path, found.snapshot)
}

// MovedFrom returns where the state in a file was moved to, also while a node uses the file; nil if it was not.
func MovedFrom(path string) (*Marker, error) {
	path, err := resolve(osFS{}, path)
	if err != nil {
		return nil, err
	}
	return readMarker(osFS{}, path)
}
