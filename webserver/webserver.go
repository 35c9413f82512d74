// Package webserver is the contract of a web server that serves Statiko's sites: [Server], what it is told
// ([Site], [Change]) and what it tells ([Status]). The implementations are webserver/builtin, which serves from
// this process, and others beside it. It holds no code that serves.
package webserver

import (
	"context"
	"time"

	"statiko/bundle"
)

// Server serves sites. It is told only differences, and keeps serving what it was told last.
//
// All methods are safe for concurrent use. Apply calls are made one at a time.
type Server interface {
	// Apply makes the changes current and returns when requests that begin from now on see them. Open
	// connections and requests in flight are not disturbed. A site whose change cannot be applied (a
	// certificate that does not parse, a key that does not match) keeps what it had, and its domain stands in
	// failed with the reason; all other changes are applied. An error means that nothing was applied.
	Apply(ctx context.Context, changes []Change) (failed map[string]error, err error)

	// Status says whether the server serves. It never blocks.
	Status() Status

	// Run serves until ctx ends or the server cannot go on, then stops accepting, waits for requests in flight
	// for a bounded time, and returns nil if it was ctx that ended it.
	Run(ctx context.Context) error

	// Close releases what New took. It is idempotent, and waits for Run to return.
	Close() error
}

// Batcher is a [Server] that each call of Apply costs something, whatever it changes.
type Batcher interface {
	// Batch is how many changes it wants to be told at once, if there are so many.
	Batch() int
}

// DHParamsSetter is a [Server] whose TLS can use Diffie-Hellman parameters.
type DHParamsSetter interface {
	// SetDHParams takes up parameters, as a PEM block "DH PARAMETERS", for handshakes that begin some time later. It
	// does nothing if they are those in use. Parameters that it cannot use are an error, and the last ones stay.
	SetDHParams(ctx context.Context, pem string) error
}

// Change replaces what is served under one domain.
type Change struct {
	// Domain is the site's primary domain.
	Domain string
	// Site is what to serve; nil stops serving the domain and its aliases.
	Site *Site
}

// Site is one site, ready to be served. It is immutable once passed to a Server.
type Site struct {
	// Domain is the primary name: lower case, IDNA-encoded.
	Domain string
	// Aliases are redirected to Domain.
	Aliases []string
	// Temporary sites ask search engines to stay away.
	Temporary bool
	// Certificate covers Domain and Aliases.
	Certificate Pair
	// Root is the folder of the staged bundle, laid out as [bundle.FilesDir] says; "" serves the placeholder page.
	Root string
	// Version identifies the bundle's content: the SHA-256 of its archive in hexadecimal; "" without a bundle.
	Version string
	// Manifest is the bundle's; nil if it has none.
	Manifest *bundle.Manifest
}

// Pair is a certificate chain with its private key, both PEM.
type Pair struct {
	// CertificatePEM holds the leaf first, then intermediates.
	CertificatePEM []byte
	// KeyPEM is secret: it must never reach a log or an error.
	KeyPEM []byte
}

// Status is what a server says of itself.
type Status struct {
	// Running tells whether sites are being served.
	Running bool
	// Err says why not; nil when Running.
	Err error
	// Since is when the current value of Running began.
	Since time.Time
}
