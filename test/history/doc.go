// Package history records what concurrent clients asked of a cluster's nodes and were told, and judges it afterwards:
//
//   - [Recorder.Linearizable]: adds, changes, removals and restores are those of a single copy of the state (checked by
//     porcupine; a call of unknown outcome may have happened at any time after it began, or never);
//   - [Views.Judge]: what each node showed never went backwards, was the same on all nodes at the same revision, and had every
//     acknowledged change from its revision on, and nothing that nobody asked for.
//
// Sites belong to groups by their name ([Name], [Alias]); names of one group collide, those of different groups never do, so that
// the history can be checked group by group. A restore is a call in every group.
package history
