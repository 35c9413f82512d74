package bundle

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"statiko/state"
)

// LibraryOptions are what a Library works with.
type LibraryOptions struct {
	Store      state.Store
	Repository Repository
	Stager     *Stager
	// SpoolDir is a folder for uploads under way, on the file system of a local repository.
	SpoolDir string
	// MaxUpload bounds an archive's size in bytes.
	MaxUpload int64
	// ManifestFile is the manifest's name in bundles.
	ManifestFile string
	// AllowProxy has the hosts that manifests may pass requests on to.
	AllowProxy []string
	// KeepUnused is for how long an unpacked bundle stays that nobody needs any more; 0 means 2 minutes, negative
	// no time.
	KeepUnused time.Duration
	Log        *zap.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// defaultKeepUnused is longer than a request for a file lasts, but for very slow ones.
const defaultKeepUnused = 2 * time.Minute

// Library keeps the bundles of the state, their archives in the repository, and their unpacked folders in step. Its
// methods are safe for concurrent use.
type Library struct {
	LibraryOptions

	// mu is held while an archive gets its name, so that two uploads of one name do not mix.
	mu sync.Mutex

	flight sync.Mutex
	// inFlight counts the uploads whose folder is unpacked and not yet in the state, by digest.
	inFlight map[string]int
	// unused is since when a folder is needed by nobody, by digest.
	unused map[string]time.Time
	// newest is the modification time last given to a bundle.
	newest time.Time
}

// NewLibrary returns a Library.
func NewLibrary(o LibraryOptions) *Library {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.KeepUnused == 0 {
		o.KeepUnused = defaultKeepUnused
	}
	return &Library{LibraryOptions: o, inFlight: map[string]int{}, unused: map[string]time.Time{}}
}

// Spool writes an upload to disk and takes its size and digest. The error is [state.ErrTooLarge] beyond MaxUpload.
func (l *Library) Spool(ctx context.Context, r io.Reader) (*Spool, error) {
	spool, err := NewSpool(ctx, l.SpoolDir, r, l.MaxUpload)
	if errors.Is(err, ErrTooLarge) {
		return nil, state.Errorf(state.ErrTooLarge, state.Key{}, "file",
			"the upload is larger than %s; the configuration key bundle.maxUploadSize allows more", humanize.IBytes(uint64(l.MaxUpload)))
	}
	return spool, err
}

// SetMetadata completes a bundle with its signature, and checks the hash. Errors: [state.ErrNotFound],
// [state.ErrInvalid] and those of [state.Store.Update].
func (l *Library) SetMetadata(ctx context.Context, name, signature, hash string) (int64, error) {
	name, err := state.CheckAppName(name)
	if err != nil {
		return 0, &state.InvalidError{Subject: "the bundle", Faults: []state.Fault{{Field: "name", Message: err.Error()}}}
	}
	var changed *state.App
	rev, err := l.Store.Update(ctx, func(d *state.Draft) error {
		changed = nil
		old, ok := d.App(name)
		if !ok {
			return missing(name)
		}
		if faults := append(signatureFaults(signature), hashFaults(hash, old.SHA256)...); len(faults) > 0 {
			return &state.InvalidError{Subject: "the bundle " + name, Faults: faults}
		}
		changed = old.Clone()
		changed.Signature = signature
		return d.Put(changed)
	})
	if err == nil && changed != nil {
		if err := l.Repository.SetMeta(ctx, name, metaOf(changed)); err != nil {
			l.Log.Warn("the repository did not take a bundle's metadata; the state has it", zap.String("bundle", name), zap.Error(err))
		}
	}
	return rev, err
}

// Remove takes a bundle out of the state, then its archive out of the repository. Its folder goes when nothing
// serves it any more. Errors: [state.ErrNotFound], [state.ErrInUse] and those of [state.Store.Update].
func (l *Library) Remove(ctx context.Context, name string) (int64, error) {
	name, err := state.CheckAppName(name)
	if err != nil {
		return 0, &state.InvalidError{Subject: "the bundle", Faults: []state.Fault{{Field: "name", Message: err.Error()}}}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rev, err := l.Store.Update(ctx, func(d *state.Draft) error {
		if _, ok := d.App(name); !ok {
			return missing(name)
		}
		return d.Delete(state.Key{Kind: state.KindApp, Name: name})
	})
	if err != nil {
		return rev, err
	}
	if err := l.Repository.Remove(context.WithoutCancel(ctx), name); err != nil {
		// An archive that is not in the state would be taken up again at the next start.
		l.Log.Error("the archive of a removed bundle could not be removed; delete it by hand",
			zap.String("bundle", name), zap.Error(err))
	}
	return rev, nil
}

func missing(name string) error {
	return state.Errorf(state.ErrNotFound, state.Key{Kind: state.KindApp, Name: name}, "", "there is no bundle %s", name)
}

// CheckDeploy returns what keeps a bundle from being served: an [state.ErrInvalid] with the manifest's faults.
func (l *Library) CheckDeploy(ctx context.Context, app *state.App) error {
	staged, err := l.Ensure(ctx, app)
	if err != nil {
		return uploadError(app.Name, err)
	}
	manifest, err := staged.Manifest(l.ManifestFile)
	if err == nil {
		err = manifest.CheckProxies(l.AllowProxy)
	}
	if err == nil {
		return nil
	}
	invalid := &state.InvalidError{Subject: "the manifest of the bundle " + app.Name}
	if m, ok := errors.AsType[*ManifestError](err); ok {
		for _, f := range m.Faults {
			invalid.Faults = append(invalid.Faults, state.Fault{Field: f.Field, Line: f.Line, Column: f.Column, Message: f.Message})
		}
	} else {
		invalid.Faults = []state.Fault{{Message: err.Error()}}
	}
	return invalid
}

// Ready returns the bundle if it is unpacked on this node, with the state's modification time.
func (l *Library) Ready(app *state.App) (*Staged, bool) {
	staged, ok := l.Stager.Staged(app.SHA256)
	return staged, ok && (staged.Modified.Equal(app.Uploaded) || staged.Modified.Equal(l.modified(app)))
}

// modified returns the time that the bundle's files have. A document may have several names for the same bytes with
// different times: of these the earliest counts, as the folder is one.
func (l *Library) modified(app *state.App) time.Time {
	earliest := app.Uploaded
	for other := range l.Store.Snapshot().Apps() {
		if other.SHA256 == app.SHA256 && other.Uploaded.Before(earliest) {
			earliest = other.Uploaded
		}
	}
	return earliest
}

// Kept returns what is unpacked under a digest.
func (l *Library) Kept(sha256 string) (*Staged, bool) { return l.Stager.Staged(sha256) }

// Ensure returns the bundle, unpacked; it is fetched from the repository if need be. Bytes that do not hash to what
// the state says are [ErrHashMismatch].
func (l *Library) Ensure(ctx context.Context, app *state.App) (*Staged, error) {
	if staged, ok := l.Ready(app); ok {
		return staged, nil
	}
	if _, ok := l.Stager.Staged(app.SHA256); ok {
		return l.Stager.Retime(ctx, app.SHA256, l.modified(app))
	}
	archive, _, err := l.Repository.Open(ctx, app.Name, 0)
	if err != nil {
		return nil, fmt.Errorf("fetch the bundle %s: %w", app.Name, err)
	}
	defer archive.Close()
	spool, err := NewSpool(ctx, l.SpoolDir, archive, max(l.MaxUpload, app.Size))
	if err != nil {
		return nil, fmt.Errorf("fetch the bundle %s: %w", app.Name, err)
	}
	defer spool.Discard()
	return l.Stager.Stage(ctx, StageRequest{
		ArchivePath: spool.Path, Type: app.Type, SHA256: app.SHA256, Modified: l.modified(app),
	})
}

// Collect removes the folders of bundles that are neither in the state, nor being uploaded, nor in use.
// A folder goes only once it was found unused for some time, as requests that began before may still read it.
func (l *Library) Collect(inUse map[string]bool) error {
	kept, err := l.Stager.List()
	if err != nil {
		return err
	}
	// The snapshot is taken while no upload can end, so what it lacks is not in flight either.
	l.flight.Lock()
	defer l.flight.Unlock()
	inState := map[string]bool{}
	for app := range l.Store.Snapshot().Apps() {
		inState[app.SHA256] = true
	}
	now := l.Now()
	for _, sha := range kept {
		if inState[sha] || inUse[sha] || l.inFlight[sha] > 0 {
			delete(l.unused, sha)
			continue
		}
		since, ok := l.unused[sha]
		if !ok {
			since = now
			l.unused[sha] = now
		}
		if now.Sub(since) < l.KeepUnused {
			continue
		}
		delete(l.unused, sha)
		if err := l.Stager.Remove(sha); err != nil {
			return err
		}
		l.Log.Info("removed an unpacked bundle that nothing uses", zap.String("sha256", sha))
	}
	return nil
}

func metaOf(app *state.App) Meta {
	m := Meta{Type: app.Type, Signature: app.Signature}
	if b, err := hex.DecodeString(app.SHA256); err == nil {
		m.Hash = base64.StdEncoding.EncodeToString(b)
	}
	return m
}
