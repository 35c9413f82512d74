// Package nginx is a [webserver.Server] that has an nginx serve the sites: it renders the configuration, has it tested,
// puts it in the place of the old one, reloads nginx and makes sure that it took effect. Start at [New].
//
// Either it runs an nginx of its own, as a child that is restarted when it ends ([Options.Managed]), or it writes one
// file for an nginx that something else runs, and drives that by commands.
//
// What nginx cannot do as it must be done, this process does for it, with package builtin behind a socket: requests for
// the node itself, proxied paths (whose hosts are judged when they are resolved), and manifests with patterns that are
// too long for nginx.
package nginx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"statiko/webserver"
	"statiko/webserver/builtin"
)

// Options are what New needs.
type Options struct {
	// Dir is a folder for files that nobody else may touch: it is made, and what is in it may be removed.
	Dir string
	// User is as whom the workers run if this process runs as root; they are the only others that can read keys.
	User string

	// Managed has an nginx run as a child of this process.
	Managed bool
	// Program is the nginx to run; "" looks for one. It is for managed mode.
	Program string
	// HTTP and HTTPS are the listeners that nginx gets in managed mode. They stay open while nginx is restarted, so that
	// connections wait in place of being refused. The server closes them.
	HTTP, HTTPS []net.Listener
	// Complete is closed once the server was told all sites there are. In managed mode nginx is started then, or after
	// Timeouts.Begin: until then connections wait, so that nobody is told that a site is not there because the node was
	// started a moment ago. Nil starts it at once.
	Complete <-chan struct{}
	// Empty tells whether there are no sites, once Complete is closed: what an earlier process left is served on if there
	// are some and none could be applied. Nil means that there are none then.
	Empty func() bool

	// ConfigPath is the folder of nginx's configuration in external mode, of which conf.d/statiko.conf is ours.
	ConfigPath string
	// HTTPAddress and HTTPSAddress are where nginx listens in external mode, host:port.
	HTTPAddress, HTTPSAddress string
	// Commands drive nginx in external mode.
	Commands Commands

	// NodeHandler, NodeCertificate, PublicHTTPSPort, ManifestFile and AllowProxy are as in [builtin.Options].
	NodeHandler     http.Handler
	NodeCertificate func() *tls.Certificate
	PublicHTTPSPort int
	ManifestFile    string
	AllowProxy      []string

	// Timeouts bound what nginx may take.
	Timeouts Timeouts
	// Log may be nil.
	Log *zap.Logger
}

// Commands are shell commands. Each is ended, with all that it started in its process group, when its time is over.
type Commands struct {
	// Start starts nginx, Reload has it read its configuration again.
	Start, Reload string
	// Status prints 1 if nginx runs.
	Status string
	// Test tests the configuration: exit code 0 if it is good.
	Test string
}

// Timeouts bound what nginx may take. Zero fields mean the value that their comment names.
type Timeouts struct {
	// Command is for a test of the configuration, and for a command: 60 s.
	Command time.Duration
	// Reload is until new workers answer with a new configuration: 60 s.
	Reload time.Duration
	// Between is the least time from one reload to the next: 100 ms.
	Between time.Duration
	// Worker is for how long requests may go on in workers of an old configuration: 10 minutes.
	Worker time.Duration
	// Shutdown is for how long requests may go on after Run's context ended: 10 s.
	Shutdown time.Duration
	// Watch is how often nginx is looked at: 5 s.
	Watch time.Duration
	// Begin is for how long nginx is not started although Complete is not closed: 10 s.
	Begin time.Duration
}

// Server implements [webserver.Server]. Make one with New.
type Server struct {
	opt   Options
	log   *zap.Logger
	paths paths
	owner owner
	eng   engine
	// inner answers what nginx passes on, and judges changes.
	inner    *builtin.Server
	node     *http.Server
	renderer *renderer
	fixed    mainData
	prober   prober

	applying sync.Mutex // guards what follows
	// begun tells that nginx was started; before, a configuration is only put in its place. External ones always were.
	begun    bool
	model    *model
	dh       string // the file of the DH parameters in use
	nodePair string
	// inForce is the text of the configuration of this process that is in its place, and in use if nginx runs; "" if there
	// is none.
	inForce string
	// kept is the configuration that an earlier process left, until one of this process is in its place; "" if there is
	// none. It has keptRevision. resumed tells that nginx was started with it.
	kept         string
	keptRevision uint64
	resumed      bool
	// revision is the newest one that nginx may have been given.
	revision   uint64
	lastReload time.Time
	trash      []trashed
	// stored are the files in paths.store.
	stored map[string]bool

	// undo takes back what package builtin took of a change that nginx could not be given while it served as before the
	// start; nil if there is nothing.
	undo func()
	// startable tells that there is a configuration in its place with which nginx can be started.
	startable atomic.Bool

	// wantDH has DH parameters to take up; nil if there are none.
	wantDH atomic.Pointer[string]
	// look has one slot: there is something to push although nobody calls Apply.
	look chan struct{}

	// prepared is closed by Run once all is there that a configuration needs.
	prepared chan struct{}

	life    sync.Mutex
	started bool
	closed  bool
	stop    chan struct{}
	done    chan struct{}
	status  atomic.Pointer[webserver.Status]
}

var (
	_ webserver.Server         = (*Server)(nil)
	_ webserver.Batcher        = (*Server)(nil)
	_ webserver.DHParamsSetter = (*Server)(nil)
)

// New checks the options, makes the folder and opens the socket for what nginx passes on. Nothing is started before
// Run. It takes over the listeners.
func New(opt Options) (*Server, error) {
	opt.defaults()
	s := &Server{
		opt: opt, log: opt.Log, paths: newPaths(opt.Dir), model: newModel(), stored: map[string]bool{},
		look: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), prepared: make(chan struct{}),
	}
	if err := checkDir(opt.Dir); err != nil {
		return nil, err
	}
	var err error
	if s.owner, err = findOwner(opt.User); err != nil {
		return nil, err
	}
	if s.renderer, err = newRenderer(); err != nil {
		return nil, err
	}
	if s.inner, err = builtin.New(builtin.Options{
		Behind: true, NodeHandler: opt.NodeHandler, NodeCertificate: opt.NodeCertificate,
		PublicHTTPSPort: opt.PublicHTTPSPort, ManifestFile: opt.ManifestFile, AllowProxy: opt.AllowProxy, Log: opt.Log,
	}); err != nil {
		return nil, err
	}
	if s.prober, err = newProber(s.paths.check, opt.Managed); err != nil {
		return nil, err
	}
	if opt.Managed {
		err = s.newManaged()
	} else {
		err = s.newExternal()
	}
	if err != nil {
		return nil, err
	}
	if err := s.fix(); err != nil {
		return nil, err
	}
	s.setStatus(errors.New("not started"))
	return s, nil
}

func (o *Options) defaults() {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	set(&o.Timeouts.Command, time.Minute)
	set(&o.Timeouts.Reload, time.Minute)
	set(&o.Timeouts.Between, 100*time.Millisecond)
	set(&o.Timeouts.Worker, 10*time.Minute)
	set(&o.Timeouts.Shutdown, 10*time.Second)
	set(&o.Timeouts.Watch, 5*time.Second)
	set(&o.Timeouts.Begin, 10*time.Second)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// checkDir refuses what could not stand in nginx's configuration, or in the address of a socket.
func checkDir(dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("folder %q for nginx: not an absolute path", dir)
	}
	if strings.ContainsAny(dir, "\"'\\${};#*?[] \t\r\n") {
		return fmt.Errorf("folder %q for nginx: has a blank or a special character; choose another appRoot", dir)
	}
	// sun_path has 108 bytes on Linux.
	if socket := newPaths(dir).socket; len(socket) > 100 {
		return fmt.Errorf("folder %q for nginx: too long for the socket %s, which may have 100 bytes; choose a shorter appRoot", dir, socket)
	}
	return nil
}

// Batch tells that all changes should come at once: each call may be a reload.
func (s *Server) Batch() int { return 1 << 30 }

// Status never blocks. See [webserver.Server].
func (s *Server) Status() webserver.Status { return *s.status.Load() }

// setStatus notes whether sites are served, and since when.
func (s *Server) setStatus(err error) {
	old := s.status.Load()
	if old != nil && (old.Err == nil) == (err == nil) && (err == nil || old.Err.Error() == err.Error()) {
		return
	}
	next := &webserver.Status{Running: err == nil, Err: err, Since: time.Now()}
	if old != nil && old.Running == next.Running {
		next.Since = old.Since
	}
	s.status.Store(next)
}

// SetDHParams has handshakes with finite-field Diffie-Hellman use these parameters, a PEM block. It returns at once;
// nginx gets them with the next change, or soon.
func (s *Server) SetDHParams(_ context.Context, pem string) error {
	if err := checkDH(pem); err != nil {
		return err
	}
	if old := s.wantDH.Load(); old != nil && *old == pem {
		return nil
	}
	s.wantDH.Store(&pem)
	s.poke()
	return nil
}

func (s *Server) poke() {
	select {
	case s.look <- struct{}{}:
	default:
	}
}
