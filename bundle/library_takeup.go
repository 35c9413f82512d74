package bundle

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"statiko/state"
)

// TakeUp enters into the state what is in the repository and not in the state, such as the bundles of the earlier
// program, and returns how many were. What a state knew already, and was removed from it, stays out unless a site wants
// it. One that cannot be read is reported and passed over.
func (l *Library) TakeUp(ctx context.Context) (int, error) {
	entries, err := l.Repository.List(ctx)
	if err != nil {
		return 0, fmt.Errorf("list the repository: %w", err)
	}
	taken := 0
	for _, e := range entries {
		s := l.Store.Snapshot()
		if _, known := s.App(e.Name); known || e.Meta.Entered && !named(s, e.Name) || l.isBeingNamed(e.Name) {
			continue
		}
		if err := l.takeUp(ctx, l.Repository, e); err != nil {
			if ctx.Err() != nil {
				return taken, ctx.Err()
			}
			l.refused(e, err)
			continue
		}
		l.Log.Info("took up a bundle that was in the repository only", zap.String("bundle", e.Name))
		taken++
	}
	return taken, nil
}

// refused tells why an archive is not taken up. That the state cannot be changed now is no fault of the archive.
func (l *Library) refused(e Entry, err error) {
	if errors.Is(err, state.ErrUnavailable) || errors.Is(err, state.ErrUnknown) {
		l.Log.Info("an archive in the repository is not taken up yet", zap.String("bundle", e.Name), zap.Error(err))
		return
	}
	l.note(e.Name, "an archive in the repository is not taken up", err)
}

func (l *Library) takeUp(ctx context.Context, from Repository, e Entry) error {
	if name, err := state.CheckAppName(e.Name); err != nil || name != e.Name {
		return fmt.Errorf("%q is not a bundle's name", e.Name)
	}
	archive, meta, err := from.Open(ctx, e.Name, 0)
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
	if err := l.checkUpload(app, meta.Hash, spool); err != nil {
		return err
	}
	release := l.hold(app)
	defer release()
	unname, err := l.name(app)
	if err != nil {
		return err
	}
	defer unname()
	// What was removed while it was being read does not come back.
	if _, err := from.Stat(ctx, e.Name); err != nil {
		return err
	}
	if _, err = l.Store.Update(ctx, func(d *state.Draft) error {
		if other, ok := d.App(app.Name); ok {
			return differs(other, app)
		}
		return d.Put(app)
	}); err != nil {
		return err
	}
	return from.SetMeta(ctx, e.Name, metaOf(app))
}
