// Package cluster knows which nodes belong together, which of them are up, and asks them how they are. Start at
// [Cluster], or at [Single] for a node that is alone; both are a [Group].
//
// # Who belongs, and who is up
//
// Two kinds of objects of the state tell it. A member ([Record], written when a node starts and stops) belongs to
// the cluster until it is removed, or was away for so long that the leader forgets it. A presence, under the lease of
// the node's process, says that the node is up. Nothing else is written: how far a node is, is asked of the node
// itself, because writing it down would make every change of one node an event for all.
//
// # Names
//
// A node's name belongs to one process. An instance id, kept in a file of the node's own, tells a restart from a
// mistake: a process with the same id takes the name over at once, one with another id waits until the holder must
// be gone, and if it is not, serves unregistered, says so, and tries again whenever the name may be free.
//
// # Calls
//
// Nodes call each other at the address that each one registered. The server proves itself by the key whose pin is
// registered; the caller by a message authentication code under a key that all nodes derive from their encryption
// key; see [Cluster.Verify].
package cluster
