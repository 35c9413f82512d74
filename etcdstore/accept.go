package etcdstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/state"
)

// Accept decides, for a detached store, that what etcd has now is in force, even if that is nothing, and frees every
// node. It returns the revision. A store that is not detached is left as it is. Errors as in [state.Store.Update].
func (s *Store) Accept(ctx context.Context) (int64, error) {
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	ours, detached := s.replica()
	if detached == nil {
		if h := s.Health(); !h.Healthy {
			return 0, unavailable(h.Reason)
		}
		return s.Snapshot().Revision(), nil
	}
	etcd, err := s.client()
	if err != nil {
		return 0, unavailable(err)
	}
	head, _, err := s.readHead(ctx, etcd)
	if err != nil {
		return 0, unavailable(etcdError(err))
	}
	if head == nil {
		fresh := newHead(s.options.KeyID)
		head = &fresh
	}
	if err := head.changeable(); err != nil {
		return 0, err
	}
	if err := s.checkKey(head.KeyID); err != nil {
		return 0, err
	}
	next := head.decided(ours.head)
	value, err := next.encode()
	if err != nil {
		return 0, err
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	r, err := etcd.Txn(bounded).If(clientv3.Compare(clientv3.ModRevision(s.keys.head()), "=", head.revision)).
		Then(clientv3.OpPut(s.keys.head(), value), clientv3.OpPut(s.keys.op(s.options.NodeName), rand.Text())).Commit()
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: the decision was sent, but %v; look at the status", state.ErrUnknown, etcdError(err))
	case !r.Succeeded:
		return 0, state.Errorf(state.ErrConflict, state.Key{}, "", "somebody else decided at the same moment; look at the status and try again")
	}
	revision := next.lift(r.Header.Revision)
	s.settle(ctx, revision)
	return revision, nil
}

// settle waits, after a decision, until this node follows etcd again; as [Store.awaitVisible], not for ever.
func (s *Store) settle(ctx context.Context, revision int64) {
	s.kick()
	s.awaitVisible(ctx, revision)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
	defer cancel()
	for !s.Health().Healthy && sleep(ctx, settlePause) == nil {
	}
}

const settlePause = 20 * time.Millisecond
