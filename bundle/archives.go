package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"statiko/state"
)

// own is where this node has archives of its own: its folder, or its cache of an object store.
func (l *Library) own() Repository {
	if l.Cache != nil {
		return l.Cache
	}
	return l.Repository
}

// pather is the power of a repository whose archives are files.
type pather interface {
	Path(name string) (string, error)
}

// asider is the power of a repository that can put away an archive that is not to be lost, and not to be used.
type asider interface {
	SetAside(ctx context.Context, name string) (where string, err error)
}

// has tells whether this node has the archive of a bundle, as far as that can be told without reading it. Who reads
// it verifies it.
func (l *Library) has(ctx context.Context, app *state.App) (bool, error) {
	e, err := l.own().Stat(ctx, app.Name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return l.is(ctx, e, app)
}

// is tells whether an entry of this node's is the archive of a bundle. One whose hash nobody has noted is read.
func (l *Library) is(ctx context.Context, e Entry, app *state.App) (bool, error) {
	noted, err := e.Meta.SHA256()
	switch {
	case e.Size != app.Size:
		return false, nil
	case err == nil && noted != "" && (e.Meta.Entered || noted != app.SHA256):
		return noted == app.SHA256, nil
	}
	sum, err := digestOf(ctx, l.own(), e.Name)
	if err != nil || sum != app.SHA256 {
		return false, err
	}
	if err := l.own().SetMeta(ctx, e.Name, metaOf(app)); err != nil {
		return false, err
	}
	return true, nil
}

// digestOf reads an archive and returns its SHA-256.
func digestOf(ctx context.Context, from Repository, name string) (string, error) {
	r, _, err := from.Open(ctx, name, 0)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &contextReader{ctx: ctx, r: r}); err != nil {
		return "", fmt.Errorf("read the archive of %s: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// keep stores an archive in place of whatever has its name on this node.
func (l *Library) keep(ctx context.Context, app *state.App, spool *Spool, meta Meta) error {
	own := l.own()
	err := own.Create(ctx, app.Name, spool, meta)
	if !errors.Is(err, ErrExists) {
		return err
	}
	if err := l.makeRoom(ctx, app); err != nil {
		return err
	}
	return own.Create(ctx, app.Name, spool, meta)
}

// makeRoom takes away what has a bundle's name on this node and is not the bundle. What the state never knew, such as
// a file that somebody put into the folder, is put aside and not lost.
func (l *Library) makeRoom(ctx context.Context, app *state.App) error {
	own := l.own()
	e, err := own.Stat(ctx, app.Name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if aside, ok := own.(asider); ok && err == nil && !e.Meta.Entered {
		where, err := aside.SetAside(ctx, app.Name)
		if err == nil {
			l.note(app.Name, "the archive in this node's folder was not what the state says; it is at "+where+" now", nil)
		}
		return err
	}
	if err := own.Remove(ctx, app.Name); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// Archive opens this node's archive of the bundle with the digest, for another node. ErrNotFound if it has none.
func (l *Library) Archive(ctx context.Context, name, sha256 string) (*os.File, error) {
	p, ok := l.own().(pather)
	if !ok {
		return nil, ErrNotFound
	}
	e, err := l.own().Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if noted, err := e.Meta.SHA256(); err != nil || noted != sha256 {
		return nil, fmt.Errorf("%w with the SHA-256 %s", ErrNotFound, sha256)
	}
	path, err := p.Path(name)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// archiveFile returns this node's archive of a bundle as a file, which may be a copy until release is called.
func (l *Library) archiveFile(ctx context.Context, app *state.App) (path string, release func(), err error) {
	if p, ok := l.own().(pather); ok {
		path, err = p.Path(app.Name)
		return path, func() {}, err
	}
	archive, _, err := l.own().Open(ctx, app.Name, 0)
	if err != nil {
		return "", nil, err
	}
	defer archive.Close()
	spool, err := NewSpool(ctx, l.SpoolDir, archive, max(l.MaxUpload, app.Size))
	if err != nil {
		return "", nil, err
	}
	return spool.Path, spool.Discard, nil
}

// stored makes sure that this node has the archive of a bundle; it is fetched if need be. Mistrust has an archive that
// seems to be there fetched again, for its bytes are others.
func (l *Library) stored(ctx context.Context, app *state.App, mistrust bool) error {
	unlock, err := l.busy.lock(ctx, app.SHA256)
	if err != nil {
		return err
	}
	defer unlock()
	if !mistrust {
		ok, err := l.has(ctx, app)
		if ok {
			return nil
		}
		if err != nil && ctx.Err() != nil {
			return err
		}
	}
	spool, err := l.fetchFrom(ctx, app, l.sources())
	if err != nil {
		return err
	}
	defer spool.Discard()
	if mistrust {
		if err := l.makeRoom(ctx, app); err != nil {
			return err
		}
	}
	if err := l.keep(ctx, app, spool, metaOf(app)); err != nil {
		return fmt.Errorf("store the bundle %s: %w", app.Name, err)
	}
	l.heal(ctx, app, spool)
	return nil
}

// heal replaces the archive in an object store that turned out to be missing or other bytes.
func (l *Library) heal(ctx context.Context, app *state.App, spool *Spool) {
	if l.Cache == nil {
		return
	}
	e, err := l.Repository.Stat(ctx, app.Name)
	noted, _ := e.Meta.SHA256()
	if _, bad := l.unsound.Load(app.SHA256); err == nil && noted == app.SHA256 && !bad {
		return
	}
	if err == nil {
		err = l.Repository.Remove(ctx, app.Name)
	}
	if err == nil || errors.Is(err, ErrNotFound) {
		err = l.Repository.Create(ctx, app.Name, spool, metaOf(app))
	}
	if err != nil && !errors.Is(err, ErrExists) {
		l.note(app.Name, "its archive in the repository is missing or damaged, and could not be replaced", err)
		return
	}
	l.unsound.Delete(app.SHA256)
	l.note(app.Name, "its archive in the repository was missing or damaged, and was replaced by this node's", nil)
}
