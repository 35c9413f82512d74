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
	Log        *zap.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Library keeps the bundles of the state, their archives in the repository, and their unpacked folders in step. Its
// methods are safe for concurrent use.
type Library struct {
	LibraryOptions

	// mu is held while an archive gets its name, so that two uploads of one name do not mix.
	mu sync.Mutex

	flight sync.Mutex
	// inFlight counts the uploads whose folder is unpacked and not yet in the state, by digest.
	inFlight map[string]int
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
	return &Library{LibraryOptions: o, inFlight: map[string]int{}}
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

// Add takes a spooled archive up: it is unpacked and checked, then stored, then entered into the state, so that what
// is acknowledged can be served at once. hash is the base64 of the archive's SHA-256 that the caller expects, or "".
// The same content under the same name is no error. Errors: [state.ErrInvalid] with the field that is at fault,
// [state.ErrExists] for another content under the name, and those of [state.Store.Update]. The spool stays the
// caller's to discard.
func (l *Library) Add(ctx context.Context, spool *Spool, name, typ, signature, hash string) (int64, error) {
	app := &state.App{Name: name, Type: typ, Size: spool.Size, SHA256: spool.SHA256, Signature: signature}
	if err := checkUpload(app, hash, spool); err != nil {
		return 0, err
	}
	if old, ok := l.Store.Snapshot().App(app.Name); ok {
		return l.again(ctx, old, app)
	}
	release := l.hold(app)
	defer release()
	if _, err := l.Stager.Stage(ctx, StageRequest{
		ArchivePath: spool.Path, Type: app.Type, SHA256: app.SHA256, Modified: app.Uploaded,
	}); err != nil {
		return 0, uploadError(app.Name, err)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.Store.Snapshot().App(app.Name); ok {
		return l.again(ctx, old, app)
	}
	err := l.Repository.Create(ctx, app.Name, spool, metaOf(app))
	if errors.Is(err, ErrExists) {
		// What is there is not in the state: an upload was cut off before it was acknowledged.
		if err = l.Repository.Remove(ctx, app.Name); err == nil {
			err = l.Repository.Create(ctx, app.Name, spool, metaOf(app))
		}
	}
	if err != nil {
		return 0, fmt.Errorf("store the bundle %s: %w", app.Name, err)
	}
	rev, err := l.Store.Update(ctx, func(d *state.Draft) error {
		if old, ok := d.App(app.Name); ok {
			return differs(old, app)
		}
		return d.Put(app)
	})
	if err != nil && !errors.Is(err, state.ErrUnknown) && !errors.Is(err, state.ErrExists) {
		// Nobody was told of it; what stays in spite of this is replaced by the next upload of the name.
		if undo := l.Repository.Remove(context.WithoutCancel(ctx), app.Name); undo != nil {
			l.Log.Warn("could not remove an archive that is not in the state", zap.String("bundle", app.Name), zap.Error(undo))
		}
	}
	return rev, err
}

// checkUpload brings the name into its stored form and returns all faults of what was said about an upload.
func checkUpload(app *state.App, hash string, spool *Spool) error {
	var faults []state.Fault
	if n, err := state.CheckAppName(app.Name); err != nil {
		faults = append(faults, state.Fault{Field: "name", Message: err.Error()})
	} else {
		app.Name = n
	}
	if err := CheckType(app.Type); err != nil {
		faults = append(faults, state.Fault{Field: "type", Message: err.Error()})
	}
	faults = append(faults, signatureFaults(app.Signature)...)
	faults = append(faults, hashFaults(hash, spool.SHA256)...)
	if spool.Size == 0 {
		faults = append(faults, state.Fault{Field: "file", Message: "is empty"})
	}
	if len(faults) > 0 {
		return &state.InvalidError{Subject: "the upload", Faults: faults}
	}
	return nil
}

// MaxSignature bounds the text of a signature, in bytes.
const MaxSignature = 1024

func signatureFaults(signature string) []state.Fault {
	if len(signature) > MaxSignature {
		return []state.Fault{{Field: "signature", Message: fmt.Sprintf("is longer than %d characters", MaxSignature)}}
	}
	if _, err := (Meta{Signature: signature}).SignatureBytes(); err != nil {
		return []state.Fault{{Field: "signature", Message: err.Error()}}
	}
	return nil
}

// hashFaults compares the base64 of a SHA-256 with the digest in hexadecimal. A hash of another length is a fault.
func hashFaults(hash, sha256 string) []state.Fault {
	if hash == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(hash)
	if err != nil || len(b) != 32 {
		return []state.Fault{{Field: "hash", Message: "is not the base64 of a SHA-256 (32 bytes)"}}
	}
	if hex.EncodeToString(b) != sha256 {
		return []state.Fault{{Field: "hash", Message: "is not that of the bytes received, whose SHA-256 is " + sha256 + ": upload again"}}
	}
	return nil
}

// uploadError words what is wrong with an archive as a fault of the request, unless it is the node's own trouble.
func uploadError(name string, err error) error {
	_, ok := errors.AsType[*ArchiveError](err)
	if ok || errors.Is(err, ErrTooLarge) {
		return &state.InvalidError{Subject: "the bundle " + name, Faults: []state.Fault{{Field: "file", Message: err.Error()}}}
	}
	return fmt.Errorf("unpack the bundle %s: %w", name, err)
}

// again answers an upload of a name that exists.
func (l *Library) again(ctx context.Context, old, app *state.App) (int64, error) {
	return l.Store.Update(ctx, func(d *state.Draft) error {
		now, ok := d.App(old.Name)
		if !ok {
			return state.Errorf(state.ErrConflict, old.Key(), "", "the bundle %s was removed meanwhile; upload again", old.Name)
		}
		return differs(now, app)
	})
}

// differs returns nil if both are the same content, and otherwise that the name is taken.
func differs(old, app *state.App) error {
	if old.SHA256 == app.SHA256 {
		return nil
	}
	return state.Errorf(state.ErrExists, old.Key(), "name",
		"a bundle %s with another content exists; a bundle never changes, so choose another name or remove it first", old.Name)
}

// hold gives a bundle its modification time, and keeps its folder from being collected until release is called.
// The time is unique (whole seconds), so that the ETags of two bundles differ, except that the same bytes under
// another name keep theirs.
func (l *Library) hold(app *state.App) (release func()) {
	l.flight.Lock()
	defer l.flight.Unlock()
	l.inFlight[app.SHA256]++
	newest := l.newest
	for other := range l.Store.Snapshot().Apps() {
		if other.SHA256 == app.SHA256 {
			app.Uploaded = other.Uploaded
		}
		if other.Uploaded.After(newest) {
			newest = other.Uploaded
		}
	}
	if app.Uploaded.IsZero() {
		app.Uploaded = l.Now().UTC().Truncate(time.Second)
		if !app.Uploaded.After(newest) {
			app.Uploaded = newest.Add(time.Second)
		}
		l.newest = app.Uploaded
	}
	return func() {
		l.flight.Lock()
		defer l.flight.Unlock()
		if l.inFlight[app.SHA256]--; l.inFlight[app.SHA256] == 0 {
			delete(l.inFlight, app.SHA256)
		}
	}
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
	return staged, ok && staged.Modified.Equal(app.Uploaded)
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
		return l.Stager.Retime(ctx, app.SHA256, app.Uploaded)
	}
	archive, _, err := l.Repository.Open(ctx, app.Name)
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
		ArchivePath: spool.Path, Type: app.Type, SHA256: app.SHA256, Modified: app.Uploaded,
	})
}

// Collect removes the folders of bundles that are neither in the state, nor being uploaded, nor in use.
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
	for _, sha := range kept {
		if inState[sha] || inUse[sha] || l.inFlight[sha] > 0 {
			continue
		}
		if err := l.Stager.Remove(sha); err != nil {
			return err
		}
		l.Log.Info("removed an unpacked bundle that nothing uses", zap.String("sha256", sha))
	}
	return nil
}

// TakeUp enters into the state what is in the repository and not in the state, such as the bundles of the earlier
// program, and returns how many were. One that cannot be read is reported and passed over.
func (l *Library) TakeUp(ctx context.Context) (int, error) {
	entries, err := l.Repository.List(ctx)
	if err != nil {
		return 0, fmt.Errorf("list the repository: %w", err)
	}
	taken := 0
	for _, e := range entries {
		if _, known := l.Store.Snapshot().App(e.Name); known {
			continue
		}
		if err := l.takeUp(ctx, e); err != nil {
			if ctx.Err() != nil {
				return taken, ctx.Err()
			}
			l.Log.Warn("a bundle in the repository is not taken up", zap.String("bundle", e.Name), zap.Error(err))
			continue
		}
		taken++
	}
	return taken, nil
}

func (l *Library) takeUp(ctx context.Context, e Entry) error {
	if name, err := state.CheckAppName(e.Name); err != nil || name != e.Name {
		return fmt.Errorf("%q is not a bundle's name", e.Name)
	}
	archive, meta, err := l.Repository.Open(ctx, e.Name)
	if err != nil {
		return err
	}
	defer archive.Close()
	spool, err := NewSpool(ctx, l.SpoolDir, archive, l.MaxUpload)
	if err != nil {
		return err
	}
	defer spool.Discard()
	app := &state.App{Name: e.Name, Type: meta.Type, Size: spool.Size, SHA256: spool.SHA256, Signature: meta.Signature}
	if err := checkUpload(app, meta.Hash, spool); err != nil {
		return err
	}
	release := l.hold(app)
	defer release()
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.Store.Update(ctx, func(d *state.Draft) error {
		if _, ok := d.App(app.Name); ok {
			return nil
		}
		return d.Put(app)
	})
	return err
}

func metaOf(app *state.App) Meta {
	m := Meta{Type: app.Type, Signature: app.Signature}
	if b, err := hex.DecodeString(app.SHA256); err == nil {
		m.Hash = base64.StdEncoding.EncodeToString(b)
	}
	return m
}
