package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"statiko/state"
)

// Store is a [state.Store] on a file.
type Store struct {
	*state.Feed
	log       *zap.Logger
	options   Options
	knownKeys map[string]bool
	repairs   []string
	lock      io.Closer
	health    atomic.Pointer[state.Health]

	mu     sync.Mutex
	queue  []*request
	closed bool
	// wake has one slot: the queue is not empty, or closed is set.
	wake chan struct{}
	// done is closed by the committer when it has ended.
	done      chan struct{}
	closeFeed sync.Once

	// What follows belongs to the committer.
	disk    *disk
	folding *folding
	folded  chan foldResult
	// current is when the document last had everything, or was begun to be written with all there was.
	current time.Time
	// notice is what needs attention although changes are possible.
	notice string
	// retry is when to try again what the disk refused, pause how long to wait the next time.
	retry time.Time
	pause time.Duration
	// suspect is a document that is not ours, which has to stay the same for one more look.
	suspect *written
}

// defaultGrace is how long a change that is being written may outlast its context before its outcome is unknown.
const defaultGrace = 2 * time.Second

// request is something that the committer has to do: a transaction, a restore, or else a fold.
type request struct {
	txn        *state.Txn
	doc        *state.Document
	ifRevision int64
	// begin makes a fold return as soon as it was begun.
	begin bool

	// taken is 0 while the request waits, then either takenByCommitter or takenBack.
	taken atomic.Int32
	// done has one slot, so that the committer never waits for the caller.
	done chan result
}

const (
	takenByCommitter = 1
	takenBack        = 2
)

type result struct {
	revision int64
	err      error
}

func (r *request) answer(revision int64, err error) { r.done <- result{revision, err} }

// start starts the committer.
func start(o Options, d *disk, lock io.Closer, found *loaded, knownKeys map[string]bool) *Store {
	s := &Store{
		Feed: state.NewFeed(found.snapshot), log: o.Log, options: o, knownKeys: knownKeys, repairs: found.repairs,
		lock: lock, wake: make(chan struct{}, 1), done: make(chan struct{}), disk: d, folded: make(chan foldResult, 1),
		current: time.Now(),
	}
	s.setHealth(d.broken)
	go s.run()
	return s
}

// Update is [state.Store]'s.
func (s *Store) Update(ctx context.Context, change func(*state.Draft) error, options ...state.UpdateOption) (int64, error) {
	return state.RunUpdate(ctx, s, change, options...)
}

// Commit is [state.Committer]'s.
func (s *Store) Commit(ctx context.Context, t *state.Txn) (int64, error) {
	if len(t.Writes) > 0 {
		return s.do(ctx, &request{txn: t})
	}
	// The newest snapshot has all that was ever acknowledged, so looking at it is enough.
	switch now := s.Snapshot(); {
	case s.isClosed():
		return 0, errClosed()
	case t.Fence != nil && t.Fence.Over():
		return 0, errFenced()
	case !t.Holds(now):
		return 0, state.ErrConflict
	default:
		return now.Revision(), nil
	}
}

// Restore is [state.Store]'s.
func (s *Store) Restore(ctx context.Context, doc *state.Document, ifRevision int64) (int64, error) {
	if err := checkKey(doc, s.options.KeyID, s.knownKeys); err != nil {
		return 0, err
	}
	return s.do(ctx, &request{doc: doc, ifRevision: ifRevision})
}

// do hands the request to the committer and waits for the answer.
func (s *Store) do(ctx context.Context, r *request) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r.done = make(chan result, 1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, errClosed()
	}
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	s.signal()

	select {
	case res := <-r.done:
		return res.revision, res.err
	case <-ctx.Done():
	}
	if r.taken.CompareAndSwap(0, takenBack) {
		return 0, ctx.Err()
	}
	// It is being written. Usually that is a matter of milliseconds, and the outcome is worth them.
	t := time.NewTimer(s.options.grace)
	defer t.Stop()
	select {
	case res := <-r.done:
		return res.revision, res.err
	case <-t.C:
		return 0, unknown(fmt.Errorf("the disk of %s does not answer", s.disk.path))
	}
}

func (s *Store) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// take returns what waits for the committer, and whether more may come.
func (s *Store) take() (batch []*request, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch, s.queue = s.queue, nil
	return batch, !s.closed
}

// Close is [state.Store]'s. What was committed is folded into the document if the disk allows; it is durable in the
// journal in any case.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.signal()
	<-s.done
	s.closeFeed.Do(s.CloseFeed)
	return nil
}

// Health is [state.Store]'s.
func (s *Store) Health() state.Health { return *s.health.Load() }

// setHealth notes that the disk refused changes with the error or, with nil, that it takes them.
func (s *Store) setHealth(err error) {
	h := state.Health{Healthy: err == nil, Reason: s.notice, Backend: "file", Since: time.Now()}
	if err != nil {
		var f *failure
		if errors.As(err, &f) {
			err = f.cause
		}
		h.Reason = fmt.Sprintf("the state file %s cannot be written: %v", s.disk.path, err)
	}
	if before := s.health.Load(); before != nil {
		if before.Healthy == h.Healthy {
			h.Since = before.Since
		}
		if before.Healthy != h.Healthy {
			s.log.Warn("whether the state file can be written has changed", zap.Bool("healthy", h.Healthy), zap.String("reason", h.Reason))
		}
	} else if err != nil {
		s.log.Error("the state file cannot be written", zap.String("file", s.disk.path), zap.Error(err))
	}
	s.health.Store(&h)
}

func errClosed() error {
	return fmt.Errorf("%w: the store is closed", state.ErrUnavailable)
}

func errFenced() error {
	return fmt.Errorf("%w; nothing was changed", state.ErrFenced)
}
