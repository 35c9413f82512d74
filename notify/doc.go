// Package notify tells an administrator what happens in the cluster. What is to be told is an [Event] in the outbox,
// which is part of the state: [Record] writes it, together with whatever shows that it was noticed ([SetNoticed]), and
// [Duty], run by the leader, has a [Sender] such as [Webhook] deliver it. An event is delivered at least once, and
// exactly once where nothing crashed, however often leaders change.
//
// The package does not know what is worth telling: whoever notices something decides that.
package notify
