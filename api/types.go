package api

import (
	"time"
)

// Headers that the API adds to HTTP.
const (
	// HeaderNode carries the node's name in every answer.
	HeaderNode = "X-STK-Node"
	// HeaderRevision carries, in every answer, the revision of the state that the answer was made from or, for a
	// change, at which it was committed (decimal).
	HeaderRevision = "X-STK-Revision"
	// HeaderMinRevision, in a request, makes the node wait until it knows at least that revision (decimal).
	HeaderMinRevision = "X-STK-Min-Revision"
	// HeaderApplied tells, in the answer to a change with ?wait=, whether the change was applied in time:
	// "true" or "false".
	HeaderApplied = "X-STK-Applied"
	// HeaderReplicas tells, in the answer to an upload where nodes keep the bundles themselves, on how many nodes the
	// bundle is stored and on how many it should be, such as "1/2".
	HeaderReplicas = "X-STK-Replicas"
	// HeaderPending is "true" in the answer to an upload of a bundle that cannot be deployed before its signature comes.
	HeaderPending = "X-STK-Pending"
	// HeaderSourceKey carries, with a state document, the encryption key that its secrets are sealed with (base64), if
	// the node does not have it. The node opens them with it, seals them with its own, and forgets it.
	HeaderSourceKey = "X-STK-Source-Key"
	// HeaderWaiting names, beside an X-STK-Applied of "false", the nodes that have not applied the change, and why;
	// see [ParseWaiting].
	HeaderWaiting = "X-STK-Waiting"
)

// Info is the answer of GET /info.
type Info struct {
	// AuthMethods holds some of "psk", "azureAD" and "auth0", in this order; never null.
	AuthMethods []string      `json:"authMethods"`
	AzureAD     *AuthProvider `json:"azureAD,omitempty"`
	Auth0       *AuthProvider `json:"auth0,omitempty"`
	Version     string        `json:"version"`
	// Hostname is the node's name.
	Hostname string `json:"hostname"`
}

// AuthProvider is what a client needs to log in with OpenID Connect.
type AuthProvider struct {
	AuthorizeURL string `json:"authorizeUrl"`
	TokenURL     string `json:"tokenUrl"`
	ClientID     string `json:"clientId"`
}

// Status is the answer of GET /status and GET /status/{domain}, and one member's of GET /clusterstatus.
type Status struct {
	// Name is the node's name; never empty.
	Name string `json:"name"`
	// Nginx tells of the web server, whichever it is; the name is the contract's.
	Nginx WebServerStatus `json:"nginx"`
	Sync  SyncStatus      `json:"sync"`
	Store StoreStatus     `json:"store"`
	// Health has one entry a site, sorted by domain; never null.
	Health []SiteHealth `json:"health"`
	// Quarantine lists objects of the state that are kept but not served because they are faulty. Only the
	// authenticated see it.
	Quarantine []Quarantined `json:"quarantine,omitempty"`
	// Bundles tells what happened to bundles on this node within the last day, such as an archive that was damaged and
	// replaced. Only the authenticated see it.
	Bundles []BundleNote `json:"bundles,omitempty"`
	// Leader is the name of the node that leads; "" if nobody does.
	Leader string `json:"leader,omitempty"`
	// NoLeaderSince is since when no node leads; null while one does, or if that is not known.
	NoLeaderSince *time.Time `json:"noLeaderSince,omitempty"`
	// Certificate tells of the node's own certificate. Only the authenticated see it.
	Certificate *NodeCertificate `json:"certificate,omitempty"`
	// Version is the node's version.
	Version string `json:"version,omitempty"`
	// Draining is since when the node asks not to be sent visitors, which it serves all the same; null if it does not.
	Draining *time.Time `json:"draining,omitempty"`
	// Unregistered says why the other nodes of the cluster do not know that this one is up, such as that another has
	// its name; "" if they do.
	Unregistered string `json:"unregistered,omitempty"`
}

// NodeCertificate tells of the certificate of a node's own, with which its API answers.
type NodeCertificate struct {
	// NotAfter is when the one in use expires.
	NotAfter time.Time `json:"notAfter"`
	// Renewed tells that the node made it, and renews it itself.
	Renewed bool `json:"renewed,omitempty"`
	// Error says why the one that should be in use is not, such as that its file cannot be read.
	Error string `json:"error,omitempty"`
}

// WebServerStatus tells whether sites are being served.
type WebServerStatus struct {
	Running bool   `json:"running"`
	Error   string `json:"error,omitempty"`
}

// SyncStatus tells how far the node has applied the state.
type SyncStatus struct {
	// Running is true while the newest known state is not applied yet.
	Running bool `json:"running"`
	// LastSync is when the last pass began; never null.
	LastSync time.Time `json:"lastSync"`
	// SyncError is why the last pass could not complete, apart from faults of single sites.
	SyncError string `json:"syncError,omitempty"`
	// Revision is the revision of the state that is applied.
	Revision int64 `json:"revision"`
}

// StoreStatus tells whether the state can be changed.
type StoreStatus struct {
	Healthy bool `json:"healthy"`
	// Type is "file" or "etcd".
	Type string `json:"type,omitempty"`
	// Reason says why the store is not healthy, or warns.
	Reason string `json:"reason,omitempty"`
	// Revision is the newest revision that this node knows.
	Revision int64 `json:"revision"`
}

// SiteHealth tells how one site is.
type SiteHealth struct {
	Domain string `json:"domain"`
	// App is the deployed bundle's name; null without one.
	App     *string `json:"app"`
	Healthy bool    `json:"healthy"`
	// Error says what is wrong, or what is being waited for.
	Error string `json:"error,omitempty"`
	// Time is when this was found.
	Time *time.Time `json:"time,omitempty"`
	// Serving is the bundle that is being served, where that is not App: the last good version.
	Serving string `json:"serving,omitempty"`
}

// Quarantined is a faulty object that the node keeps without serving it.
type Quarantined struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// SiteTLS is a site's choice of certificate in requests.
type SiteTLS struct {
	// Type is "selfsigned", "acme", "imported" or "akv".
	Type string `json:"type"`
	// Certificate is the name of the imported or Key Vault certificate.
	Certificate string `json:"cert,omitempty"`
	// Version is the Key Vault certificate's version.
	Version string `json:"ver,omitempty"`
}

// SiteApp names a bundle.
type SiteApp struct {
	Name string `json:"name"`
}

// Site is a site in answers. Members stand as in the state document.
type Site struct {
	Domain    string   `json:"domain"`
	Aliases   []string `json:"aliases"`
	Temporary bool     `json:"temporary,omitempty"`
	TLS       *SiteTLS `json:"tls"`
	App       *SiteApp `json:"app"`
}

// SiteCreate is the body of POST /site.
type SiteCreate struct {
	Domain    string   `json:"domain,omitempty"`
	Aliases   []string `json:"aliases,omitempty"`
	Temporary bool     `json:"temporary,omitempty"`
	TLS       *SiteTLS `json:"tls,omitempty"`
	App       *SiteApp `json:"app,omitempty"`
}

// SiteChange is the body of PATCH /site/{domain}: only what is not nil changes.
type SiteChange struct {
	TLS *SiteTLS `json:"tls,omitempty"`
	// Aliases replaces the list; a pointer to an empty slice clears it.
	Aliases *[]string `json:"aliases,omitempty"`
}

// App is one bundle in the answer of GET /app.
type App struct {
	Name string `json:"name"`
	// Size is that of the archive, in bytes.
	Size         int64     `json:"size"`
	LastModified time.Time `json:"lastModified"`
	Type         string    `json:"type,omitempty"`
	// SHA256 is the archive's digest in hexadecimal.
	SHA256 string `json:"sha256,omitempty"`
	// Sites are the primary domains of the sites that have it deployed.
	Sites []string `json:"sites,omitempty"`
	// Pending tells that it cannot be deployed before its signature comes.
	Pending bool `json:"pending,omitempty"`
	// Signature is as uploaded, in base64.
	Signature string `json:"signature,omitempty"`
	// Nodes are those that have its archive, and Unpacked those that can serve it at once, by name; only if they were
	// asked for. A node that does not answer is in neither.
	Nodes    []string `json:"nodes,omitempty"`
	Unpacked []string `json:"unpacked,omitempty"`
	// ETag is for [IfMatch].
	ETag string `json:"etag,omitempty"`
}

// SiteVersion is one version in the answer of GET /site/{domain}/history, newest first.
type SiteVersion struct {
	// App is the bundle's name, and SHA256 its digest when it was deployed, in hexadecimal.
	App    string `json:"app"`
	SHA256 string `json:"sha256"`
	// Time is when it was deployed; null if that is not known.
	Time *time.Time `json:"time"`
	// Current tells that the site serves it now.
	Current bool `json:"current,omitempty"`
	// Problem says why one cannot go back to it; "" if one can.
	Problem string `json:"problem,omitempty"`
}

// SiteRollback is the body of POST /site/{domain}/rollback; empty for the version before.
type SiteRollback struct {
	// App is one of the site's history.
	App string `json:"app,omitempty"`
}

// BundleNote is something that happened to a bundle on a node.
type BundleNote struct {
	Time time.Time `json:"time"`
	// Bundle is its name; "" if it concerns all.
	Bundle string `json:"bundle,omitempty"`
	Text   string `json:"text"`
}

// AppMetadata is the body of POST /app/{name}. Both are base64.
type AppMetadata struct {
	Signature string `json:"signature"`
	Hash      string `json:"hash"`
}

// CertificateImport is the body of POST /certificate.
type CertificateImport struct {
	Name        string `json:"name"`
	Certificate string `json:"cert"`
	Key         string `json:"key"`
	Force       bool   `json:"force,omitempty"`
}

// DHParams is the answer of GET /dhparams.
type DHParams struct {
	// Type is "builtin" or "cluster".
	Type string `json:"type"`
	// Date is when a cluster's own parameters were made.
	Date *time.Time `json:"date,omitempty"`
	// Generating tells whether this node is making new ones.
	Generating bool `json:"generating"`
	// Bits is the size of the prime.
	Bits int `json:"bits,omitempty"`
	// Tried, Expected and Elapsed tell how far the making has come: candidates tested, how many are to be tested
	// on average, and seconds since it began. They are 0 if Generating is false.
	Tried    int64   `json:"tried,omitempty"`
	Expected int64   `json:"expected,omitempty"`
	Elapsed  float64 `json:"elapsed,omitempty"`
}

// DHParamsImport is the body of POST /dhparams.
type DHParamsImport struct {
	DHParams string `json:"dhparams"`
}

// StateDryRun is the answer of POST /state?dryRun=1: what a restore would change, as names by kind.
type StateDryRun struct {
	Added   map[string][]string `json:"added"`
	Changed map[string][]string `json:"changed"`
	Removed map[string][]string `json:"removed"`
}

// Error codes. Each belongs to one HTTP status; see [StatusOf].
const (
	CodeMalformed    = "malformed"    // 400: the body or a parameter cannot be read
	CodeUnauthorized = "unauthorized" // 401
	CodeForbidden    = "forbidden"    // 403: an origin that is not allowed
	CodeNotFound     = "not_found"    // 404: the object
	CodeNoRoute      = "no_route"     // 404: the path
	CodeMethod       = "method"       // 405
	CodeExists       = "exists"       // 409: the name is taken
	CodeInUse        = "in_use"       // 409: something uses the object
	CodeConflict     = "conflict"     // 409: others kept changing the same objects
	CodeNotDetached  = "not_detached" // 409: there is nothing to decide about the store
	CodeHandover     = "handover"     // 409: the leadership cannot be handed over as asked
	CodePrecondition = "precondition" // 412: If-Match does not match
	CodeTooLarge     = "too_large"    // 413
	CodeMediaType    = "media_type"   // 415
	CodeInvalid      = "invalid"      // 422: every fault stands in details
	CodeForeignKey   = "foreign_key"  // 422: a state document that is sealed with another encryption key
	CodeTooMany      = "too_many"     // 429: failed attempts to authenticate
	CodeInternal     = "internal"     // 500
	CodeUnavailable  = "unavailable"  // 503: the store is away; certainly not applied
	CodeUnknown      = "unknown"      // 503: sent, outcome not learned
	CodeNotReady     = "not_ready"    // 503
	CodeReplicas     = "replicas"     // 503: a bundle could not be stored on enough nodes; nothing was changed
	CodeDiskFull     = "disk_full"    // 507
)

// Error is the body of every answer that is an error, and the error that [Client] returns for it.
type Error struct {
	// Status is the HTTP status; not in the body.
	Status int `json:"-"`
	// Message is for people.
	Message string `json:"error"`
	// Code is for programs.
	Code string `json:"code"`
	// Details names every fault of an invalid request.
	Details []Detail `json:"details,omitempty"`

	// RetryAfter is the header Retry-After; 0 without one. It is not in the body.
	RetryAfter time.Duration `json:"-"`

	// cause is what [FromState] made the error from; nil in a client.
	cause error
}

// Detail is one fault.
type Detail struct {
	// Field is the path of the faulty member, such as "sites[3].aliases[0]"; "" for the whole.
	Field string `json:"field,omitempty"`
	// Line and Column, from 1, say where it stands in the document sent; 0 where that has no meaning.
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}
