// Package server is the serving side of the REST API: its routes, who may call them, and the one place that writes
// errors. Start at [New] and at the table in routes.go; what the routes mean to a caller stands in docs/api.md.
//
// It keeps nothing of its own: it reads snapshots of the state, changes it through the store, and asks the
// reconciler what is being served. It listens on nothing; whoever makes a [Server] serves its handlers.
package server
