package etcdstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/etcdclient"
	"statiko/state"
)

// Options say what a store works with. Client and NodeName are required.
type Options struct {
	Client *etcdclient.Client
	// Prefix begins all keys, as "/statiko".
	Prefix string
	// NodeName is unique among the nodes on the prefix.
	NodeName string
	// KeyID names the key that seals secrets here; "" is not checked. KnownKeyIDs can be opened as well.
	KeyID       string
	KnownKeyIDs []string
	// Copy keeps the replica on this node's disk; nil for none.
	Copy Copy
	// CompareEvery is how often the replica is compared with etcd while nothing happens; 0 means 10 minutes.
	CompareEvery time.Duration
	// Log may be nil.
	Log *zap.Logger
}

// Copy keeps a replica on this node's disk, so that the node can serve when it starts without etcd.
type Copy interface {
	// Load returns the last snapshot that was saved, and note; nil if there is none.
	Load() (s *state.Snapshot, note []byte, err error)
	// Save replaces what is kept. The snapshots of successive calls are versions of one another.
	Save(s *state.Snapshot, note []byte) error
}

// Store is a [state.Store] on etcd.
type Store struct {
	*state.Feed
	options Options
	log     *zap.Logger
	keys    keys

	// stop ends what follows etcd, done waits for it; ended is closed at the end of Close.
	stop  context.CancelFunc
	done  sync.WaitGroup
	ended chan struct{}
	// changing counts changes under way; see enter.
	changing sync.WaitGroup
	once     sync.Once
	health   atomic.Pointer[state.Health]
	// resync has one slot: compare with etcd now.
	resync chan struct{}
	ready  chan struct{}
	// loads counts loads, each of which passes over operations; watches counts watches.
	loads, watches atomic.Int64
	// former is the generation that was in force before, for a while.
	former atomic.Pointer[former]
	// followed tells that the replica came from etcd in this process, so that its revisions are etcd's.
	followed atomic.Bool
	// reload asks for a load although the watch could go on.
	reload atomic.Bool
	// sweepAgain is the constant; tests set it before there is a duty.
	sweepAgain time.Duration

	mu sync.Mutex
	// closed refuses new changes.
	closed bool
	now    replica
	// mine has the revisions of the newest operations of this process, by id; order is oldest first.
	mine  map[string]int64
	order []string
	// detached says why the replica must not follow etcd; nil if it may.
	detached error
}

// Open returns a store that follows etcd in the background. It does not wait for etcd: without it, the snapshot is
// that of the local copy or, without one, empty at revision 0; see [Store.Loaded]. Faults of the local copy are
// reported and passed over.
func Open(o Options) (*Store, error) {
	if o.Client == nil || o.NodeName == "" {
		return nil, errors.New("etcdstore: a client and the node's name are required")
	}
	if o.CompareEvery == 0 {
		o.CompareEvery = 10 * time.Minute
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Store{
		options: o, log: o.Log, keys: newKeys(o.Prefix), resync: make(chan struct{}, 1), ready: make(chan struct{}),
		mine: map[string]int64{}, ended: make(chan struct{}), sweepAgain: sweepAgain,
	}
	s.Feed = state.NewFeed(state.NewSnapshot(state.Head{}, 0))
	if err := s.loadCopy(); err != nil {
		return nil, err
	}
	s.setHealth(errors.New("etcd has not answered yet"))
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.done.Go(func() { s.run(ctx) })
	if o.Copy != nil {
		s.done.Go(func() { s.keepCopy(ctx) })
	}
	return s, nil
}

// Loaded is closed once there is a state, from etcd or from the local copy.
func (s *Store) Loaded() <-chan struct{} { return s.ready }

// markLoaded closes ready, once.
func (s *Store) markLoaded() { s.once.Do(func() { close(s.ready) }) }

// Health is [state.Store]'s.
func (s *Store) Health() state.Health { return *s.health.Load() }

// setHealth notes that changes are possible or, with an error, why not.
func (s *Store) setHealth(err error) {
	h := state.Health{Healthy: err == nil, Backend: "etcd", Since: time.Now()}
	if err != nil {
		h.Reason = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && err != errClosed {
		return
	}
	before := s.health.Load()
	if before != nil && before.Healthy == h.Healthy {
		h.Since = before.Since
	}
	s.health.Store(&h)
	switch {
	case before == nil || before.Healthy == h.Healthy && before.Reason == h.Reason || err == errClosed:
	case h.Healthy:
		s.log.Info("etcd takes changes", zap.Int64("revision", s.Snapshot().Revision()))
	default:
		s.log.Warn("etcd does not take changes; the node serves on", zap.String("reason", h.Reason))
	}
}

// Update is [state.Store]'s.
func (s *Store) Update(ctx context.Context, change func(*state.Draft) error, options ...state.UpdateOption) (int64, error) {
	return state.RunUpdate(ctx, s, change, options...)
}

// enter begins a change, which Close waits for until leave.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unavailable(errClosed)
	}
	s.changing.Add(1)
	return nil
}

func (s *Store) leave() { s.changing.Done() }

// Close is [state.Store]'s. Changes under way take at most the timeout of a request.
func (s *Store) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if again {
		<-s.ended
		return nil
	}
	s.changing.Wait()
	s.stop()
	s.done.Wait()
	s.setHealth(errClosed)
	s.CloseFeed()
	s.replaceFormer(nil)
	close(s.ended)
	return nil
}

// client returns etcd's client.
func (s *Store) client() (*clientv3.Client, error) { return s.options.Client.Etcd() }

// timeout bounds one request.
func (s *Store) timeout() time.Duration { return s.options.Client.Timeout() }

// maxPatience is how long a member may take to answer something small: when it hangs, there must be time left to ask
// another.
const maxPatience = 3 * time.Second

// patience bounds one attempt at something small.
func (s *Store) patience() time.Duration { return min(s.timeout(), maxPatience) }

func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.patience())
}

// firstTry bounds the first attempt at a read; the next ones have more time.
const firstTry = 500 * time.Millisecond

// get reads, and asks again if there is no answer: as a rule, etcd's client asks another member then.
func (s *Store) get(ctx context.Context, etcd *clientv3.Client, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	for try := firstTry; ; try *= 2 {
		bounded, cancel := context.WithTimeout(ctx, try)
		r, err := etcd.Get(bounded, key, options...)
		late := bounded.Err() != nil
		cancel()
		if err == nil || !late || ctx.Err() != nil || try >= s.patience() {
			return r, err
		}
	}
}

// unkick takes back what kick asked for.
func (s *Store) unkick() {
	select {
	case <-s.resync:
	default:
	}
}

// kick has the replica compared with etcd soon.
func (s *Store) kick() {
	select {
	case s.resync <- struct{}{}:
	default:
	}
}

var _ state.Store = (*Store)(nil)
