package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/state"
)

// attach makes sure that what etcd has continues what the replica has, and loads what is missing.
func (s *Store) attach(ctx context.Context, etcd *clientv3.Client) error {
	err := s.catchUp(ctx, etcd)
	var d *detachedError
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detached = nil
	if errors.As(err, &d) {
		s.detached = d
	}
	return err
}

func (s *Store) catchUp(ctx context.Context, etcd *clientv3.Client) error {
	now, _ := s.replica()
	ours := now.head
	theirs, revision, err := s.readHead(ctx, etcd)
	if err != nil {
		return err
	}
	if theirs == nil {
		if ours.ID != "" {
			return detached("etcd has no state, this node has one (revision %d)", s.Snapshot().Revision())
		}
		if theirs, revision, err = s.createHead(ctx, etcd); err != nil {
			return err
		}
	}
	if err := s.checkKey(theirs.KeyID); err != nil {
		return err
	}
	if ours.ID != "" {
		if err := s.continues(ctx, etcd, now, *theirs, revision); err != nil {
			return err
		}
	}
	if ours.same(*theirs) {
		if ok, err := s.resumable(ctx, etcd, now); ok || err != nil {
			return err
		}
	} else if ours.ID != "" {
		if err := sleep(ctx, rand.N(reloadJitter)); err != nil {
			return err
		}
	}
	return s.load(ctx, etcd)
}

// readHead returns the head, nil if there is none, and etcd's revision.
func (s *Store) readHead(ctx context.Context, etcd *clientv3.Client) (*headRecord, int64, error) {
	r, err := s.get(ctx, etcd, s.keys.head())
	if err != nil {
		return nil, 0, err
	}
	if len(r.Kvs) == 0 {
		return nil, r.Header.Revision, nil
	}
	h, err := decodeHead(r.Kvs[0])
	return &h, r.Header.Revision, err
}

// createHead begins a new, empty state, unless another node did in the meantime.
func (s *Store) createHead(ctx context.Context, etcd *clientv3.Client) (*headRecord, int64, error) {
	value, err := newHead(s.options.KeyID).encode()
	if err != nil {
		return nil, 0, err
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	r, err := etcd.Txn(bounded).If(clientv3.Compare(clientv3.ModRevision(s.keys.head()), "=", 0)).
		Then(clientv3.OpPut(s.keys.head(), value)).Commit()
	if err != nil {
		return nil, 0, err
	}
	if r.Succeeded {
		s.log.Info("began a new state in etcd", zap.String("prefix", s.options.Prefix))
	}
	head, revision, err := s.readHead(ctx, etcd)
	if err == nil && head == nil {
		err = errors.New("the head is gone from etcd")
	}
	return head, revision, err
}

// checkKey refuses a state whose secrets this node cannot open.
func (s *Store) checkKey(id string) error {
	if s.options.KeyID == "" || id == "" || id == s.options.KeyID {
		return nil
	}
	for _, known := range s.options.KnownKeyIDs {
		if id == known {
			return nil
		}
	}
	return fmt.Errorf("%w: its key has the id %s, secretsEncryptionKey of this node has %s; give all nodes the same key, or name the other one in secretsEncryptionOldKeys",
		state.ErrForeignKey, id, s.options.KeyID)
}

// continues returns nil if etcd's history goes on from what the replica knows, or an administrator has decided that
// it is in force; otherwise a [detachedError].
func (s *Store) continues(ctx context.Context, etcd *clientv3.Client, now replica, theirs headRecord, revision int64) error {
	ours := now.head
	if theirs.supersedes(ours) {
		s.log.Warn("an administrator decided which state is in force; this node takes it", zap.Int64("epoch", theirs.Epoch))
		return nil
	}
	known := ours.lower(s.Snapshot().Revision())
	switch {
	case theirs.ID != ours.ID:
		return detached("etcd has another state than this node")
	case theirs.Epoch < ours.Epoch || theirs.Generation < ours.Generation || revision < known:
		return detached("etcd has an older state (revision %d, epoch %d, generation %d) than this node (revision %d, epoch %d, generation %d)",
			revision, theirs.Epoch, theirs.Generation, known, ours.Epoch, ours.Generation)
	}
	seen := now.seen
	if seen.Key == "" {
		return nil
	}
	r, err := s.get(ctx, etcd, seen.Key, clientv3.WithRev(seen.Revision))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return s.noneOlder(ctx, etcd, seen)
	case err != nil:
		return err
	case len(r.Kvs) != 1 || r.Kvs[0].ModRevision != seen.Revision || string(r.Kvs[0].Value) != seen.Value:
		return detached("etcd went on from an older copy of itself: what this node saw at revision %d is not there", seen.Revision)
	}
	return nil
}

// noneOlder stands in for the witness when its revision was compacted: its key must not be older now. The objects are
// compared when they are loaded.
func (s *Store) noneOlder(ctx context.Context, etcd *clientv3.Client, seen witness) error {
	r, err := s.get(ctx, etcd, seen.Key)
	if err != nil {
		return err
	}
	if len(r.Kvs) == 1 && r.Kvs[0].ModRevision == seen.Revision && string(r.Kvs[0].Value) != seen.Value ||
		len(r.Kvs) == 0 || r.Kvs[0].ModRevision < seen.Revision {
		return detached("etcd has an older copy of the key %s than this node saw at revision %d", seen.Key, seen.Revision)
	}
	return nil
}

// resumable tells whether the watch can go on from where the replica is.
func (s *Store) resumable(ctx context.Context, etcd *clientv3.Client, now replica) (bool, error) {
	if !s.followed.Load() || s.reload.Load() {
		return false, nil
	}
	_, err := s.get(ctx, etcd, s.keys.head(), clientv3.WithRev(now.reached), clientv3.WithCountOnly())
	if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev) {
		return false, nil
	}
	return err == nil, err
}
