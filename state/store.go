package state

import (
	"context"
	"time"
)

// Store is a replica of the state with transactions. It is the contract of every backend; storetest tests each
// sentence of it. All methods are safe for concurrent use.
//
// # Reading
//
// Reading is local: it takes no network and no lock that a writer holds. What one node reads never goes backwards
// and includes all that it has itself been told is committed. Other nodes lag behind.
//
// # Changing
//
// What is acknowledged is durable and in Snapshot when Update or Restore returns. A change is made as a whole or
// not at all; nobody ever sees a part of it. Changes of different sites do not disturb each other. A name belongs
// to at most one site, always. Nothing is removed while something uses it.
//
// # Loss
//
// When the backend is away, reading and waiting go on, changes fail with ErrUnavailable or ErrUnknown, and the
// snapshot holds only what was committed. When it is back, everything works again without help.
type Store interface {
	// Snapshot returns the newest state that this node knows. It is never nil once the store was opened.
	Snapshot() *Snapshot

	// Wait returns the newest snapshot as soon as its revision is greater than the given one. Several changes in
	// quick succession may be seen as one. It returns ctx's error when ctx ends, and ErrUnavailable when the
	// store is closed.
	Wait(ctx context.Context, revision int64) (*Snapshot, error)

	// Update calls change with a draft of the newest snapshot and commits what it wrote if nothing that it read
	// or wrote was changed meanwhile; otherwise it calls change again on a newer draft. So change may be called
	// several times, must depend on nothing but its draft, and must not call the store.
	//
	// It returns the revision of the commit or, if change wrote nothing, the revision at which that was right. An
	// error of change is returned as it is, after it was made sure that all that change read (absences too) was
	// the newest: a refusal is as true as an acceptance.
	//
	// Other errors: ErrConflict, if others changed the same objects again and again; ErrTooLarge; ErrFenced;
	// ErrUnavailable and ErrUnknown; ctx's error if ctx ended before anything was sent. Only with ErrUnknown may
	// the change have been made, or be made later.
	Update(ctx context.Context, change func(*Draft) error, options ...UpdateOption) (int64, error)

	// Restore replaces all objects of the document's kinds by those of doc, which must have come from
	// [ParseDocument] and is not changed. What doc lacks is removed; kinds outside the document stay. It returns
	// the revision of the commit. Errors as in Update; ErrPrecondition if ifRevision is not 0 and not the
	// newest snapshot's revision.
	Restore(ctx context.Context, doc *Document, ifRevision int64) (int64, error)

	// Health tells whether changes are possible. It never blocks.
	Health() Health

	// Close waits for changes in flight, makes everything durable and releases the backend. It is idempotent;
	// afterwards Snapshot still answers and changes return ErrUnavailable.
	Close() error
}

// Health tells how a store is.
type Health struct {
	// Healthy tells whether changes are possible.
	Healthy bool
	// Reason says why not, or what needs attention, for people; "" if there is nothing to say.
	Reason string
	// Since is when the current value of Healthy began.
	Since time.Time
	// Backend is "file" or "etcd".
	Backend string
}

// Fence is proof of a term of leadership. An update that carries it is refused once the term is over, even if
// whoever sends it does not know that yet.
type Fence interface {
	// Over tells whether the term is known to be over. It never blocks, and stays true.
	Over() bool
}

// KeyedFence is a Fence that a shared backend can check by itself: as long as the term lasts, the backend's key
// exists with this revision of its creation.
type KeyedFence interface {
	Fence
	// Proof returns the backend's key and the revision at which it was created.
	Proof() (key string, createRevision int64)
}

// UpdateOption changes how one update is made.
type UpdateOption func(*updateOptions)

type updateOptions struct {
	fence Fence
}

// WithFence makes the store refuse the update with ErrFenced once the term is over.
func WithFence(f Fence) UpdateOption {
	return func(o *updateOptions) { o.fence = f }
}
