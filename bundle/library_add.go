package bundle

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

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
