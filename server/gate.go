package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"statiko/api"
	"statiko/filestore"
	"statiko/state"
)

// Gate is a store that can be frozen: reading goes on, changes are refused, whoever makes them. The API freezes the
// gate that is its [Options.Store]; everything else that changes the state must be given the same gate.
type Gate struct {
	state.Store
	now func() time.Time

	mu sync.Mutex
	// changing counts changes under way; idle, if not nil, is closed when there are none.
	changing int
	idle     chan struct{}
	// frozen is nil while changes are taken.
	frozen *freeze
}

// freeze is one time without changes.
type freeze struct {
	token, reason string
	since, until  time.Time
	// moved tells that the state is elsewhere now, so that the freeze does not end by itself.
	moved bool
}

// movable is a store whose state can be marked as moved elsewhere: that of a file.
type movable interface {
	Path() string
	MarkMoved(filestore.Marker) error
	Moved() (*filestore.Marker, error)
	ForgetMoved() error
}

// NewGate returns a gate before the store. now is the clock; nil means time.Now.
func NewGate(s state.Store, now func() time.Time) *Gate {
	if now == nil {
		now = time.Now
	}
	return &Gate{Store: s, now: now}
}

// Unwrap returns the store behind the gate.
func (g *Gate) Unwrap() state.Store { return g.Store }

// Update is [state.Store]'s. While the gate is frozen the error is [state.ErrUnavailable], and an [*api.Error] with
// the code [api.CodeFrozen].
func (g *Gate) Update(ctx context.Context, change func(*state.Draft) error, options ...state.UpdateOption) (int64, error) {
	if err := g.enter(); err != nil {
		return 0, err
	}
	defer g.leave()
	return g.Store.Update(ctx, change, options...)
}

// Restore is [state.Store]'s; frozen as in Update.
func (g *Gate) Restore(ctx context.Context, doc *state.Document, ifRevision int64) (int64, error) {
	if err := g.enter(); err != nil {
		return 0, err
	}
	defer g.leave()
	return g.Store.Restore(ctx, doc, ifRevision)
}

// Accept is the decision for a store that can find itself detached from its backend; for another there is nothing to
// decide.
func (g *Gate) Accept(ctx context.Context) (int64, error) {
	if a, ok := g.Store.(accepter); ok {
		return a.Accept(ctx)
	}
	return 0, api.Errorf(api.CodeNotDetached, "the store is not detached: there is nothing to decide")
}

// Health is [state.Store]'s: no changes are possible while the gate is frozen.
func (g *Gate) Health() state.Health {
	h := g.Store.Health()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.expire(); g.frozen != nil {
		h.Healthy, h.Since, h.Reason = false, g.frozen.since, g.frozen.describe()
	}
	return h
}

// Frozen returns why changes are refused; nil if they are not.
func (g *Gate) Frozen() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refusal()
}

func (g *Gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.refusal(); err != nil {
		return err
	}
	g.changing++
	return nil
}

func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.changing--; g.changing == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
}

// expire ends a freeze whose time is over. The caller holds mu.
func (g *Gate) expire() {
	if g.frozen != nil && !g.frozen.moved && !g.now().Before(g.frozen.until) {
		g.frozen = nil
	}
}

// refusal returns the error of a change; nil if changes are taken. The caller holds mu.
func (g *Gate) refusal() error {
	g.expire()
	if g.frozen == nil {
		return nil
	}
	e := api.Errorf(api.CodeFrozen, "changes are refused: %s; nothing was changed", g.frozen.describe())
	if !g.frozen.moved {
		e.RetryAfter = max(time.Second, g.frozen.until.Sub(g.now()))
	}
	return &frozenError{e}
}

func (f *freeze) describe() string {
	reason := f.reason
	if reason == "" {
		reason = "the state is being moved"
	}
	if f.moved {
		return reason
	}
	return fmt.Sprintf("%s; the node is frozen until %s, and serves on", reason, f.until.UTC().Format(time.RFC3339))
}

// frozenError is the API's answer, and for those who only know package state [state.ErrUnavailable].
type frozenError struct{ answer *api.Error }

func (e *frozenError) Error() string   { return e.answer.Error() }
func (e *frozenError) Unwrap() []error { return []error{e.answer, state.ErrUnavailable} }

// freeze refuses changes for d from now on. With a token it prolongs the freeze that the token began. It returns
// once no change is under way; if that takes longer than ctx, nothing is frozen.
func (g *Gate) freeze(ctx context.Context, token, reason string, d time.Duration) (freeze, error) {
	g.mu.Lock()
	g.expire()
	switch {
	case g.frozen == nil && token != "":
		g.mu.Unlock()
		return freeze{}, conflict("the freeze is over; changes may have been made since")
	case g.frozen != nil && g.frozen.moved:
		defer g.mu.Unlock()
		return freeze{}, conflict("the state was moved already: %s", g.frozen.reason)
	case g.frozen != nil && g.frozen.token != token:
		defer g.mu.Unlock()
		return freeze{}, conflict("somebody else has frozen the node: %s", g.frozen.describe())
	case g.frozen == nil:
		g.frozen = &freeze{token: rand.Text(), since: g.now()}
	}
	f := g.frozen
	f.until = g.now().Add(d)
	if reason != "" {
		f.reason = reason
	}
	result := *f
	idle := g.waitIdle()
	g.mu.Unlock()
	select {
	case <-idle:
		return result, nil
	case <-ctx.Done():
		g.unfreeze(f.token)
		return freeze{}, fmt.Errorf("%w: a change has been under way for long, so the node is not frozen", state.ErrUnavailable)
	}
}

// waitIdle returns what is closed once no change is under way. The caller holds mu.
func (g *Gate) waitIdle() <-chan struct{} {
	if g.changing == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	return g.idle
}

func conflict(format string, args ...any) error {
	return state.Errorf(state.ErrConflict, state.Key{}, "", format, args...)
}

// unfreeze ends the freeze that the token began, if it is not over.
func (g *Gate) unfreeze(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen != nil && g.frozen.token == token && !g.frozen.moved {
		g.frozen = nil
	}
}

// thaw ends any freeze: with the token that began it, or by force.
func (g *Gate) thaw(token string, force bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire()
	switch {
	case g.frozen == nil:
		return nil
	case !force && g.frozen.token != token:
		return conflict("somebody else has frozen the node: %s", g.frozen.describe())
	}
	if g.frozen.moved {
		if m, err := g.movable(); err != nil {
			return err
		} else if marker, err := m.Moved(); err != nil || marker != nil {
			return errors.Join(conflict("%s; the file says so too, so it stays frozen", g.frozen.reason), err)
		}
	}
	g.frozen = nil
	return nil
}

func (g *Gate) movable() (movable, error) {
	if m, ok := g.Store.(movable); ok {
		return m, nil
	}
	return nil, api.Errorf(api.CodeInvalid, "the state of this node is not in a file")
}

// move marks the state as moved and freezes for good. The token is that of a freeze that is not over; the state must
// be the one that was moved.
func (g *Gate) move(token string, m api.Moved) (freeze, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire()
	switch {
	case token == "" || g.frozen == nil || g.frozen.token != token:
		return freeze{}, conflict("the freeze is over; changes may have been made since")
	case g.frozen.moved:
		return *g.frozen, nil
	case g.changing > 0:
		return freeze{}, conflict("a change is under way")
	}
	store, err := g.movable()
	if err != nil {
		return freeze{}, err
	}
	snapshot := g.Snapshot()
	digest, err := filestore.Digest(snapshot)
	if err != nil {
		return freeze{}, err
	}
	if digest != m.Digest || snapshot.Revision() != m.Revision {
		return freeze{}, state.Errorf(state.ErrPrecondition, state.Key{}, "", "the state is not the one that was moved (revision %d, not %d)", snapshot.Revision(), m.Revision)
	}
	marker := filestore.Marker{
		Time: g.now().UTC(), Target: m.Target, TargetID: m.TargetID, KeyID: snapshot.Head().KeyID, Revision: m.Revision, Digest: digest,
	}
	if err := store.MarkMoved(marker); err != nil {
		// Perhaps it is there without being durable. As the freeze goes on, so does the file: without it.
		return freeze{}, errors.Join(fmt.Errorf("mark the state file as moved: %w", err), store.ForgetMoved())
	}
	g.frozen.moved, g.frozen.since = true, g.now()
	g.frozen.reason = "the state was moved to " + m.Target + "; stop this node, and start it with that place in its configuration"
	return *g.frozen, nil
}
