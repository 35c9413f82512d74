package leader

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"statiko/etcdclient"
	"statiko/state"
)

// Times of the end of a term.
const (
	// resignPatience is how long duties may take to stop before the leadership is given up: with what the next
	// leader needs, the change takes less than a second.
	resignPatience = 500 * time.Millisecond
	// resignTimeout bounds a request that gives something up.
	resignTimeout = 2 * time.Second
)

// Reasons for the end of a term.
var (
	errKeyLost     = errors.New("this node's key in the election was removed")
	errHandedOver  = errors.New("the leadership is handed over")
	errUnfit       = errors.New("this node cannot lead any more")
	errWatchBroken = errors.New("the watch ended")
)

// term is one term of this node, and its fence.
type term struct {
	elector  *Etcd
	session  *etcdclient.Session
	election *concurrency.Election
	// ctx ends with the term. It is that of the session's use until lead narrows it.
	ctx     context.Context
	key     string
	created int64
	began   time.Time
}

var _ state.KeyedFence = (*term)(nil)

// Over implements [state.Fence]. It asks the clock too, so it is right in a process that was just thawed.
func (t *term) Over() bool { return t.ctx.Err() != nil || t.session.Over() }

// Proof implements [state.KeyedFence].
func (t *term) Proof() (string, int64) { return t.key, t.created }

// lead runs the duties until the term ends, and returns when they have.
func (e *Etcd) lead(t *term, duties map[string]Duty) {
	ctx, end := context.WithCancelCause(t.ctx)
	defer end(nil)
	t.ctx = ctx
	e.log.Info("this node leads", zap.String("node", e.options.NodeName))
	watched := make(chan struct{})
	go func() { // ends with the term
		defer close(watched)
		end(t.watch(ctx))
	}()
	ended := make(chan struct{})
	go func() { // awaited below
		defer close(ended)
		runTerm(ctx, t, duties, e.log)
	}()
	<-ctx.Done()
	why := zap.Skip()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		why = zap.NamedError("reason", cause)
	}
	e.log.Info("this node no longer leads", zap.String("node", e.options.NodeName), why)
	patience := time.NewTimer(resignPatience)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C: // what they still try to write is refused
	}
	t.resign()
	<-ended
	<-watched
}

// resign removes this node's key. If it cannot, the key goes with the session, or before the next campaign.
func (t *term) resign() {
	if lost(t.ctx) {
		return // the key is gone, or goes when the session gives its lease back
	}
	ctx, cancel := t.elector.request(t.ctx)
	defer cancel()
	if err := t.election.Resign(ctx); err != nil {
		t.elector.log.Warn("the leadership could not be given up at once, it runs out", zap.Error(etcdclient.Plain(err)))
	}
}

// lost tells whether a context under a session ended because the lease was lost, so that etcd has forgotten this node
// or does not answer it.
func lost(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, etcdclient.ErrLeaseLost) || errors.Is(cause, etcdclient.ErrLeaseOld)
}

// watch returns why the term has to end: its key was removed, a handover asks for it, or this node cannot lead any more. It
// goes on while etcd cannot be asked; the session's deadline then ends the term.
func (t *term) watch(ctx context.Context) error {
	over := make(chan error, 1)
	done := make(chan struct{})
	defer func() { <-done }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ended and awaited above
		defer close(done)
		for {
			v := t.elector.view.snapshot()
			switch {
			case v.nextRevision != 0 && v.next.Term == t.created:
				over <- errHandedOver
				return
			case v.unfit:
				over <- errUnfit
				return
			}
			select {
			case <-v.changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		err := t.watchKey(ctx, over)
		if errors.Is(err, errKeyLost) {
			t.session.Check() // most likely its lease was revoked
		}
		if ctx.Err() != nil || errors.Is(err, errKeyLost) || errors.Is(err, errHandedOver) || errors.Is(err, errUnfit) {
			return err
		}
		if !errors.Is(err, errLookAgain) && !sleep(ctx, minPause) {
			return ctx.Err()
		}
	}
}

// watchKey reads the term's key and watches it from there. It ends with what comes from over, too.
func (t *term) watchKey(ctx context.Context, over <-chan error) error {
	client := t.elector.options.Client
	etcd, err := client.Etcd()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	connections := client.Connections()
	asking, answered := context.WithTimeout(ctx, client.Timeout())
	r, err := etcd.Get(asking, t.key)
	answered()
	switch {
	case err != nil:
		return err
	case len(r.Kvs) != 1 || r.Kvs[0].CreateRevision != t.created:
		return errKeyLost
	}
	events := etcd.Watch(ctx, t.key, clientv3.WithRev(r.Header.Revision+1))
	check := time.NewTicker(t.session.TTL() / 3)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-over:
			return err
		case <-check.C:
			// Behind another connection may be another etcd, which knows nothing of this term.
			if client.Connections() != connections {
				return errLookAgain
			}
		case r, ok := <-events:
			if !ok {
				return errWatchBroken
			}
			if err := r.Err(); err != nil {
				return err
			}
			for _, ev := range r.Events {
				if ev.Type == mvccpb.DELETE {
					return errKeyLost
				}
			}
		}
	}
}
