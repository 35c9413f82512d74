package state

import (
	"iter"
	"strings"

	"github.com/tidwall/btree"
)

// Head identifies a state: two snapshots with different heads are not versions of one another.
type Head struct {
	// ID is random, made when the state was first created; "" for a file.
	ID string
	// Epoch grows when an administrator decides which of two histories is in force.
	Epoch int64
	// Generation grows with each restore.
	Generation int64
	// KeyID names the encryption key that seals the secrets; "" if not known yet.
	KeyID string
}

// Snapshot is the state at one revision. It is immutable, safe for concurrent use, and shares structure with the
// snapshots before and after it. Lookups cost O(log n).
type Snapshot struct {
	head     Head
	revision int64
	objects  [len(kinds)]*btree.Map[string, entry]
	// index is what objects are found by besides their names, see listed.
	index *btree.Map[string, struct{}]
	// changes has the keys of each of the newest revisions, complete from changesFrom on.
	changes     *btree.Map[int64, []Key]
	changesFrom int64
}

// entry is an object with the revision of its last change.
type entry struct {
	object   Object
	revision int64
}

// maxChanges bounds the memory of what changed: the revisions that [Snapshot.ChangedSince] can look back.
const maxChanges = 4096

// NewSnapshot returns an empty snapshot at the revision.
func NewSnapshot(head Head, revision int64) *Snapshot {
	s := &Snapshot{head: head, revision: revision, changesFrom: revision}
	for i := range s.objects {
		s.objects[i] = &btree.Map[string, entry]{}
	}
	s.index = &btree.Map[string, struct{}]{}
	s.changes = &btree.Map[int64, []Key]{}
	return s
}

// Head returns the identity of the state.
func (s *Snapshot) Head() Head { return s.head }

// Revision returns the revision of the newest change in the snapshot. Revisions grow and are never used twice.
func (s *Snapshot) Revision() int64 { return s.revision }

// get returns the object and the revision of its last change; 0 if it does not exist.
func (s *Snapshot) get(k Key) (Object, int64) {
	r := k.Kind.rank()
	if r < 0 {
		return nil, 0
	}
	e, ok := s.objects[r].Get(k.Name)
	if !ok {
		return nil, 0
	}
	return e.object, e.revision
}

// RevisionOf returns the revision of the object's last change; 0 if it does not exist.
func (s *Snapshot) RevisionOf(k Key) int64 {
	_, rev := s.get(k)
	return rev
}

// Object returns any object by its key.
func (s *Snapshot) Object(k Key) (Object, bool) {
	o, rev := s.get(k)
	return o, rev != 0
}

// Objects yields the kind's objects in the order of their names.
func (s *Snapshot) Objects(kind Kind) iter.Seq[Object] {
	return func(yield func(Object) bool) {
		r := kind.rank()
		if r < 0 {
			return
		}
		s.objects[r].Scan(func(_ string, e entry) bool { return yield(e.object) })
	}
}

// Len returns how many objects of the kind there are.
func (s *Snapshot) Len(kind Kind) int {
	r := kind.rank()
	if r < 0 {
		return 0
	}
	return s.objects[r].Len()
}

// Site returns the site that has the name as its domain or as an alias. The name must be in its stored form; see
// [CheckDomain].
func (s *Snapshot) Site(name string) (*Site, bool) {
	o, rev := s.get(Key{KindName, name})
	if rev == 0 {
		return nil, false
	}
	o, rev = s.get(Key{KindSite, o.(*nameEntry).domain})
	if rev == 0 {
		return nil, false
	}
	return o.(*Site), true
}

// Sites yields all sites in the order of their domains.
func (s *Snapshot) Sites() iter.Seq[*Site] { return all[*Site](s, KindSite) }

// App returns a bundle.
func (s *Snapshot) App(name string) (*App, bool) { return get[*App](s, Key{KindApp, name}) }

// Apps yields all bundles in the order of their names.
func (s *Snapshot) Apps() iter.Seq[*App] { return all[*App](s, KindApp) }

// Secret returns a sealed secret.
func (s *Snapshot) Secret(name string) (*Secret, bool) { return get[*Secret](s, Key{KindSecret, name}) }

// Secrets yields the secrets whose names begin with prefix, in the order of their names.
func (s *Snapshot) Secrets(prefix string) iter.Seq[*Secret] {
	return func(yield func(*Secret) bool) {
		s.objects[KindSecret.rank()].Ascend(prefix, func(name string, e entry) bool {
			return strings.HasPrefix(name, prefix) && yield(e.object.(*Secret))
		})
	}
}

// DHParams returns the cluster's own Diffie-Hellman parameters, or false if there are none yet.
func (s *Snapshot) DHParams() (*DHParams, bool) { return get[*DHParams](s, Key{Kind: KindDHParams}) }

// Quarantine yields the objects that are kept without being served.
func (s *Snapshot) Quarantine() iter.Seq[*Quarantined] { return all[*Quarantined](s, KindQuarantine) }

// ChangedSince returns the keys of all objects changed after the revision, some perhaps more than once, and true;
// or false if that is too long ago to be known, or the whole was replaced since, so that everything must be looked
// at.
func (s *Snapshot) ChangedSince(revision int64) ([]Key, bool) {
	if revision < s.changesFrom || revision > s.revision {
		return nil, false
	}
	var keys []Key
	s.changes.Ascend(revision+1, func(_ int64, k []Key) bool {
		keys = append(keys, k...)
		return true
	})
	return keys, true
}

// Keys yields the keys of all objects, those of the index kinds too.
func (s *Snapshot) Keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for r, k := range kinds {
			more := true
			s.objects[r].Scan(func(name string, _ entry) bool {
				more = yield(Key{k.kind, name})
				return more
			})
			if !more {
				return
			}
		}
	}
}

func get[T Object](s *Snapshot, k Key) (T, bool) {
	o, rev := s.get(k)
	if rev == 0 {
		var none T
		return none, false
	}
	return o.(T), true
}

func all[T Object](s *Snapshot, kind Kind) iter.Seq[T] {
	return func(yield func(T) bool) {
		for o := range s.Objects(kind) {
			if !yield(o.(T)) {
				return
			}
		}
	}
}
