// Package leader decides which node leads and runs the leader's duties. Leadership comes in terms: a context that
// ends when the term may be over, and a fence ([state.Fence]) that updates of the state carry, so that the store
// refuses those of a term that is over even if whoever sends them does not know it yet. Duties run only inside a
// term. Start at [Elector]; [Static] is the one for a single node, [Etcd] the one for many.
//
// The package does not know what the duties do, and nothing outside of it asks "do I lead?" to decide whether to go
// on: that is what the context and the fence are for.
package leader

import (
	"context"

	"statiko/state"
)

// Duty is work that only the leader does. It runs until ctx ends, which is the end of the term, and then returns
// soon: the term's owner waits for it. All its updates of the state carry the fence. It may run many times, in this
// term (after an error, with a pause that grows) and in later ones, so it starts from what the state says each time.
// Returning nil earlier means that there is nothing left to do in this term.
type Duty func(ctx context.Context, fence state.Fence) error

// Elector is a way to decide who leads. Implementations are safe for concurrent use.
type Elector interface {
	// Run takes part in the election until ctx ends, and runs the duties, which have names for the log, inside
	// each term that this node wins. It returns after all of them have: nil when ctx ended, else why it cannot
	// go on. It must not be called while another call runs.
	Run(ctx context.Context, duties map[string]Duty) error

	// Leader returns the name of the node that leads, as far as this node knows, or false if none does. It
	// never blocks. It is for people and status pages: a term can end right after the answer.
	Leader() (name string, ok bool)
}
