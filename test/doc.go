// Package test holds the tests of the whole system: real processes of the built programs, real files, real sockets,
// and the rules that the tree itself keeps. It has no code for others to use.
package test
