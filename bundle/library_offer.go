package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Times of offering.
const (
	// hedgeAfter is how long a node may take before another one is asked as well.
	hedgeAfter = 5 * time.Second
	// offerFloor is the slowest speed at which a copy is waited for, in bytes a second, after offerTimeout.
	offerFloor   = 1 << 20
	offerTimeout = 30 * time.Second
)

// replicate has other nodes fetch the archive, which this one has, until as many have it as should, and tells how many
// do. A node that is slow is not waited for if another is quicker.
func (l *Library) replicate(ctx context.Context, app *state.App) Replicas {
	if l.Cache != nil {
		return Replicas{}
	}
	up, members := l.Peers.Others()
	r := Replicas{Have: 1, Want: min(max(l.Replicas, 1), members)}
	if r.Have >= r.Want {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, offerTimeout+time.Duration(app.Size/offerFloor)*time.Second)
	defer cancel()
	results := make(chan error, len(up))
	asked, answered := 0, 0
	ask := func() {
		if asked == len(up) {
			return
		}
		node := up[asked]
		asked++
		go func() { // it ends with ctx, and is received below
			err := l.Peers.Offer(ctx, node, app)
			if err != nil && ctx.Err() == nil {
				l.Log.Warn("a node did not take a copy of a bundle", zap.String("bundle", app.Name), zap.String("node", node), zap.Error(err))
			}
			results <- err
		}()
	}
	for range r.Want - r.Have {
		ask()
	}
	hedge := time.NewTicker(hedgeAfter)
	defer hedge.Stop()
	for answered < asked {
		select {
		case err := <-results:
			answered++
			if err == nil {
				r.Have++
			} else if ctx.Err() == nil {
				ask()
			}
		case <-hedge.C:
			ask()
		}
		if r.Have >= r.Want {
			cancel() // the rest fetches it when it is in the state
		}
	}
	return r
}

// Accept fetches a bundle that another node offers, which need not be in the state yet, and returns nil once its archive
// is durable on this node. The errors are [state.ErrExists] if the state has other bytes under the name,
// [state.ErrConflict] if an upload of the name is under way here, [state.ErrTooLarge], and those of fetching.
func (l *Library) Accept(ctx context.Context, node string, app *state.App) error {
	if app.Size > l.MaxUpload {
		return state.Errorf(state.ErrTooLarge, app.Key(), "size", "the bundle has %d bytes; the configuration of this node allows %d", app.Size, l.MaxUpload)
	}
	if old, ok := l.Store.Snapshot().App(app.Name); ok {
		if err := differs(old, app); err != nil {
			return err
		}
	}
	named, err := l.name(app)
	if err != nil {
		return err
	}
	defer named()
	unlock, err := l.busy.lock(ctx, app.SHA256)
	if err != nil {
		return err
	}
	defer unlock()
	if ok, err := l.has(ctx, app); ok || err != nil && ctx.Err() != nil {
		return err
	}
	spool, err := l.fetchFrom(ctx, app, []source{l.node(node)})
	if err != nil {
		return err
	}
	defer spool.Discard()
	// If nothing comes of the offer, it is not taken up.
	if err := l.keep(ctx, app, spool, metaOf(app)); err != nil {
		return fmt.Errorf("store the bundle %s: %w", app.Name, err)
	}
	return nil
}

// Holding is how much of a bundle a node has.
type Holding struct {
	// Archive tells that it has the archive, Unpacked that the bundle can be served at once.
	Archive  bool `json:"archive"`
	Unpacked bool `json:"unpacked"`
}

// Holdings returns how much of each bundle of the state this node has, by name.
func (l *Library) Holdings(ctx context.Context) (map[string]Holding, error) {
	entries, err := l.own().List(ctx)
	if err != nil {
		return nil, err
	}
	noted := map[string]string{}
	for _, e := range entries {
		if sum, err := e.Meta.SHA256(); err == nil {
			noted[e.Name] = sum
		}
	}
	all := map[string]Holding{}
	for app := range l.Store.Snapshot().Apps() {
		_, unpacked := l.Ready(app)
		all[app.Name] = Holding{Archive: noted[app.Name] == app.SHA256, Unpacked: unpacked}
	}
	return all, ctx.Err()
}

// Pending tells whether a bundle cannot be deployed before its signature comes.
func (l *Library) Pending(app *state.App) bool { return errors.Is(l.Signers.Check(app), ErrPending) }

// Fetch makes sure that this node has the archive of a bundle, and opens it. Errors as in [Library.Ensure].
func (l *Library) Fetch(ctx context.Context, app *state.App) (*os.File, error) {
	if err := l.stored(ctx, app, false); err != nil {
		return nil, err
	}
	return l.Archive(ctx, app.Name, app.SHA256)
}
