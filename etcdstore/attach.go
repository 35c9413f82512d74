package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"statiko/state"
)

// detachedError says why the replica must not follow etcd.
type detachedError struct{ reason string }

func (e *detachedError) Error() string {
	return "detached: " + e.reason + `; the node serves on. "stkcli store accept" takes what etcd has, "stkcli state set" puts a backup there`
}

func detached(format string, args ...any) error { return &detachedError{fmt.Sprintf(format, args...)} }

// attach makes sure that what etcd has continues what the replica has, and loads what is missing.
func (s *Store) attach(ctx context.Context, etcd *clientv3.Client) error {
	ours, _, _ := s.replica()
	theirs, revision, err := s.readHead(ctx, etcd)
	if err == nil && theirs == nil {
		if ours.ID != "" {
			err = detached("etcd has no state, this node has one (revision %d)", s.Snapshot().Revision())
		} else {
			theirs, revision, err = s.createHead(ctx, etcd)
		}
	}
	if err == nil {
		err = s.checkKey(theirs.KeyID)
	}
	if err == nil && ours.ID != "" {
		err = s.continues(ctx, etcd, ours, *theirs, revision)
	}
	var d *detachedError
	s.mu.Lock()
	s.detached = nil
	if errors.As(err, &d) {
		s.detached = d
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if ours.same(*theirs) {
		if s.resumable(ctx, etcd) {
			return nil
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
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	r, err := etcd.Get(ctx, s.keys.head())
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
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	r, err := etcd.Txn(bounded).If(clientv3.Compare(clientv3.ModRevision(s.keys.head()), "=", 0)).
		Then(clientv3.OpPut(s.keys.head(), value)).Commit()
	if err != nil {
		return nil, 0, err
	}
	if r.Succeeded {
		s.log.Info("began a new state in etcd", zap.String("prefix", s.options.Prefix))
	}
	return s.readHead(ctx, etcd)
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
	return fmt.Errorf("%w: the state in etcd has the key id %s, secretsEncryptionKey of this node has %s; give all nodes the same key, or name the other one in secretsEncryptionOldKeys",
		state.ErrForeignKey, id, s.options.KeyID)
}

// continues returns nil if etcd's history goes on from what the replica knows, or an administrator has decided that
// it is in force; otherwise a [detachedError].
func (s *Store) continues(ctx context.Context, etcd *clientv3.Client, ours, theirs headRecord, revision int64) error {
	if theirs.Epoch > ours.Epoch {
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
	_, seen, _ := s.replica()
	if seen.Key == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	r, err := etcd.Get(ctx, seen.Key, clientv3.WithRev(seen.Revision))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return s.noneNewer(ctx, etcd, seen)
	case err != nil:
		return err
	case len(r.Kvs) != 1 || r.Kvs[0].ModRevision != seen.Revision || string(r.Kvs[0].Value) != seen.Value:
		return detached("etcd went on from an older copy of itself: what this node saw at revision %d is not there", seen.Revision)
	}
	return nil
}

// noneNewer stands in for the witness when its revision was compacted: the key itself must not be older now.
func (s *Store) noneNewer(ctx context.Context, etcd *clientv3.Client, seen witness) error {
	r, err := etcd.Get(ctx, seen.Key)
	if err != nil {
		return err
	}
	if len(r.Kvs) == 1 && r.Kvs[0].ModRevision == seen.Revision && string(r.Kvs[0].Value) != seen.Value ||
		len(r.Kvs) == 0 || r.Kvs[0].ModRevision < seen.Revision {
		return detached("etcd has an older copy of the key %s than this node saw at revision %d", seen.Key, seen.Revision)
	}
	return nil
}

// resumable tells whether the watch can go on from the replica's revision.
func (s *Store) resumable(ctx context.Context, etcd *clientv3.Client) bool {
	if !s.followed.Load() {
		return false
	}
	head, _, _ := s.replica()
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	_, err := etcd.Get(ctx, s.keys.head(), clientv3.WithRev(head.lower(s.Snapshot().Revision())), clientv3.WithCountOnly())
	return err == nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
