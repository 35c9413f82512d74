// Package azurerepo is a bundle.Repository in a container of Azure's Blob Storage: bundle "x" is the block blob "x", what
// is stored beside it is the blob's metadata. [Open] connects to nothing; [Repository.Check] says whether what the
// configuration names is there and may be used.
//
// It makes no containers.
package azurerepo
