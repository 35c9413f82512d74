package etcdstore

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/state"
)

// Limits of sweeping: one deletion of hundreds of thousands of keys keeps all writers of etcd waiting for a second.
const (
	sweepKeys  = 500
	sweepPause = 20 * time.Millisecond
	// sweepEvery is how often the duty looks for what nobody needs; restores wake it too.
	sweepEvery = 10 * time.Minute
)

// SweepDuty removes, while the term lasts, generations that no restore will put in force any more.
func (s *Store) SweepDuty(ctx context.Context, fence state.Fence) error {
	generation := int64(-1)
	for {
		if head := s.Snapshot().Head(); head.Generation != generation || generation < 0 {
			generation = head.Generation
		}
		if s.Health().Healthy {
			if _, err := s.Sweep(ctx, fence); err != nil && ctx.Err() == nil {
				return err
			}
		}
		if err := s.awaitGeneration(ctx, generation); err != nil {
			return nil
		}
	}
}

// awaitGeneration returns when another generation is in force, or it is time to look again.
func (s *Store) awaitGeneration(ctx context.Context, generation int64) error {
	period, cancel := context.WithTimeout(ctx, jittered(sweepEvery))
	defer cancel()
	for snapshot := s.Snapshot(); ; {
		if snapshot.Head().Generation != generation {
			// Others are loading it now. They come first.
			return sleep(ctx, time.Second)
		}
		next, err := s.Wait(period, snapshot.Revision())
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case period.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		snapshot = next
	}
}

// Sweep removes the generations that are neither in force nor being written, in small steps with pauses, as long as
// the fence holds, and returns how many keys those were.
func (s *Store) Sweep(ctx context.Context, fence state.Fence) (int64, error) {
	etcd, err := s.client()
	if err != nil {
		return 0, unavailable(err)
	}
	removed, from := int64(0), s.keys.generations()
	end := clientv3.GetPrefixRangeEnd(s.keys.generations())
	for {
		r, err := s.get(ctx, etcd, from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil {
			return removed, etcdError(err)
		}
		if len(r.Kvs) == 0 {
			return removed, nil
		}
		gen, ok := s.keys.generationOf(string(r.Kvs[0].Key))
		if !ok {
			return removed, fmt.Errorf("the key %q in etcd belongs to no generation", r.Kvs[0].Key)
		}
		n, err := s.sweepGeneration(ctx, etcd, gen, fence)
		removed += n
		if err != nil {
			return removed, err
		}
		from = clientv3.GetPrefixRangeEnd(s.keys.gen(gen))
	}
}

// sweepGeneration removes one generation if nobody needs it. Each step checks that again.
func (s *Store) sweepGeneration(ctx context.Context, etcd *clientv3.Client, gen int64, fence state.Fence) (int64, error) {
	removed := int64(0)
	for {
		head, _, err := s.readHead(ctx, etcd)
		if err != nil || head == nil || head.Generation == gen {
			return removed, err
		}
		if fence.Over() {
			return removed, fmt.Errorf("%w; sweeping stopped", state.ErrFenced)
		}
		prefix := s.keys.gen(gen)
		bounded, cancel := context.WithTimeout(ctx, s.timeout())
		r, err := etcd.Get(bounded, prefix, clientv3.WithPrefix(), clientv3.WithLimit(sweepKeys), clientv3.WithKeysOnly())
		if err == nil && len(r.Kvs) > 0 {
			compares := []clientv3.Cmp{
				clientv3.Compare(clientv3.ModRevision(s.keys.head()), "=", head.revision),
				clientv3.Compare(clientv3.CreateRevision(s.keys.staging(gen)), "=", 0),
			}
			if f, ok := fence.(state.KeyedFence); ok {
				key, revision := f.Proof()
				compares = append(compares, clientv3.Compare(clientv3.CreateRevision(key), "=", revision))
			}
			last := string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
			var t *clientv3.TxnResponse
			t, err = etcd.Txn(bounded).If(compares...).Then(clientv3.OpDelete(prefix, clientv3.WithRange(last))).Commit()
			if err == nil && !t.Succeeded {
				cancel()
				return removed, nil // it is being written, or the term is over
			}
		}
		cancel()
		switch {
		case err != nil:
			return removed, etcdError(err)
		case len(r.Kvs) == 0:
			return removed, nil
		}
		removed += int64(len(r.Kvs))
		if err := sleep(ctx, sweepPause); err != nil {
			return removed, err
		}
	}
}
