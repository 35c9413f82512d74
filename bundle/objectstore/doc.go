// Package objectstore is what the repositories in object stores share, whatever the protocol: attempts with a bound
// ([Policy]), a reader that goes on after a break ([Reader]), what is stored beside a bundle ([Stored]), and the words for
// faults of the network ([NetworkFault]). Package s3repo and package azurerepo build on it.
package objectstore
