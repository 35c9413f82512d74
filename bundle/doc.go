// Package bundle knows app bundles: the archives that users upload and sites serve. Start at [Stager], which
// turns an archive into a folder that a web server can serve, at [Repository], which keeps archives, and at
// [ParseManifest], which reads what a bundle says about how it wants to be served.
//
// A bundle is immutable and known by the SHA-256 of its archive's bytes; its name is for people. An archive is
// written by strangers: nothing in it is trusted, and every fault names the entry or the line.
//
// This package neither serves files nor decides which site uses which bundle.
package bundle
