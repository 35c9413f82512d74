package etcdstore

import (
	"fmt"

	"statiko/state"
)

// replica is what the newest snapshot has beside its objects: how it stands to etcd. Only the goroutine that follows
// etcd changes it.
type replica struct {
	// head is the snapshot's; its ID is "" until something was loaded.
	head headRecord
	// seen is the newest operation, of any node, that is in the snapshot.
	seen witness
	// reached is etcd's revision up to which everything is in the snapshot; it runs ahead of the snapshot's own, which
	// counts changes of the state only, so that all nodes have the same.
	reached int64
	// cut is the revision of this node's cut key, see commit.
	cut int64
}

// witness is an operation, or the head, that was seen in etcd: what was at Revision under Key stays there for ever
// in this history, until it is compacted.
type witness struct {
	Key      string `json:"key"`
	Revision int64  `json:"revision"`
	Value    string `json:"value"`
}

// replica returns how the newest snapshot stands to etcd, and why it must not follow etcd, nil if it may.
func (s *Store) replica() (replica, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.detached
}

// publish makes a snapshot the newest, and notes how it stands to etcd and the operations of this node that it has.
func (s *Store) publish(r replica, snapshot *state.Snapshot, mine []witness) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = r
	for _, w := range mine {
		s.remember(r.head, w)
	}
	if snapshot != s.Snapshot() {
		s.Publish(snapshot)
	}
}

// maxMine bounds how many operations are remembered: more than can be under way at once.
const maxMine = 4096

// remember notes an operation of this node that the watch has brought. s.mu is held.
func (s *Store) remember(head headRecord, w witness) {
	s.mine[w.Value] = head.lift(w.Revision)
	s.order = append(s.order, w.Value)
	if len(s.order) > maxMine {
		delete(s.mine, s.order[0])
		s.order = s.order[1:]
	}
}

// detachedError says why the replica must not follow etcd.
type detachedError struct{ reason string }

func (e *detachedError) Error() string {
	return "detached: " + e.reason + `; the node serves on. "stkcli store accept" takes what etcd has, "stkcli state set" puts a backup there`
}

func detached(format string, args ...any) error { return &detachedError{fmt.Sprintf(format, args...)} }
