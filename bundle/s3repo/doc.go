// Package s3repo is a bundle.Repository in a bucket of any server that speaks the S3 protocol: bundle "x" is the object
// "x", what is stored beside it is user metadata. [Open] connects to nothing; [Repository.Check] says whether what the
// configuration names is there and may be used.
//
// It makes no buckets.
package s3repo
