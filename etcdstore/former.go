package etcdstore

import (
	"iter"
	"time"

	"statiko/state"
)

// formerFor is how long a node remembers the generation that a restore took out of force: longer than whoever leads
// needs until it removes it.
const formerFor = 5 * time.Minute

// former is the last snapshot of a generation that is no longer in force. It tells a sweeper which keys are there,
// which spares etcd the reading: for each page, etcd walks over all keys that are left, and makes writers wait.
type former struct {
	head     state.Head
	snapshot *state.Snapshot
	forget   *time.Timer
}

// rememberFormer keeps the snapshot of a generation that was just taken out of force, for a while.
func (s *Store) rememberFormer(snapshot *state.Snapshot) {
	f := &former{head: snapshot.Head(), snapshot: snapshot}
	f.forget = time.AfterFunc(formerFor, func() { s.former.CompareAndSwap(f, nil) })
	s.replaceFormer(f)
}

// replaceFormer forgets the one that is remembered, for f or, with nil, for none.
func (s *Store) replaceFormer(f *former) {
	if old := s.former.Swap(f); old != nil {
		old.forget.Stop()
	}
}

// forgetFormer forgets a generation that is removed.
func (s *Store) forgetFormer(gen int64) {
	if f := s.former.Load(); f != nil && f.head.Generation == gen {
		s.replaceFormer(nil)
	}
}

// formerSteps yields the ranges of etcd's keys, from first to before end, that the generation is known to have: each
// of one kind, of at most sweepKeys keys, whose number is n.
func (s *Store) formerSteps(gen int64) iter.Seq[sweepRange] {
	return func(yield func(sweepRange) bool) {
		f := s.former.Load()
		if now, _ := s.replica(); f == nil || f.head.Generation != gen || f.head.ID != now.head.ID {
			return
		}
		var step sweepRange
		var kind state.Kind
		for k := range f.snapshot.Keys() {
			if !inGeneration(k.Kind) {
				continue
			}
			key := s.keys.object(gen, k)
			if step.n > 0 && (k.Kind != kind || step.n == sweepKeys) {
				if !yield(step) {
					return
				}
				step = sweepRange{}
			}
			if step.n == 0 {
				step.first, kind = key, k.Kind
			}
			step.n, step.end = step.n+1, key+"\x00"
		}
		if step.n > 0 {
			yield(step)
		}
	}
}

// sweepRange is a range of keys to remove with one request.
type sweepRange struct {
	first, end string
	n          int
}
