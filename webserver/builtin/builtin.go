// Package builtin is the web server inside of this process: a [webserver.Server] on net/http that serves staged
// bundles over HTTP/1.1 and HTTP/2 and redirects plain HTTP. Start at [New].
//
// Which site answers is decided by the Host of the request, never by the server name of the handshake, because a
// client may send requests for several hosts over one HTTP/2 connection when a certificate covers them (RFC 9113,
// 9.1.1). A Host that is no site gets 421 if the handshake named a site, so that the client tries again over a
// connection of its own, and otherwise a page that says so, with 404.
//
// It does not stage bundles, make certificates or open listeners.
package builtin

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"statiko/webserver"
)

// Options are what New needs. The zero value of every field but the listeners is useful.
type Options struct {
	// HTTP are listeners for plain HTTP: redirects, and the node's own paths. The server closes them.
	HTTP []net.Listener
	// HTTPS are listeners for TLS; they accept plain connections, TLS is added here. The server closes them.
	HTTPS []net.Listener

	// NodeHandler answers /status, /status/…, /info, /healthz, /readyz and /.well-known/acme-challenge/… on hosts
	// that are no site, and /.well-known/acme-challenge/… on every site, over HTTP and HTTPS. nil answers 404.
	NodeHandler http.Handler
	// NodeCertificate gives the certificate for server names that are no site. If it is nil or returns nil, such
	// handshakes fail with the alert unrecognized_name.
	NodeCertificate func() *tls.Certificate
	// HangUp tells whether connections are to be closed after the answer that is being given, so that visitors who
	// come through a load balancer go elsewhere. nil means never.
	HangUp func() bool

	// Complete is closed when all sites were applied for the first time after a start; nil means that this is so. Until
	// then a request or handshake for a name that is no site waits, for at most Timeouts.Begin, and is answered 503 after it.
	Complete <-chan struct{}

	// PublicHTTPSPort stands in redirects to HTTPS; 0 and 443 leave it out.
	PublicHTTPSPort int
	// ManifestFile is the name of the manifest in a bundle's root, which is never served; "" means none.
	ManifestFile string
	// AllowProxy are the hosts ("host" or "host:port") that proxy rules of manifests may reach. A host name that
	// resolves to a loopback, link-local, unspecified or multicast address is refused all the same; "localhost"
	// and IP addresses that stand here are not.
	AllowProxy []string

	// Behind means that another web server presents the certificates, serves files and passes on the rest: see
	// [Server.Behind]. Certificates are checked by Apply and not kept. There are no listeners.
	Behind bool

	// CacheBytes bounds the memory for small files; 0 means 64 MiB, negative means that nothing is kept.
	CacheBytes int64
	// MaxHeaderBytes bounds a request's header; 0 means 64 KiB.
	MaxHeaderBytes int
	// Timeouts bound what a peer may take.
	Timeouts Timeouts
	// ShutdownTimeout is for how long requests in flight may go on after Run's context ended; 0 means 10 s.
	ShutdownTimeout time.Duration
	// Log gets faults of this server at error level and those of peers at debug level; nil means none.
	Log *zap.Logger
}

// Timeouts bound what a peer may take. Zero fields mean the value that their comment names.
type Timeouts struct {
	// ReadHeader is for the TLS handshake, and for a request's header: 10 s.
	ReadHeader time.Duration
	// Idle is for a kept-alive connection without a request: 75 s.
	Idle time.Duration
	// Stall is for how long a response may make no progress because the client does not read, and a proxied
	// request because either side is silent: 60 s. A long download that goes on is never cut.
	Stall time.Duration
	// ProxyDial is for connecting to a proxied host, and for its TLS handshake: 10 s.
	ProxyDial time.Duration
	// Begin is for how long a name that is no site is waited for until Options.Complete is closed: 5 s.
	Begin time.Duration
}

// Server implements [webserver.Server]. Make one with New.
type Server struct {
	opt     Options
	log     *zap.Logger
	table   atomic.Pointer[table]
	files   *fileCache
	pages   *pages
	proxies *proxies
	buffers sync.Pool // of *copyBuffer
	held    sync.Pool // of *holdBuffer

	applying sync.Mutex // held by Apply
	pairs    pairPool   // guarded by applying

	plain, secure *http.Server

	life    sync.Mutex
	started bool
	closed  bool
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed when Run has returned
	status  atomic.Pointer[webserver.Status]
}

var _ webserver.Server = (*Server)(nil)

// errNotRunning is the status before Run.
var errNotRunning = errors.New("not started")

// New wires a server. It takes over the listeners: Close, or the end of Run, closes them. Nothing is accepted
// before Run. The only errors are faulty options.
func New(opt Options) (*Server, error) {
	if opt.PublicHTTPSPort < 0 || opt.PublicHTTPSPort > 65535 {
		return nil, fmt.Errorf("public HTTPS port %d: not between 0 and 65535", opt.PublicHTTPSPort)
	}
	opt.defaults()
	proxies, err := newProxies(opt)
	if err != nil {
		return nil, err
	}
	pages, err := newPages()
	if err != nil {
		return nil, err
	}
	if opt.Behind && len(opt.HTTP)+len(opt.HTTPS) > 0 {
		return nil, errors.New("a server behind another one has no listeners of its own")
	}
	s := &Server{
		opt: opt, log: opt.Log, files: newFileCache(opt.CacheBytes), pages: pages, proxies: proxies,
		pairs: pairPool{}, stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.table.Store(new(table))
	s.plain = s.httpServer(http.HandlerFunc(s.servePlain))
	s.secure = s.httpServer(http.HandlerFunc(s.serveSecure))
	s.secure.TLSConfig = s.tlsConfig()
	s.setStatus(errNotRunning)
	return s, nil
}

// defaults fills in what the zero values of the fields mean.
func (o *Options) defaults() {
	setDefault(&o.CacheBytes, 64<<20)
	setDefault(&o.MaxHeaderBytes, 64<<10)
	setDefault(&o.ShutdownTimeout, 10*time.Second)
	setDefault(&o.Timeouts.ReadHeader, 10*time.Second)
	setDefault(&o.Timeouts.Idle, 75*time.Second)
	setDefault(&o.Timeouts.Stall, 60*time.Second)
	setDefault(&o.Timeouts.ProxyDial, 10*time.Second)
	setDefault(&o.Timeouts.Begin, 5*time.Second)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
