package migrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"statiko/filestore"
	"statiko/state"
)

// target is what is copied to.
type target interface {
	snapshot() *state.Snapshot
	id() string
	// marker says where the state that is there was moved to; nil if it was not.
	marker() *filestore.Marker
	// keep saves what is there, and says where; "" if it cannot.
	keep() (string, error)
	restore(ctx context.Context, doc *state.Document, ifRevision int64) (int64, error)
	// release puts the target in force: its marker goes.
	release() error
	close() error
}

// openTarget opens the place to copy to. For a dry run it writes nothing.
func openTarget(ctx context.Context, p Place, o *Options) (target, error) {
	if p.File == "" {
		e, err := openEtcd(ctx, p, !o.DryRun, o.Log)
		switch {
		case err != nil:
			return nil, err
		case e == nil:
			return nothing{}, nil
		}
		return &etcdTarget{e}, nil
	}
	options := filestore.Options{Path: p.File, KeyID: p.Keyring.ID(), KnownKeyIDs: p.Keyring.IDs(), Log: o.Log, Moved: true}
	t := &fileTarget{}
	var err error
	if o.DryRun {
		t.reading, err = filestore.Read(options)
	} else {
		t.store, err = filestore.Open(options)
	}
	if _, ok := errors.AsType[*filestore.LockedError](err); ok {
		return nil, &Refusal{Message: "the target is in use", Hint: "stop the node that uses it, and run this again", Cause: err}
	}
	if err != nil {
		return nil, err
	}
	if t.store != nil {
		if t.moved, err = t.store.Moved(); err != nil {
			return nil, errors.Join(err, t.close())
		}
	} else {
		t.moved = t.reading.Moved()
	}
	return t, nil
}

// fileTarget is a file: opened, or only read by a dry run.
type fileTarget struct {
	store   *filestore.Store
	reading *filestore.Reading
	moved   *filestore.Marker
}

func (t *fileTarget) snapshot() *state.Snapshot {
	if t.store == nil {
		return t.reading.Snapshot()
	}
	return t.store.Snapshot()
}

func (t *fileTarget) id() string                { return "" }
func (t *fileTarget) marker() *filestore.Marker { return t.moved }
func (t *fileTarget) release() error            { return t.store.ForgetMoved() }

func (t *fileTarget) close() error {
	if t.store == nil {
		return t.reading.Close()
	}
	return t.store.Close()
}

// keep writes the document beside the file, so that replacing it can be undone.
func (t *fileTarget) keep() (_ string, err error) {
	name := t.store.Path() + ".replaced-" + time.Now().UTC().Format("20060102T150405.000Z")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("keep what the target has: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("keep what the target has: %w", errors.Join(err, os.Remove(name)))
		}
	}()
	err = t.store.Snapshot().WriteDocument(f, state.DocumentOptions{})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	folder, err := os.Open(filepath.Dir(name))
	if err != nil {
		return "", err
	}
	defer folder.Close()
	return name, folder.Sync()
}

func (t *fileTarget) restore(ctx context.Context, doc *state.Document, ifRevision int64) (int64, error) {
	return t.store.Restore(ctx, doc, ifRevision)
}

// etcdTarget is a state in etcd.
type etcdTarget struct{ *etcdPlace }

func (t *etcdTarget) snapshot() *state.Snapshot { return t.Snapshot() }
func (t *etcdTarget) id() string                { return t.Snapshot().Head().ID }
func (t *etcdTarget) marker() *filestore.Marker { return nil }
func (t *etcdTarget) keep() (string, error)     { return "", nil }
func (t *etcdTarget) release() error            { return nil }
func (t *etcdTarget) close() error              { return t.Close() }

func (t *etcdTarget) restore(ctx context.Context, doc *state.Document, ifRevision int64) (int64, error) {
	return t.Restore(ctx, doc, ifRevision)
}

// nothing is what a dry run finds where there is no state yet.
type nothing struct{}

func (nothing) snapshot() *state.Snapshot { return state.NewSnapshot(state.Head{}, 0) }
func (nothing) id() string                { return "" }
func (nothing) marker() *filestore.Marker { return nil }
func (nothing) keep() (string, error)     { return "", nil }
func (nothing) release() error            { return nil }
func (nothing) close() error              { return nil }

func (nothing) restore(context.Context, *state.Document, int64) (int64, error) {
	return 0, errors.New("a dry run changes nothing")
}
