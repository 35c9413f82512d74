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

// LibraryOptions are what a Library works with. The first group is required.
type LibraryOptions struct {
	Store state.Store
	// Repository keeps the archives: a folder of this node, or an object store that all nodes share.
	Repository Repository
	Stager     *Stager
	// SpoolDir is a folder for uploads under way, best on the file system of a local repository.
	SpoolDir string

	// Cache keeps the archives that this node has, beside an object store; nil if Repository is this node's own.
	Cache Repository
	// Peers are the other nodes; nil means that there are none.
	Peers Peers
	// Replicas is on how many nodes an archive should be before an upload counts as safe, without an object store;
	// 0 means 1. Strict refuses uploads that reach fewer.
	Replicas int
	Strict   bool
	// Signers are those whose signatures count; nil looks at none.
	Signers *Signers
	// MaxUpload bounds an archive's size in bytes.
	MaxUpload int64
	// ManifestFile is the manifest's name in bundles.
	ManifestFile string
	// AllowProxy has the hosts that manifests may pass requests on to.
	AllowProxy []string
	// KeepUnused is for how long an unpacked bundle stays that nobody needs any more; 0 means 2 minutes, negative
	// no time.
	KeepUnused time.Duration
	// AuditEvery is how often the archives are looked over; 0 means a minute.
	AuditEvery time.Duration
	// VerifyEvery is how often what is on the disk is read and verified; 0 means a day.
	VerifyEvery time.Duration
	Log         *zap.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// defaultKeepUnused is longer than a request for a file lasts, but for very slow ones.
const defaultKeepUnused = 2 * time.Minute

// Library keeps the bundles of the state, their archives in the repository, and their unpacked folders in step. Its
// methods are safe for concurrent use.
type Library struct {
	LibraryOptions
	busy  busy
	notes notes
	// unsound has the digests of archives that the object store has with other bytes.
	unsound sync.Map

	flight sync.Mutex
	// naming has the digest that each name is being given by uploads under way, and by how many.
	naming map[string]*naming
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
	if o.Peers == nil {
		o.Peers = alone{}
	}
	if o.AuditEvery == 0 {
		o.AuditEvery = time.Minute
	}
	if o.VerifyEvery == 0 {
		o.VerifyEvery = 24 * time.Hour
	}
	return &Library{
		LibraryOptions: o, naming: map[string]*naming{}, inFlight: map[string]int{}, unused: map[string]time.Time{},
	}
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

// SetMetadata completes a bundle with its signature, and checks the hash. A signature that none of the keys made is
// refused. None takes the one that there is away, unless the bundle could not be deployed without it. Errors: [state.ErrNotFound], [state.ErrInvalid] and
// those of [state.Store.Update].
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
		app := old.Clone()
		app.Signature = signature
		if l.Pending(app) && l.Signers.Check(old) == nil {
			app.Signature = old.Signature
		}
		if faults := append(l.signatureFaults(app), hashFaults(hash, old.SHA256)...); len(faults) > 0 {
			return &state.InvalidError{Subject: "the bundle " + name, Faults: faults}
		}
		changed = app
		return d.Put(changed)
	})
	if err == nil && changed != nil {
		for _, r := range l.repositories() {
			if err := r.SetMeta(ctx, name, metaOf(changed)); err != nil && !errors.Is(err, ErrNotFound) {
				l.Log.Warn("the repository did not take a bundle's metadata; the state has it", zap.String("bundle", name), zap.Error(err))
			}
		}
	}
	return rev, err
}

// repositories returns where this node stores archives: the shared one first.
func (l *Library) repositories() []Repository {
	if l.Cache != nil {
		return []Repository{l.Repository, l.Cache}
	}
	return []Repository{l.Repository}
}

// Remove takes a bundle out of the state, then its archive out of the repository; other nodes follow. Its folder goes
// when nothing serves it any more. Errors: [state.ErrNotFound], [state.ErrInUse] and those of [state.Store.Update].
func (l *Library) Remove(ctx context.Context, name string) (int64, error) {
	name, err := state.CheckAppName(name)
	if err != nil {
		return 0, &state.InvalidError{Subject: "the bundle", Faults: []state.Fault{{Field: "name", Message: err.Error()}}}
	}
	var removed *state.App
	rev, err := l.Store.Update(ctx, func(d *state.Draft) error {
		app, ok := d.App(name)
		if !ok {
			return missing(name)
		}
		removed = app
		return d.Delete(state.Key{Kind: state.KindApp, Name: name})
	})
	if err != nil {
		return rev, err
	}
	for _, r := range l.repositories() {
		if err := removeArchive(context.WithoutCancel(ctx), r, removed); err != nil {
			// It is marked, so that it does not come back, and the next upload of the name takes its place.
			l.Log.Warn("the archive of a removed bundle could not be removed", zap.String("bundle", name), zap.Error(err))
		}
	}
	return rev, nil
}

// removeArchive removes the archive of a bundle, unless there is another of that name by now.
func removeArchive(ctx context.Context, r Repository, app *state.App) error {
	e, err := r.Stat(ctx, app.Name)
	if err == nil {
		if noted, err := e.Meta.SHA256(); err == nil && noted != "" && noted != app.SHA256 {
			return nil
		}
		err = r.Remove(ctx, app.Name)
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func missing(name string) error {
	return state.Errorf(state.ErrNotFound, state.Key{Kind: state.KindApp, Name: name}, "", "there is no bundle %s", name)
}

// CheckDeploy returns what keeps a bundle from being served: [state.ErrInvalid] with the manifest's faults, or
// [state.ErrUnavailable] if its archive is not on this node and cannot be had from elsewhere now.
func (l *Library) CheckDeploy(ctx context.Context, app *state.App) error {
	staged, err := l.Ensure(ctx, app)
	_, away := errors.AsType[unobtained](err)
	switch {
	case errors.Is(err, ErrPending):
		return &state.InvalidError{Subject: "the deployment of " + app.Name, Faults: []state.Fault{{Field: "name",
			Message: "the bundle is pending: it has no signature, and codesign.required asks for one; " +
				"upload it again with stkcli app upload --signing-key, or complete it with POST /app/" + app.Name}}}
	case errors.Is(err, ErrSignature):
		return &state.InvalidError{Subject: "the deployment of " + app.Name, Faults: []state.Fault{{Field: "name",
			Message: "the bundle cannot be deployed: " + err.Error()}}}
	case away && !errors.Is(err, ErrHashMismatch):
		return state.Errorf(state.ErrUnavailable, app.Key(), "", "this node has no archive of the bundle %s, and cannot get it now: %v", app.Name, err)
	case err != nil:
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

// Ready returns the bundle if it is unpacked on this node, with the state's modification time, and its signature
// suffices.
func (l *Library) Ready(app *state.App) (*Staged, bool) {
	if l.Signers.Check(app) != nil {
		return nil, false
	}
	staged, ok := l.Stager.Staged(app.SHA256)
	return staged, ok && (staged.Modified.Equal(app.Uploaded) || staged.Modified.Equal(l.modified(app)))
}

// modified returns the time that the bundle's files have. A document may have several names for the same bytes with
// different times: of these the earliest counts, as the folder is one.
func (l *Library) modified(app *state.App) time.Time {
	earliest := app.Uploaded
	for other := range l.Store.Snapshot().AppsOf(app.SHA256) {
		if other.Uploaded.Before(earliest) {
			earliest = other.Uploaded
		}
	}
	return earliest
}

// Kept returns what is unpacked under a digest.
func (l *Library) Kept(sha256 string) (*Staged, bool) { return l.Stager.Staged(sha256) }

// Ensure returns the bundle, unpacked; its archive is fetched if need be, from another node or the object store, and
// stays on this one. Bytes that do not hash to what the state says are [ErrHashMismatch]. A bundle whose signature does
// not suffice is fetched and not unpacked: [ErrPending] and [ErrSignature].
func (l *Library) Ensure(ctx context.Context, app *state.App) (*Staged, error) {
	if staged, ok := l.Ready(app); ok {
		return staged, nil
	}
	unsigned := l.Signers.Check(app)
	if _, ok := l.Stager.Staged(app.SHA256); ok && unsigned == nil {
		return l.Stager.Retime(ctx, app.SHA256, l.modified(app))
	}
	if err := l.stored(ctx, app, false); err != nil {
		return nil, err
	}
	if unsigned != nil {
		return nil, unsigned
	}
	staged, err := l.unpack(ctx, app)
	if !errors.Is(err, ErrHashMismatch) {
		return staged, err
	}
	l.note(app.Name, "this node's archive is damaged", err)
	if err := l.stored(ctx, app, true); err != nil {
		return nil, fmt.Errorf("this node's archive of %s is damaged, and no other is to be had: %w", app.Name, errors.Join(ErrHashMismatch, err))
	}
	l.note(app.Name, "this node's archive was damaged, and was replaced", nil)
	return l.unpack(ctx, app)
}

// unpack stages a bundle from this node's archive.
func (l *Library) unpack(ctx context.Context, app *state.App) (*Staged, error) {
	path, release, err := l.archiveFile(ctx, app)
	if err != nil {
		return nil, fmt.Errorf("fetch the bundle %s: %w", app.Name, err)
	}
	defer release()
	return l.Stager.Stage(ctx, StageRequest{ArchivePath: path, Type: app.Type, SHA256: app.SHA256, Modified: l.modified(app)})
}

// keepUnpacked is for how long after its upload a bundle stays unpacked that no site serves or can go back to: it is
// going to be deployed, or not at all.
const keepUnpacked = 24 * time.Hour

// Wanted tells whether the bundle is to be unpacked: a site serves it or can go back to it, or it was uploaded lately.
func (l *Library) Wanted(s *state.Snapshot, app *state.App) bool {
	return named(s, app.Name) || l.Now().Sub(app.Uploaded) < keepUnpacked
}

// Collect removes the folders of bundles that are neither wanted, nor being uploaded, nor in use.
// A folder goes only once it was found unused for some time, as requests that began before may still read it.
func (l *Library) Collect(inUse map[string]bool) error {
	kept, err := l.Stager.List()
	if err != nil {
		return err
	}
	// The snapshot is taken while no upload can end, so what it lacks is not in flight either.
	l.flight.Lock()
	defer l.flight.Unlock()
	wanted := map[string]bool{}
	s := l.Store.Snapshot()
	for app := range s.Apps() {
		if l.Wanted(s, app) {
			wanted[app.SHA256] = true
		}
	}
	now := l.Now()
	for _, sha := range kept {
		if wanted[sha] || inUse[sha] || l.inFlight[sha] > 0 {
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
	m := Meta{Type: app.Type, Signature: app.Signature, Entered: true}
	if b, err := hex.DecodeString(app.SHA256); err == nil {
		m.Hash = base64.StdEncoding.EncodeToString(b)
	}
	return m
}
