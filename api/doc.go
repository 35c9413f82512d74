// Package api is what a caller of a node's REST API needs: the JSON bodies, the headers, the error codes with their
// two-way table to the errors of package state, and [Client], which stkcli and the tests use. Start at [New] for
// calling, and at [FromState] for answering.
//
// It serves nothing: the serving side, with routes and authentication, is package server. It decides no trust
// either: a client is told what to trust ([Options]), and [FetchPeer] looks at a node without telling it anything.
package api
