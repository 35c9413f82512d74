// Package migrate moves a state from one store to another: from a file to etcd, from etcd to a file, or between two of
// a kind. Start at [Run].
//
// # What is guaranteed
//
// The target gets the source's document, byte for byte, secrets sealed as they were, in one atomic step. Until the last
// step nothing about the source has changed, so that after a crash at any moment, or an error, the source is in force
// as before, and the same command can be run again. The last step of a source that is a file is its marker
// ([filestore.Marker]): from then on no node starts with that file.
//
// A file cannot change meanwhile: its lock is held or, where a running node holds it, that node is frozen, by a freeze
// that ends by itself if this process dies, and it is that node which writes the marker, if the freeze still lasts and
// its state is still the one that was copied.
//
// A source in etcd can be changed by any node of the cluster at any time. It is read again after the copy was made, and
// the copy is made again if anything differs. So the target has all that was acknowledged before that last look, but
// nothing keeps nodes that go on using etcd from changing it later: those should be stopped before.
package migrate
