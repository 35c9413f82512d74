package bundle

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"statiko/state"
)

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
	archive, meta, err := l.Repository.Open(ctx, e.Name, 0)
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
	// What was removed while it was being read does not come back.
	if _, err := l.Repository.Stat(ctx, e.Name); err != nil {
		return err
	}
	_, err = l.Store.Update(ctx, func(d *state.Draft) error {
		if _, ok := d.App(app.Name); ok {
			return nil
		}
		return d.Put(app)
	})
	return err
}
