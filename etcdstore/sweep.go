package etcdstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"statiko/state"
)

// Limits of sweeping: one deletion of hundreds of thousands of keys keeps all writers of etcd waiting for a second.
const (
	sweepKeys  = 500
	sweepPage  = 40 * sweepKeys
	sweepPause = 20 * time.Millisecond
	// sweepEvery is how often the duty looks for what nobody needs; restores wake it too.
	sweepEvery = 10 * time.Minute
	// sweepAgain is how soon it looks again if a restore that is being written was passed over: its writer may be gone,
	// and what it wrote takes space.
	sweepAgain = (stagingTTL + 5) * time.Second
	// sweepSoon is how soon it looks again if etcd took no changes when it looked.
	sweepSoon = 3 * time.Second
)

// SweepDuty removes, while the term lasts, generations that no restore will put in force any more.
func (s *Store) SweepDuty(ctx context.Context, fence state.Fence) error {
	for {
		generation, next := s.Snapshot().Head().Generation, sweepSoon
		if s.Health().Healthy {
			_, left, err := s.sweep(ctx, fence)
			if err != nil && ctx.Err() == nil {
				return err
			}
			if next = sweepEvery; left {
				next = s.sweepAgain
			}
		}
		if err := s.awaitGeneration(ctx, generation, next); err != nil {
			return nil
		}
	}
}

// awaitGeneration returns when another generation is in force, or it is time to look again.
func (s *Store) awaitGeneration(ctx context.Context, generation int64, next time.Duration) error {
	period, cancel := context.WithTimeout(ctx, jittered(next))
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
	removed, _, err := s.sweep(ctx, fence)
	return removed, err
}

// sweep is Sweep; left tells that a generation was passed over.
func (s *Store) sweep(ctx context.Context, fence state.Fence) (removed int64, left bool, err error) {
	etcd, err := s.client()
	if err != nil {
		return 0, false, unavailable(err)
	}
	// etcd walks over all keys of what it is asked for. Those in force are many, and not asked for.
	all, now := s.keys.generations(), s.keys.gen(s.Snapshot().Head().Generation)
	for _, part := range [][2]string{{all, now}, {clientv3.GetPrefixRangeEnd(now), clientv3.GetPrefixRangeEnd(all)}} {
		n, passed, err := s.sweepRange(ctx, etcd, part[0], part[1], fence)
		removed, left = removed+n, left || passed
		if err != nil {
			return removed, left, err
		}
	}
	return removed, left, nil
}

// sweepRange removes the generations whose keys are in the range.
func (s *Store) sweepRange(ctx context.Context, etcd *clientv3.Client, from, end string, fence state.Fence) (removed int64, left bool, err error) {
	for {
		r, err := s.get(ctx, etcd, from, clientv3.WithRange(end), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil {
			return removed, left, etcdError(err)
		}
		if len(r.Kvs) == 0 {
			return removed, left, nil
		}
		gen, ok := s.keys.generationOf(string(r.Kvs[0].Key))
		if !ok {
			return removed, left, fmt.Errorf("the key %q in etcd belongs to no generation", r.Kvs[0].Key)
		}
		n, done, err := s.sweepGeneration(ctx, etcd, gen, fence)
		removed, left = removed+n, left || !done
		if err != nil {
			return removed, left, err
		}
		from = clientv3.GetPrefixRangeEnd(s.keys.gen(gen))
	}
}

// sweepGeneration removes one generation if nobody needs it, and tells whether it did. Each step checks that again. What
// the generation is known to have goes first; then etcd is asked what is left.
func (s *Store) sweepGeneration(ctx context.Context, etcd *clientv3.Client, gen int64, fence state.Fence) (removed int64, done bool, err error) {
	for step := range s.formerSteps(gen) {
		n, done, err := s.sweepStep(ctx, etcd, gen, fence, step.first, step.end)
		if removed += n; err != nil || !done {
			return removed, false, err
		}
		if err := sleep(ctx, sweepPause); err != nil {
			return removed, false, err
		}
	}
	from, end := s.keys.gen(gen), clientv3.GetPrefixRangeEnd(s.keys.gen(gen))
	for {
		// For each page etcd counts all keys that are left, so there must be few; what is removed is passed over, as
		// it stays in etcd's index until it is compacted.
		r, err := s.get(ctx, etcd, from, clientv3.WithRange(end), clientv3.WithLimit(sweepPage), clientv3.WithKeysOnly())
		if err != nil {
			return removed, false, etcdError(err)
		}
		for step := range slices.Chunk(r.Kvs, sweepKeys) {
			first, last := string(step[0].Key), string(step[len(step)-1].Key)+"\x00"
			n, done, err := s.sweepStep(ctx, etcd, gen, fence, first, last)
			if removed += n; err != nil || !done {
				return removed, false, err
			}
			from = last
			if err := sleep(ctx, sweepPause); err != nil {
				return removed, false, err
			}
		}
		if !r.More {
			s.forgetFormer(gen)
			return removed, true, nil
		}
	}
}

// sweepStep removes the keys of a generation from first to before last, and returns how many those were; false if
// somebody needs them or the term is over.
func (s *Store) sweepStep(ctx context.Context, etcd *clientv3.Client, gen int64, fence state.Fence, first, last string) (int64, bool, error) {
	head, _, err := s.readHead(ctx, etcd)
	if err != nil || head == nil || head.Generation == gen {
		return 0, false, err
	}
	if fence.Over() {
		return 0, false, fmt.Errorf("%w; sweeping stopped", state.ErrFenced)
	}
	compares := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(s.keys.head()), "=", head.revision),
		clientv3.Compare(clientv3.CreateRevision(s.keys.staging(gen)), "=", 0),
	}
	if f, ok := fence.(state.KeyedFence); ok {
		key, revision := f.Proof()
		compares = append(compares, clientv3.Compare(clientv3.CreateRevision(key), "=", revision))
	}
	bounded, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	t, err := etcd.Txn(bounded).If(compares...).Then(clientv3.OpDelete(first, clientv3.WithRange(last))).Commit()
	if err != nil {
		return 0, false, etcdError(err)
	}
	if !t.Succeeded {
		return 0, false, nil
	}
	return t.Responses[0].GetResponseDeleteRange().Deleted, true, nil
}
