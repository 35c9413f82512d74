// Package servertest is the suite that every [webserver.Server] passes: requests and what they are answered with, in
// one table, and what Apply promises. Start at [Run]; the table is in requests.go.
package servertest

import (
	"crypto/tls"
	"net/http"
	"testing"

	"statiko/webserver"
)

// Fixture is what the suite wants a server to be made with.
type Fixture struct {
	// NodeHandler answers the node's own paths. It is safe for concurrent use.
	NodeHandler http.Handler
	// NodeCertificate is for server names that are no site.
	NodeCertificate *tls.Certificate
	// PublicHTTPSPort stands in redirects.
	PublicHTTPSPort int
	// ManifestFile is the name that is never served.
	ManifestFile string
	// AllowProxy are the hosts that proxy rules may reach.
	AllowProxy []string
}

// Endpoints are a server that runs, without any site, and where it listens. Whoever made it stops it by t.Cleanup.
type Endpoints struct {
	Server webserver.Server
	// HTTP and HTTPS are addresses, host:port.
	HTTP, HTTPS string
	// Product is what the server calls itself in the header Server, without a version; "" for nothing.
	Product string
	// Reloads tells that a change of names or certificates has it end idle connections: a client that keeps one may
	// have to open another, once for each change.
	Reloads bool
	// Long asks for the long form of tests that have one.
	Long bool
}

// Run runs the suite. start makes and runs a new server for each part of it.
func Run(t *testing.T, start func(*testing.T, Fixture) Endpoints) {
	t.Helper()
	for _, part := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"Requests", testRequests},
		{"Certificates", testCertificates},
		{"Apply_FailedChangeKeepsWhatWas", testApplyFailure},
		{"Apply_NamesChangeOwnersInAnyOrder", testApplyOwners},
		{"Apply_NameOfAnotherSiteIsRefused", testApplyDuplicates},
		{"Apply_RemovedSiteIsUnknown", testApplyRemove},
		{"W33_W34_DeployIsSeamlessAndAtOnce", testDeploy},
		{"W37_SharedBundleKeepsItsManifest", testSharedBundle},
		{"OpenConnectionsSurviveApply", testOpenConnections},
		{"ConcurrentUse", testConcurrentUse},
		{"ChangesDisturbNoVisitor", testLoad},
	} {
		t.Run(part.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Endpoints = start(t, w.fixture)
			part.test(t, w)
		})
	}
}
