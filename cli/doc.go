// Package cli is stkcli: its commands, credentials, trusted keys and output. Start at [Run], which runs one command
// line in the process that calls it; nothing here touches the process's own streams, environment or exit.
//
// What a node is told goes through api.Client; the rules of names and archives are those of packages state and
// bundle. The order in every command is: read and check what was given, decide whether the node is trusted
// (connect.go), only then send the key.
package cli
