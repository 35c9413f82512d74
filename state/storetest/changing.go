package storetest

import (
	"sync"

	"statiko/state"
)

// Changing is a store that changes right after it was read for the first time: for who reads it, and watches it from then on.
type Changing struct {
	state.Store
	// Change makes the change, in the store itself.
	Change func()
	once   sync.Once
}

// Snapshot returns what was there before the change.
func (s *Changing) Snapshot() *state.Snapshot {
	before := s.Store.Snapshot()
	s.once.Do(s.Change)
	return before
}
