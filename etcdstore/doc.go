// Package etcdstore is [state.Store] on etcd: a replica that follows etcd's watch, and commits that are single
// conditional transactions. Start at [Open].
//
// # Keys
//
// All keys stand under "<prefix>/v1/":
//
//	head                     which state this is: id, epoch, generation, key id (JSON)
//	g/<generation>/<kind>/…  the objects of the document, and the index kinds names and guards
//	ops/<node>               the id of the last update that a node committed
//	cuts/<node>              changed by a node when it gives up an attempt, so that it cannot be made late
//	staging/<generation>     a restore being written, under its writer's lease
//	<kind>/…                 kinds outside the document: members, events, audit, challenges
//
// # Following
//
// [Store] loads everything at one revision, in pages, and applies what the watch brings from there, and nothing
// else: its own changes too come back that way. Before it trusts a connection, at first and whenever there is a new
// one, it compares head and the last operation it saw, because etcd can come back as an older copy of itself, or as
// another one, without saying so. Then the store is detached: it serves what it knows and refuses changes until an
// administrator decides; see [Store.Accept].
package etcdstore
