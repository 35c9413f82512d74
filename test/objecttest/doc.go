// Package objecttest runs real object stores as child processes for tests: [StartS3] the Versity S3 gateway, built once
// from the module in test/s3, and [StartAzure] Azurite, installed once with npm as test/azurite says. Their [Server]s can
// be ended, frozen and restarted with their data.
package objecttest
