package state

import (
	"fmt"
	"sort"
)

// Limits of one transaction, which are etcd's (128 comparisons, 128 operations, 1.5 MiB a request) less what a
// backend adds of its own: comparing head, fence and what repetitions of a transaction leave, writing the operation's id and
// such a trace.
const (
	MaxCompares = 124
	MaxWrites   = 126
	MaxTxnBytes = 1 << 20
)

// Compare is one condition of a transaction.
type Compare struct {
	Key Key
	// Revision is that of the key's last change; 0 means that it does not exist.
	Revision int64
	// AnyRevision asks only that the key exists; Revision is ignored.
	AnyRevision bool
}

// Write is one change of a transaction.
type Write struct {
	Key Key
	// Object is what to store; nil deletes.
	Object Object
	// Data is Object's JSON, made once.
	Data []byte
}

// Txn is a conditional change: the writes are made together if all compares hold and the fence does.
type Txn struct {
	// Base is the snapshot that the transaction was made from.
	Base *Snapshot
	// Compares and Writes are sorted by key.
	Compares []Compare
	Writes   []Write
	// Fence, when not nil, must hold as well.
	Fence Fence
}

// Holds tells whether every compare holds in s. The fence is not looked at.
func (t *Txn) Holds(s *Snapshot) bool {
	for _, c := range t.Compares {
		rev := s.RevisionOf(c.Key)
		if c.AnyRevision && rev == 0 || !c.AnyRevision && rev != c.Revision {
			return false
		}
	}
	return true
}

// Apply makes the writes on b at the revision.
func (t *Txn) Apply(b *Builder, revision int64) {
	for _, w := range t.Writes {
		if w.Object == nil {
			b.Delete(w.Key, revision)
		} else {
			b.Put(w.Object, revision)
		}
	}
}

// txn makes the draft's transaction.
func (d *Draft) txn(fence Fence) (*Txn, error) {
	t := &Txn{Base: d.base, Fence: fence}
	for k, rev := range d.reads {
		t.Compares = append(t.Compares, Compare{Key: k, Revision: rev})
	}
	for k := range d.exist {
		if _, strict := d.reads[k]; !strict {
			t.Compares = append(t.Compares, Compare{Key: k, AnyRevision: true})
		}
	}
	size := 0
	for k, o := range d.writes {
		w := Write{Key: k, Object: o}
		if o != nil {
			var err error
			if w.Data, err = o.MarshalJSON(); err != nil {
				return nil, fmt.Errorf("encode %s: %w", k, err)
			}
		}
		size += len(k.Kind) + len(k.Name) + len(w.Data)
		t.Writes = append(t.Writes, w)
	}
	sort.Slice(t.Compares, func(i, j int) bool { return less(t.Compares[i].Key, t.Compares[j].Key) })
	sort.Slice(t.Writes, func(i, j int) bool { return less(t.Writes[i].Key, t.Writes[j].Key) })
	switch {
	case len(t.Compares) > MaxCompares:
		return nil, Errorf(ErrTooLarge, Key{}, "", "the change depends on %d objects; at most %d are possible in one", len(t.Compares), MaxCompares)
	case len(t.Writes) > MaxWrites:
		return nil, Errorf(ErrTooLarge, Key{}, "", "the change writes %d objects; at most %d are possible in one", len(t.Writes), MaxWrites)
	case size > MaxTxnBytes:
		return nil, Errorf(ErrTooLarge, Key{}, "", "the change has %d bytes; at most %d are possible in one", size, MaxTxnBytes)
	}
	return t, nil
}

func less(a, b Key) bool {
	if a.Kind != b.Kind {
		return a.Kind < b.Kind
	}
	return a.Name < b.Name
}
