package bundle

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"statiko/state"
)

// Added tells what became of an upload.
type Added struct {
	// Revision is that of the state.
	Revision int64
	Replicas
}

// ErrReplicas is wrapped by the error for an upload that reached fewer nodes than it has to.
var ErrReplicas = errors.New("the bundle could not be stored on enough nodes")

// Add takes a spooled archive up: it is unpacked and checked, then stored here and on as many other nodes as it should
// be, then entered into the state, so that what is acknowledged is safe and can be served at once. A bundle whose
// signature is still to come is stored and not unpacked. hash is the base64 of the archive's SHA-256 that the caller
// expects, or "". The same content under the same name is no error. Errors: [state.ErrInvalid] with the field that is
// at fault, [state.ErrExists] for another content under the name, [ErrReplicas], and those of [state.Store.Update]. The
// spool stays the caller's to discard.
func (l *Library) Add(ctx context.Context, spool *Spool, name, typ, signature, hash string) (Added, error) {
	app := &state.App{Name: name, Type: typ, Size: spool.Size, SHA256: spool.SHA256, Signature: signature}
	if err := l.checkUpload(app, hash, spool); err != nil {
		return Added{}, err
	}
	if old, ok := l.Store.Snapshot().App(app.Name); ok {
		return l.again(ctx, old, app, spool)
	}
	release := l.hold(app)
	defer release()
	named, err := l.name(app)
	if err != nil {
		return Added{}, err
	}
	defer named()
	if l.Signers.Check(app) == nil {
		if _, err := l.Stager.Stage(ctx, StageRequest{
			ArchivePath: spool.Path, Type: app.Type, SHA256: app.SHA256, Modified: app.Uploaded,
		}); err != nil {
			return Added{}, uploadError(app.Name, err)
		}
	}
	if err := l.storeNew(ctx, app, spool); err != nil {
		return Added{}, err
	}
	replicas := l.replicate(ctx, app)
	err = l.enough(replicas)
	var rev int64
	if err == nil {
		rev, err = l.Store.Update(ctx, func(d *state.Draft) error {
			if old, ok := d.App(app.Name); ok {
				return differs(old, app)
			}
			return d.Put(app)
		})
	}
	switch {
	case err == nil && l.Cache == nil:
		if err := l.entered(context.WithoutCancel(ctx), app, spool); err != nil {
			l.Log.Warn("that a bundle is in the state could not be noted beside its archive; the next look does it", zap.String("bundle", app.Name), zap.Error(err))
		}
	case err != nil && !errors.Is(err, state.ErrUnknown):
		l.undo(ctx, app)
	}
	return Added{rev, replicas}, err
}

// entered notes beside the archive on this node that the state knows the bundle. If the archive went away meanwhile, with the
// folder, it is stored once more: no other node may have it.
func (l *Library) entered(ctx context.Context, app *state.App, spool *Spool) error {
	err := l.own().SetMeta(ctx, app.Name, metaOf(app))
	if errors.Is(err, ErrNotFound) {
		err = l.keep(ctx, app, spool, metaOf(app))
	}
	return err
}

// enough refuses what reached too few nodes, if that is asked for.
func (l *Library) enough(r Replicas) error {
	if !l.Strict || r.Have >= r.Want {
		return nil
	}
	return fmt.Errorf("%w: %d of %d; nothing was changed", ErrReplicas, r.Have, r.Want)
}

// undo removes the archive of an upload that nobody was told of. What stays in spite of this is replaced by the next
// upload of the name.
func (l *Library) undo(ctx context.Context, app *state.App) {
	ctx = context.WithoutCancel(ctx)
	if old, ok := l.Store.Snapshot().App(app.Name); ok && old.SHA256 == app.SHA256 {
		return // the same bytes came another way
	}
	for _, r := range l.repositories() {
		if err := removeArchive(ctx, r, app); err != nil {
			l.Log.Warn("could not remove an archive that is not in the state", zap.String("bundle", app.Name), zap.Error(err))
		}
	}
}

// foreignAge is the age from which an archive in an object store that is in no state was left by a crash. A younger one
// may be an upload under way on another node.
const foreignAge = time.Hour

// storeNew stores the archive of an upload wherever this node stores archives.
func (l *Library) storeNew(ctx context.Context, app *state.App, spool *Spool) error {
	meta := metaOf(app)
	if l.Cache != nil {
		if err := l.storeShared(ctx, app, spool); err != nil {
			return err
		}
	} else {
		// A crash before it is entered leaves an archive that is taken up at the next start.
		meta.Entered = false
	}
	if err := l.keep(ctx, app, spool, meta); err != nil {
		return fmt.Errorf("store the bundle %s: %w", app.Name, err)
	}
	return nil
}

func (l *Library) storeShared(ctx context.Context, app *state.App, spool *Spool) error {
	err := l.Repository.Create(ctx, app.Name, spool, metaOf(app))
	if !errors.Is(err, ErrExists) {
		if err != nil {
			err = fmt.Errorf("store the bundle %s: %w", app.Name, err)
		}
		return err
	}
	// What is there is not in the state: an upload was cut off before it was acknowledged, or goes on elsewhere.
	e, err := l.Repository.Stat(ctx, app.Name)
	if err == nil {
		noted, _ := e.Meta.SHA256()
		switch {
		case noted == app.SHA256 && e.Size == app.Size:
			return nil
		case l.Now().Sub(e.Modified) < foreignAge:
			return state.Errorf(state.ErrConflict, app.Key(), "name", "an archive %s with another content came into the repository %s, "+
				"perhaps by an upload that is under way on another node; try again in an hour, or choose another name",
				app.Name, humanize.RelTime(e.Modified, l.Now(), "ago", "from now"))
		}
		err = l.Repository.Remove(ctx, app.Name)
	}
	if err == nil || errors.Is(err, ErrNotFound) {
		err = l.Repository.Create(ctx, app.Name, spool, metaOf(app))
	}
	if err != nil {
		return fmt.Errorf("store the bundle %s: %w", app.Name, err)
	}
	return nil
}

// naming is a name that uploads under way are giving to a digest.
type naming struct {
	sha256 string
	count  int
}

// name reserves the name for the bundle on this node until release is called, so that two uploads of one name do not
// mix. Another content is [state.ErrConflict].
func (l *Library) name(app *state.App) (release func(), err error) {
	l.flight.Lock()
	defer l.flight.Unlock()
	n := l.naming[app.Name]
	if n == nil {
		n = &naming{sha256: app.SHA256}
		l.naming[app.Name] = n
	}
	if n.sha256 != app.SHA256 {
		return nil, state.Errorf(state.ErrConflict, app.Key(), "name",
			"another bundle is being uploaded as %s; try again when that is done, or choose another name", app.Name)
	}
	n.count++
	return func() {
		l.flight.Lock()
		defer l.flight.Unlock()
		if n.count--; n.count == 0 {
			delete(l.naming, app.Name)
		}
	}, nil
}

// checkUpload brings the name into its stored form and returns all faults of what was said about an upload.
func (l *Library) checkUpload(app *state.App, hash string, spool *Spool) error {
	var faults []state.Fault
	if n, err := state.CheckAppName(app.Name); err != nil {
		faults = append(faults, state.Fault{Field: "name", Message: err.Error()})
	} else {
		app.Name = n
	}
	if err := CheckType(app.Type); err != nil {
		faults = append(faults, state.Fault{Field: "type", Message: err.Error()})
	}
	faults = append(faults, l.signatureFaults(app)...)
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

// signatureFaults says what is wrong with the signature that a bundle has. That it has none is no fault.
func (l *Library) signatureFaults(app *state.App) []state.Fault {
	if len(app.Signature) > MaxSignature {
		return []state.Fault{{Field: "signature", Message: fmt.Sprintf("is longer than %d characters", MaxSignature)}}
	}
	if _, err := (Meta{Signature: app.Signature}).SignatureBytes(); err != nil {
		return []state.Fault{{Field: "signature", Message: err.Error()}}
	}
	if err := l.Signers.Check(app); errors.Is(err, ErrSignature) {
		return []state.Fault{{Field: "signature", Message: "was made by none of the keys in codesign.publicKey, or for another archive"}}
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

// again answers an upload of a name that exists. What this node has lost of it is stored again.
func (l *Library) again(ctx context.Context, old, app *state.App, spool *Spool) (Added, error) {
	rev, err := l.Store.Update(ctx, func(d *state.Draft) error {
		now, ok := d.App(old.Name)
		if !ok {
			return state.Errorf(state.ErrConflict, old.Key(), "", "the bundle %s was removed meanwhile; upload again", old.Name)
		}
		return differs(now, app)
	})
	if err != nil {
		return Added{}, err
	}
	if _, err := l.own().Stat(ctx, old.Name); errors.Is(err, ErrNotFound) {
		if err := l.keep(ctx, old, spool, metaOf(old)); err != nil {
			return Added{}, fmt.Errorf("store the bundle %s: %w", old.Name, err)
		}
	}
	return Added{rev, l.replicate(ctx, old)}, nil
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
	snapshot := l.Store.Snapshot()
	for other := range snapshot.AppsOf(app.SHA256) {
		app.Uploaded = other.Uploaded
	}
	if app.Uploaded.IsZero() {
		newest := l.newest
		if t := snapshot.NewestUpload(); t.After(newest) {
			newest = t
		}
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
