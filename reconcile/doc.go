// Package reconcile makes a node serve what the state asks for. A [Reconciler] compares the newest snapshot with
// what is applied, plans the difference ([Plan], a pure function), and carries it out: it has bundles unpacked,
// opens certificates, and tells the web server. Start at [Reconciler.Run].
//
// It is level-triggered: a change in the store only says "look", and a period says "look anyway". One faulty site
// never stops the others: it keeps what was last served well, and its status says why.
package reconcile
