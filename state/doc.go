// Package state is the domain of Statiko: the kinds of objects that nodes share ([Site], [App], [Secret],
// [DHParams], …), the rules that they keep, the immutable [Snapshot], and the contract of a [Store], which
// replicates snapshots and changes them by transactions. Start at [Store].
//
// The package does no input or output. Backends live in filestore and etcdstore; what they have in common (the
// [Draft] that an update writes to, the [Txn] that comes of it, the loop in [RunUpdate]) is here, so that a
// backend only has to commit a transaction and to publish snapshots. Package storetest holds the suite that
// every backend passes.
package state
