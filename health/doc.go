// Package health knows whether sites and nodes are well, and tells when that changes. A [Prober] visits the sites of
// its node through the node's own web server, as a visitor would, because a site that was applied without a fault may
// still not answer. The leader's [Duty] asks all nodes and puts into the outbox of package notify what an
// administrator should know: a site that fails on some node, a node that fails, its certificate that expires.
//
// It does not decide what is served, and delivers nothing.
package health
