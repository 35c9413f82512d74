package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"statiko/state"
)

// Times of a commit.
const (
	// attemptTimeout bounds one attempt, so that a member that hangs leaves time to ask another.
	attemptTimeout = 3 * time.Second
	// retryPause is between attempts.
	retryPause = 50 * time.Millisecond
	// lagPatience is how long the watch may take to bring a change that is known to be made, before the replica
	// is compared with etcd.
	lagPatience = time.Second
)

// Commit is [state.Committer]'s. Until the timeout it repeats the identical transaction: a transaction that was cut
// off may have been made, or be made later, and looking once proves nothing. When a repetition's comparisons fail,
// the operations of this node that the watch has brought up to that moment tell whether the first one did it.
func (s *Store) Commit(ctx context.Context, t *state.Txn) (int64, error) {
	if s.closed.Load() {
		return 0, unavailable(errClosed)
	}
	if h := s.Health(); !h.Healthy {
		return 0, unavailable(h.Reason)
	}
	etcd, err := s.client()
	if err != nil {
		return 0, unavailable(err)
	}
	head, seen, err := s.replica()
	switch {
	case err != nil:
		return 0, unavailable(err)
	case head.state() != t.Base.Head():
		return 0, s.conflict(ctx, t)
	case head.MinWriter > version && len(t.Writes) > 0:
		return 0, unavailable(fmt.Sprintf("the state in etcd is of a newer version (%d) than this program can change (%d): update this node", head.MinWriter, version))
	}
	c := commit{store: s, etcd: etcd, txn: t, id: rand.Text(), head: head, loads: s.loads.Load()}
	c.build(seen)
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	return c.run(ctx)
}

// commit is one transaction under way.
type commit struct {
	store *Store
	etcd  *clientv3.Client
	txn   *state.Txn
	head  headRecord
	// id is the operation's.
	id       string
	compares []clientv3.Cmp
	then     []clientv3.Op
	// otherwise asks for what tells why the comparisons failed: head, last operation, fence.
	otherwise []clientv3.Op
	// uncertain tells that an attempt was made whose outcome is not known.
	uncertain bool
	// loads is the store's count when the commit began.
	loads int64
}

func (c *commit) build(seen witness) {
	k, gen := c.store.keys, c.head.Generation
	c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(k.head()), "=", c.head.revision))
	if seen.Key != "" && seen.Key != k.head() {
		// What was seen cannot be older now, unless etcd is an older copy of itself.
		c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(seen.Key), ">", seen.Revision-1))
	}
	for _, cmp := range c.txn.Compares {
		key := k.object(gen, cmp.Key)
		if cmp.AnyRevision {
			c.compares = append(c.compares, clientv3.Compare(clientv3.CreateRevision(key), ">", 0))
		} else {
			c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(key), "=", c.head.lower(cmp.Revision)))
		}
	}
	c.otherwise = []clientv3.Op{clientv3.OpGet(k.head()), clientv3.OpGet(k.op(c.store.options.NodeName))}
	if f, ok := c.txn.Fence.(state.KeyedFence); ok {
		key, revision := f.Proof()
		c.compares = append(c.compares, clientv3.Compare(clientv3.CreateRevision(key), "=", revision))
		c.otherwise = append(c.otherwise, clientv3.OpGet(key))
	}
	for _, w := range c.txn.Writes {
		key := k.object(gen, w.Key)
		if w.Object == nil {
			c.then = append(c.then, clientv3.OpDelete(key))
		} else {
			c.then = append(c.then, clientv3.OpPut(key, string(w.Data)))
		}
	}
	if len(c.then) > 0 {
		c.then = append(c.then, clientv3.OpPut(k.op(c.store.options.NodeName), c.id))
	}
}

// run repeats the transaction until its outcome is known or ctx ends.
func (c *commit) run(ctx context.Context) (int64, error) {
	for {
		if f := c.txn.Fence; f != nil && f.Over() && !c.uncertain {
			return 0, fmt.Errorf("%w; nothing was changed", state.ErrFenced)
		}
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		r, err := c.etcd.Txn(attempt).If(c.compares...).Then(c.then...).Else(c.otherwise...).Commit()
		cancel()
		if err == nil {
			return c.answer(ctx, r)
		}
		if refused := refusal(err); refused != nil {
			if !c.uncertain {
				return 0, refused
			}
		} else if len(c.then) > 0 {
			c.uncertain = true
		}
		if pauseErr := sleep(ctx, retryPause); pauseErr != nil {
			return 0, c.outcome(err)
		}
	}
}

// outcome is what is known when time is up.
func (c *commit) outcome(err error) error {
	if c.uncertain {
		return fmt.Errorf("%w: the change was sent, but %v; look whether it was made before trying again", state.ErrUnknown, etcdError(err))
	}
	return unavailable(etcdError(err))
}

// refusal returns the error for an answer that says that the transaction was not made and will not be; nil for one
// that leaves it open.
func refusal(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return state.Errorf(state.ErrTooLarge, state.Key{}, "", "the change is larger than etcd allows")
	case errors.Is(err, rpctypes.ErrNoSpace), errors.Is(err, rpctypes.ErrTooManyRequests),
		errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrAuthFailed):
		return unavailable(etcdError(err))
	}
	switch s, _ := status.FromError(err); s.Code() {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return unavailable(etcdError(err))
	}
	return nil
}

// answer reads etcd's answer.
func (c *commit) answer(ctx context.Context, r *clientv3.TxnResponse) (int64, error) {
	s := c.store
	if r.Succeeded {
		if len(c.then) == 0 {
			return c.txn.Base.Revision(), nil
		}
		revision := c.head.lift(r.Header.Revision)
		s.awaitVisible(ctx, revision)
		return revision, nil
	}
	if c.uncertain {
		if revision, made, err := c.wasMade(ctx, r); err != nil {
			return 0, err
		} else if made {
			return revision, nil
		}
	}
	if f, ok := c.txn.Fence.(state.KeyedFence); ok {
		_, revision := f.Proof()
		if kvs := r.Responses[2].GetResponseRange().GetKvs(); len(kvs) != 1 || kvs[0].CreateRevision != revision {
			return 0, fmt.Errorf("%w; nothing was changed", state.ErrFenced)
		}
	}
	if kvs := rangeOf(r, 0).GetKvs(); len(kvs) != 1 || kvs[0].ModRevision != c.head.revision {
		// The head is another one: the watch, or a comparison, will say what that means.
		s.kick()
	}
	return 0, s.conflict(ctx, c.txn)
}

func rangeOf(r *clientv3.TxnResponse, i int) *etcdserverpb.RangeResponse {
	return r.Responses[i].GetResponseRange()
}

// wasMade finds out whether an earlier attempt was made, now that a later one was refused: the answer names the
// last operation of this node at that moment, and everything before it has to pass through the watch.
func (c *commit) wasMade(ctx context.Context, r *clientv3.TxnResponse) (int64, bool, error) {
	s := c.store
	kvs := rangeOf(r, 1).GetKvs()
	if len(kvs) == 0 {
		return 0, false, nil
	}
	last := kvs[0]
	revision := c.head.lift(last.ModRevision)
	if string(last.Value) == c.id {
		s.awaitVisible(ctx, revision)
		return revision, true, nil
	}
	if !s.awaitRevision(ctx, revision) {
		return 0, false, fmt.Errorf("%w: the change was sent, and etcd cannot be asked whether it was made", state.ErrUnknown)
	}
	s.mu.Lock()
	revision, made := s.mine[c.id]
	s.mu.Unlock()
	if !made && s.loads.Load() != c.loads {
		// The replica was loaded anew in between, which passes over operations.
		return 0, false, fmt.Errorf("%w: the change was sent, and its trace was lost when the state was loaded again", state.ErrUnknown)
	}
	return revision, made, nil
}

// conflict returns ErrConflict once the replica is newer than the transaction's base.
func (s *Store) conflict(ctx context.Context, t *state.Txn) error {
	if s.awaitRevision(ctx, t.Base.Revision()+1) {
		return state.ErrConflict
	}
	if err := context.Cause(ctx); errors.Is(err, context.Canceled) {
		return err
	}
	return unavailable("the replica does not catch up with etcd")
}

// awaitRevision waits until the replica has at least the revision, and has it compared with etcd if that takes long.
func (s *Store) awaitRevision(ctx context.Context, revision int64) bool {
	for {
		patience, cancel := context.WithTimeout(ctx, lagPatience)
		_, err := s.Wait(patience, revision-1)
		cancel()
		switch {
		case err == nil:
			return true
		case ctx.Err() != nil || s.closed.Load():
			return false
		}
		s.kick()
	}
}

// awaitVisible waits until this node sees a change that is made. If it cannot within the time of a request, the
// change is still made, which is what the caller has to be told.
func (s *Store) awaitVisible(ctx context.Context, revision int64) {
	if s.Snapshot().Revision() >= revision {
		return
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
	defer cancel()
	if !s.awaitRevision(bounded, revision) {
		s.log.Warn("a change was made, but this node does not see it yet", zap.Int64("revision", revision))
	}
}
