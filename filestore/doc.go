// Package filestore is [state.Store] on a file of one node. Start at [Open].
//
// The file is the state document, so that it can be read, copied, compared and edited with any tool. Beside it
// stands a journal, to which each commit is appended and fsynced before it is acknowledged; commits that wait at
// the same time share one fsync. The journal is folded into the document when nothing was changed for a while,
// when it has grown, at Close and at Open.
//
//	state.json           the document: sites, secrets, dhparams, apps, quarantine, keyId, revision
//	state.json.journal   what was committed since, and the kinds outside the document
//	state.json.lock      held while a process uses the two
//	state.json.migrated  where the state is now, if it was moved: see [Marker]
//
// Kinds outside the document (members, events, audit, challenges) live in the journal alone: folding copies them
// into the new journal. So the document stays what a backup is, replacing it leaves them alone, and there is no
// third file whose writing would have to be made atomic with the others.
//
// It is not for two nodes on a shared disk: that is what package etcdstore is for.
package filestore
