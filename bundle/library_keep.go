package bundle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// orphanAge is how long an archive stays that the state knew and no longer knows. A bundle that is removed takes its
// archive with it at once; this is for what a restore left behind, which a second restore may bring back.
const orphanAge = 24 * time.Hour

// listEvery is how often an object store is looked through for what others put there: listing costs money.
const listEvery = time.Hour

// keeper is what [Library.Run] remembers between looks.
type keeper struct {
	seen *state.Snapshot
	// strangers are archives that the state does not know, by name, as they were at the last look.
	strangers map[string]stranger
	// verified is when all was read last, listed when the object store was looked through last.
	verified, listed time.Time
	// first tells that no look has ended yet: what is there was there before this process.
	first bool
}

type stranger struct {
	size     int64
	modified time.Time
	since    time.Time
}

// Run keeps the archives of this node in step with the state until ctx ends: it fetches what is missing, removes what
// was removed, takes up what somebody put into the repository, and reads everything now and then to find damage. It
// returns nil. Call it once there is a state.
func (l *Library) Run(ctx context.Context) error {
	k := &keeper{seen: l.Store.Snapshot(), strangers: map[string]stranger{}, verified: l.Now(), first: true}
	l.audit(ctx, k)
	look := time.NewTicker(l.AuditEvery)
	defer look.Stop()
	changed := make(chan *state.Snapshot)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for seen := k.seen.Revision(); ; {
			s, err := l.Store.Wait(ctx, seen)
			if err != nil {
				return
			}
			seen = s.Revision()
			select {
			case changed <- s:
			case <-ctx.Done():
				return
			}
		}
	}()
	for ctx.Err() == nil {
		select {
		case s := <-changed:
			l.follow(ctx, k, s)
		case <-look.C:
			l.audit(ctx, k)
			if l.Now().Sub(k.verified) >= l.VerifyEvery {
				l.Verify(ctx)
				k.verified = l.Now()
			}
		case <-ctx.Done():
		}
	}
	<-done
	return nil
}

// follow removes the archives of bundles that were removed from the state. After a restore it leaves them for a while.
func (l *Library) follow(ctx context.Context, k *keeper, s *state.Snapshot) {
	before := k.seen
	k.seen = s
	keys, known := s.ChangedSince(before.Revision())
	if !known || s.Head() != before.Head() {
		l.audit(ctx, k)
		return
	}
	for _, key := range keys {
		if key.Kind != state.KindApp {
			continue
		}
		old, had := before.App(key.Name)
		if _, has := s.App(key.Name); has || !had {
			continue
		}
		if err := removeArchive(ctx, l.own(), old); err != nil {
			l.Log.Warn("the archive of a removed bundle could not be removed", zap.String("bundle", key.Name), zap.Error(err))
		}
	}
}

// audit compares the archives of this node with the state.
func (l *Library) audit(ctx context.Context, k *keeper) {
	if l.Cache != nil && (k.first || l.Now().Sub(k.listed) >= listEvery) {
		k.listed = l.Now()
		if _, err := l.TakeUp(ctx); err != nil && ctx.Err() == nil {
			l.Log.Warn("the repository was not looked through", zap.Error(err))
		}
	}
	entries, err := l.own().List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			l.note("", "this node's archives could not be listed", err)
		}
		return
	}
	s := l.Store.Snapshot()
	here := map[string]Entry{}
	strangers := map[string]stranger{}
	for _, e := range entries {
		here[e.Name] = e
		if _, known := s.App(e.Name); known || l.isBeingNamed(e.Name) {
			continue
		}
		st := stranger{e.Size, e.Modified, l.Now()}
		if was, ok := k.strangers[e.Name]; ok && was.size == st.size && was.modified.Equal(st.modified) {
			st.since = was.since
		}
		if !l.strange(ctx, k, s, e, st.since) {
			strangers[e.Name] = st
		}
	}
	k.strangers, k.first = strangers, false
	if l.Cache != nil {
		return // what it lacks is in the object store
	}
	for app := range s.Apps() {
		if ctx.Err() != nil {
			return
		}
		if err := l.lacks(ctx, here, app); err != nil && ctx.Err() == nil {
			l.note(app.Name, "this node has no archive of it", err)
		}
	}
}

// lacks fetches the archive of a bundle if the entries have another or none.
func (l *Library) lacks(ctx context.Context, here map[string]Entry, app *state.App) error {
	if e, ok := here[app.Name]; ok {
		if good, err := l.is(ctx, e, app); good || err != nil {
			return err
		}
	}
	if _, ok := l.Store.Snapshot().App(app.Name); !ok {
		return nil // it was removed meanwhile
	}
	return l.stored(ctx, app, false)
}

// settleAge is how long a file that somebody puts into the repository has to be as it is before it is taken for whole.
const settleAge = 10 * time.Second

// strange decides about an archive that the state does not know, and tells whether that is done with.
func (l *Library) strange(ctx context.Context, k *keeper, s *state.Snapshot, e Entry, since time.Time) bool {
	now := l.Now()
	switch {
	case !e.Meta.Entered || named(s, e.Name):
		if l.Cache != nil || !k.first && now.Sub(e.Modified) < settleAge && now.Sub(since) < settleAge {
			return false // a cache takes nothing up
		}
		if err := l.takeUp(ctx, l.own(), e); err != nil {
			if ctx.Err() == nil {
				l.refused(e, err)
			}
			return false
		}
		l.Log.Info("took up a bundle that was in the repository only", zap.String("bundle", e.Name))
		return true
	case now.Sub(since) >= orphanAge:
		if err := l.own().Remove(ctx, e.Name); err != nil && !errors.Is(err, ErrNotFound) {
			l.Log.Warn("an archive that is in no state could not be removed", zap.String("bundle", e.Name), zap.Error(err))
			return false
		}
		l.Log.Info("removed an archive that is in no state", zap.String("bundle", e.Name))
		return true
	}
	return false
}

// named tells whether a site wants the bundle, whether or not it exists.
func named(s *state.Snapshot, name string) bool {
	for range s.Users(state.Key{Kind: state.KindApp, Name: name}) {
		return true
	}
	return false
}

func (l *Library) isBeingNamed(name string) bool {
	l.flight.Lock()
	defer l.flight.Unlock()
	return l.naming[name] != nil
}

// Verify reads every archive and every unpacked file that this node has and replaces what is damaged. It reads one
// after the other, in random order, and takes as long as that takes.
func (l *Library) Verify(ctx context.Context) {
	var apps []*state.App
	for app := range l.Store.Snapshot().Apps() {
		apps = append(apps, app)
	}
	for _, i := range rand.Perm(len(apps)) {
		if ctx.Err() != nil {
			return
		}
		if err := l.verify(ctx, apps[i]); err != nil && ctx.Err() == nil {
			l.note(apps[i].Name, "it is damaged on this node, and could not be replaced", err)
		}
	}
}

// verify reads what this node has of one bundle.
func (l *Library) verify(ctx context.Context, app *state.App) error {
	if ok, err := l.has(ctx, app); err != nil {
		return err
	} else if ok {
		sum, err := digestOf(ctx, l.own(), app.Name)
		if err != nil {
			return err
		}
		if _, still := l.Store.Snapshot().App(app.Name); !still {
			return nil
		}
		if sum != app.SHA256 {
			if err := l.stored(ctx, app, true); err != nil {
				return fmt.Errorf("%w: %w", ErrHashMismatch, err)
			}
			l.note(app.Name, "this node's archive was damaged, and was replaced", nil)
		}
	}
	staged, ok := l.Ready(app)
	if !ok {
		return nil
	}
	good, err := staged.Sound(ctx)
	if good || err != nil {
		return err
	}
	if err := l.stored(ctx, app, false); err != nil {
		return err
	}
	archive, release, err := l.archiveFile(ctx, app)
	if err != nil {
		return err
	}
	defer release()
	if _, err := l.Stager.Restage(ctx, StageRequest{ArchivePath: archive, Type: app.Type, SHA256: app.SHA256, Modified: l.modified(app)}); err != nil {
		return err
	}
	l.note(app.Name, "its unpacked files were damaged, and were replaced", nil)
	return nil
}
