package state

import "encoding/json"

// Kind is a kind of objects. Its text is also the name of the kind's part of a backend's keys.
type Kind string

// The kinds. Those in the document are replaced by a restore; the others are not touched by it.
const (
	KindSite       Kind = "sites"
	KindApp        Kind = "apps"
	KindSecret     Kind = "secrets"
	KindDHParams   Kind = "dhparams"
	KindQuarantine Kind = "quarantine"

	// KindMember is who belongs to the cluster; KindNode, under the lease of its process, who is up.
	KindMember    Kind = "members"
	KindNode      Kind = "nodes"
	KindEvent     Kind = "events"
	KindAudit     Kind = "audit"
	KindChallenge Kind = "challenges"

	// KindName is the unique index from a domain or alias to the domain of its site. Drafts write it.
	KindName Kind = "names"
	// KindGuard holds, for an object that others can use, a key that changes whenever somebody starts or stops
	// using it. Drafts write it.
	KindGuard Kind = "guards"
)

// layout is how a kind stands in the state document.
type layout int

const (
	notInDocument layout = iota
	asList               // "kind": [object, …]
	asMap                // "kind": {name: value, …}
	asSingle             // "kind": object
)

// kindInfo is one row of the table of kinds.
type kindInfo struct {
	kind   Kind
	layout layout
	// replica tells whether every node keeps the objects in its snapshot.
	replica bool
	// secret objects must be stored sealed, and never shown.
	secret bool
	// index kinds are derived from the objects and never named by callers.
	index bool
	// decode makes an object from its JSON. The result is not checked.
	decode func(name string, data []byte) (Object, error)
}

// kinds is the one table. Its order is the order of the members in the document.
var kinds = [...]kindInfo{
	{kind: KindSite, layout: asList, replica: true, decode: decodeSite},
	{kind: KindSecret, layout: asMap, replica: true, secret: true, decode: decodeSecret},
	{kind: KindDHParams, layout: asSingle, replica: true, decode: decodeDHParams},
	{kind: KindApp, layout: asList, replica: true, decode: decodeApp},
	{kind: KindQuarantine, layout: asList, replica: true, decode: decodeQuarantined},
	{kind: KindMember, replica: true, decode: decodeRecord(KindMember)},
	{kind: KindNode, replica: true, decode: decodeRecord(KindNode)},
	{kind: KindEvent, replica: true, decode: decodeRecord(KindEvent)},
	{kind: KindAudit, decode: decodeRecord(KindAudit)},
	{kind: KindChallenge, replica: true, decode: decodeRecord(KindChallenge)},
	{kind: KindName, replica: true, index: true, decode: decodeName},
	{kind: KindGuard, replica: true, index: true, decode: decodeGuard},
}

// rank returns the kind's row number in the table, or -1.
func (k Kind) rank() int {
	for i := range kinds {
		if kinds[i].kind == k {
			return i
		}
	}
	return -1
}

// InDocument tells whether the kind is part of the state document, and so replaced by a restore.
func (k Kind) InDocument() bool {
	r := k.rank()
	return r >= 0 && kinds[r].layout != notInDocument
}

// Replicated tells whether every node keeps the kind's objects in its snapshot.
func (k Kind) Replicated() bool {
	r := k.rank()
	return r >= 0 && kinds[r].replica
}

// Kinds returns all kinds that callers name, in the table's order.
func Kinds() []Kind {
	var ks []Kind
	for _, k := range kinds {
		if !k.index {
			ks = append(ks, k.kind)
		}
	}
	return ks
}

// Object is one object of the state: a [*Site], [*App], [*Secret], [*DHParams], [*Quarantined] or [*Record].
// Objects in a snapshot are immutable; change a copy.
type Object interface {
	// Key returns the object's kind and name.
	Key() Key
	json.Marshaler
}

// Key names an object. It is comparable.
type Key struct {
	Kind Kind
	// Name is unique within the kind; empty for the one object of KindDHParams.
	Name string
}

func (k Key) String() string {
	if k.Name == "" {
		return string(k.Kind)
	}
	return string(k.Kind) + "/" + k.Name
}

// guard returns the key that guards the object k against removal while others start to use it.
func (k Key) guard() Key { return Key{KindGuard, string(k.Kind) + "/" + k.Name} }

// Decode makes an object of the kind from its JSON, as [Object]'s MarshalJSON wrote it. The result is not
// checked against the rules.
func Decode(kind Kind, name string, data []byte) (Object, error) {
	r := kind.rank()
	if r < 0 {
		return nil, Errorf(ErrInvalid, Key{kind, name}, "", "unknown kind %q", kind)
	}
	return kinds[r].decode(name, data)
}
