package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/state"
)

// Times of a commit.
const (
	// firstAttempt bounds the first attempt; the next ones have more time.
	firstAttempt = 1500 * time.Millisecond
	// retryPause is between attempts.
	retryPause = 50 * time.Millisecond
	// lagPatience is how long the watch may take to bring a change that is known to be made, before the replica
	// is compared with etcd.
	lagPatience = time.Second
)

// maxCompares is etcd's limit of comparisons in one transaction.
const maxCompares = 128

// Commit is [state.Committer]'s. Until the timeout it repeats the identical transaction: a transaction that was cut
// off may have been made, or be made later, and looking once proves nothing. When a repetition's comparisons fail,
// the operations of this node that the watch has brought up to that moment tell whether the first one did it.
//
// Of all attempts, which may be under way somewhere for long, at most one is made. A repetition, whether it is made or
// refused, changes this node's cut key, which each attempt compares: what was sent before it cannot be made any more. And
// a repetition is made only if this node's last operation is still from before the first attempt, which would have changed
// it: otherwise, what somebody else has undone since would come back.
func (s *Store) Commit(ctx context.Context, t *state.Txn) (int64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	if h := s.Health(); !h.Healthy {
		return 0, unavailable(h.Reason)
	}
	etcd, err := s.client()
	if err != nil {
		return 0, unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	now, detached := s.replica()
	switch {
	case detached != nil:
		return 0, unavailable(detached)
	case now.head.state() != t.Base.Head():
		return 0, s.conflict(ctx, t)
	case len(t.Writes) > 0:
		if err := now.head.changeable(); err != nil {
			return 0, err
		}
	}
	c := commit{store: s, etcd: etcd, txn: t, id: rand.Text(), head: now.head, loads: s.loads.Load()}
	c.build(now)
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
	// reached is etcd's revision before the first attempt, up to which the operations of this node are known.
	reached int64
}

func (c *commit) build(now replica) {
	k, gen, node := c.store.keys, c.head.Generation, c.store.options.NodeName
	c.reached = now.reached
	c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(k.head()), "=", c.head.revision),
		clientv3.Compare(clientv3.ModRevision(k.cut(node)), "=", now.cut))
	for _, cmp := range c.txn.Compares {
		key := k.object(gen, cmp.Key)
		if cmp.AnyRevision {
			c.compares = append(c.compares, clientv3.Compare(clientv3.CreateRevision(key), ">", 0))
		} else {
			c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(key), "=", c.head.lower(cmp.Revision)))
		}
	}
	c.otherwise = []clientv3.Op{clientv3.OpGet(k.head()), clientv3.OpGet(k.op(node))}
	if f, ok := c.txn.Fence.(state.KeyedFence); ok {
		key, revision := f.Proof()
		c.compares = append(c.compares, clientv3.Compare(clientv3.CreateRevision(key), "=", revision))
		c.otherwise = append(c.otherwise, clientv3.OpGet(key))
	}
	if seen := now.seen; seen.Key != "" && seen.Key != k.head() && len(c.compares) < maxCompares-1 {
		// What was seen cannot be older now, unless etcd is an older copy of itself.
		c.compares = append(c.compares, clientv3.Compare(clientv3.ModRevision(seen.Key), ">", seen.Revision-1))
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
		c.then = append(c.then, clientv3.OpPut(k.op(node), c.id))
	}
}

// run repeats the transaction until its outcome is known or ctx ends.
func (c *commit) run(ctx context.Context) (int64, error) {
	for try := 0; ; try++ {
		if f := c.txn.Fence; f != nil && f.Over() && !c.uncertain {
			return 0, fmt.Errorf("%w; nothing was changed", state.ErrFenced)
		}
		r, err := c.attempt(ctx, try)
		if err == nil {
			return c.answer(ctx, r)
		}
		if errors.Is(err, rpctypes.ErrNoSpace) {
			c.store.setHealth(errNoSpace)
		}
		refused := refusal(err)
		if refused != nil && !c.uncertain {
			return 0, refused
		}
		if refused == nil && !notSent(err) && len(c.then) > 0 {
			c.uncertain = true
		}
		if h := c.store.Health(); !c.uncertain && !h.Healthy {
			return 0, unavailable(h.Reason)
		}
		if try == 0 {
			// The replica's own look at etcd tells the updates that come next.
			c.store.kick()
		}
		if sleep(ctx, retryPause) != nil {
			return 0, c.outcome(err)
		}
	}
}

// attempt sends the transaction. A member that hangs must leave time to ask another.
func (c *commit) attempt(ctx context.Context, try int) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, min(firstAttempt<<min(try, 4), maxPatience))
	defer cancel()
	compares, then, otherwise := c.compares, c.then, c.otherwise
	if c.uncertain {
		k, node := c.store.keys, c.store.options.NodeName
		cut := clientv3.OpPut(k.cut(node), c.id)
		compares = append(slices.Clip(compares), clientv3.Compare(clientv3.ModRevision(k.op(node)), "<", c.reached+1))
		then, otherwise = append(slices.Clip(then), cut), append(slices.Clip(otherwise), cut)
	}
	return c.etcd.Txn(ctx).If(compares...).Then(then...).Else(otherwise...).Commit()
}

// outcome is what is known when time is up. Whatever it is, etcd is not as it should be.
func (c *commit) outcome(err error) error {
	c.store.kick()
	if c.uncertain {
		return fmt.Errorf("%w: the change was sent, but %v; look whether it was made before trying again", state.ErrUnknown, etcdError(err))
	}
	return unavailable(etcdError(err))
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
	if revision, made, err := c.wasMade(ctx, rangeOf(r, 1)); err != nil || made {
		return revision, err
	}
	if f, ok := c.txn.Fence.(state.KeyedFence); ok {
		_, revision := f.Proof()
		if kvs := rangeOf(r, 2); len(kvs) != 1 || kvs[0].CreateRevision != revision {
			return 0, fmt.Errorf("%w; nothing was changed", state.ErrFenced)
		}
	}
	if kvs := rangeOf(r, 0); len(kvs) != 1 || kvs[0].ModRevision != c.head.revision {
		// The head is another one: the watch, or a comparison, will say what that means.
		s.kick()
	}
	return 0, s.conflict(ctx, c.txn)
}

func rangeOf(r *clientv3.TxnResponse, i int) []*mvccpb.KeyValue {
	return r.Responses[i].GetResponseRange().GetKvs()
}

// wasMade finds out whether an earlier attempt was made, now that a later one was refused: the answer names the
// last operation of this node at that moment, and everything before it has to pass through the watch.
func (c *commit) wasMade(ctx context.Context, ops []*mvccpb.KeyValue) (int64, bool, error) {
	s := c.store
	if len(ops) == 0 {
		return 0, false, nil
	}
	revision := c.head.lift(ops[0].ModRevision)
	if string(ops[0].Value) == c.id {
		// Even without an uncertain attempt of ours: etcd's client may have made two of one.
		s.awaitVisible(ctx, revision)
		return revision, true, nil
	}
	if !c.uncertain {
		return 0, false, nil
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
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
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
		case ctx.Err() != nil:
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
