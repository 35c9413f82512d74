package state

import "github.com/tidwall/btree"

// Builder makes a snapshot from another by applying changes. It is what backends use to follow their log; it is
// not safe for concurrent use, and only one Builder at a time may start from the newest snapshot.
type Builder struct {
	s Snapshot
	// copied tells which maps are no longer shared with the snapshot that the Builder started from.
	copied      [len(kinds)]bool
	indexCopied bool
	changed     map[int64][]Key
}

// Build starts from s, which is not changed.
func (s *Snapshot) Build() *Builder {
	return &Builder{s: *s, changed: map[int64][]Key{}}
}

// Put stores the object as changed at the revision.
func (b *Builder) Put(o Object, revision int64) {
	k := o.Key()
	m := b.writable(k.Kind)
	if m == nil {
		return
	}
	old, existed := m.Set(k.Name, entry{o, revision})
	if existed {
		b.unlist(old.object)
	}
	b.list(o)
	b.note(k, revision)
}

// Delete removes the object as of the revision. It is nothing to remove what does not exist.
func (b *Builder) Delete(k Key, revision int64) {
	m := b.writable(k.Kind)
	if m == nil {
		return
	}
	old, existed := m.Delete(k.Name)
	if existed {
		b.unlist(old.object)
	}
	b.note(k, revision)
}

// SetHead replaces the identity of the state.
func (b *Builder) SetHead(h Head) { b.s.head = h }

// Snapshot ends the building and returns the result at the revision.
func (b *Builder) Snapshot(revision int64) *Snapshot {
	b.s.revision = revision
	if len(b.changed) > 0 {
		b.s.changes = b.s.changes.Copy()
		for rev, keys := range b.changed {
			if before, ok := b.s.changes.Get(rev); ok {
				keys = append(before[:len(before):len(before)], keys...)
			}
			b.s.changes.Set(rev, keys)
		}
		for b.s.changes.Len() > maxChanges {
			rev, _, _ := b.s.changes.PopMin()
			b.s.changesFrom = rev
		}
	}
	s := b.s
	return &s
}

func (b *Builder) writable(kind Kind) *btree.Map[string, entry] {
	r := kind.rank()
	if r < 0 {
		return nil
	}
	if !b.copied[r] {
		b.s.objects[r] = b.s.objects[r].Copy()
		b.copied[r] = true
	}
	return b.s.objects[r]
}

func (b *Builder) writableIndex() *btree.Map[string, struct{}] {
	if !b.indexCopied {
		b.s.index = b.s.index.Copy()
		b.indexCopied = true
	}
	return b.s.index
}

func (b *Builder) list(o Object) {
	for entry := range listed(o) {
		b.writableIndex().Set(entry, struct{}{})
	}
}

func (b *Builder) unlist(o Object) {
	for entry := range listed(o) {
		b.writableIndex().Delete(entry)
	}
}

func (b *Builder) note(k Key, revision int64) {
	// What is older than all that is remembered (a load takes objects of any age) is not remembered either.
	if revision > b.s.changesFrom {
		b.changed[revision] = append(b.changed[revision], k)
	}
}

// Restored returns the snapshot that results from replacing the document's kinds in s by those of doc, at the
// revision. What changed is not recorded: everything must be looked at.
func (s *Snapshot) Restored(doc *Document, revision int64) *Snapshot {
	head := s.head
	head.Generation++
	if doc.KeyID != "" {
		head.KeyID = doc.KeyID
	}
	n := NewSnapshot(head, revision)
	for i, k := range kinds {
		if !k.kind.InDocument() && !k.index {
			n.objects[i] = s.objects[i].Copy()
		}
	}
	b := n.Build()
	for o := range doc.All() {
		b.Put(o, revision)
		if site, ok := o.(*Site); ok {
			for _, name := range site.Names() {
				b.Put(&nameEntry{name, site.Domain}, revision)
			}
		}
	}
	r := b.s
	r.revision = revision
	return &r
}
