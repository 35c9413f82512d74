// Package node builds a running node from its configuration: [New] checks everything, opens files and listeners and
// wires the parts together; [Node.Run] serves until its context ends; [Node.Close] releases what New took. Two nodes
// can run in one process. What the parts do is theirs; here stands only which parts there are and in which order
// they start and stop.
package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"statiko/bundle"
	"statiko/cluster"
	"statiko/config"
	"statiko/dhparams"
	"statiko/health"
	"statiko/leader"
	"statiko/reconcile"
	"statiko/secret"
	"statiko/server"
	"statiko/state"
	"statiko/webserver"
)

// Options are what a node needs beside its configuration.
type Options struct {
	// Version is the program's, for people.
	Version string
	// Inherited are ports that somebody opened for the node, such as systemd, in place of those in the configuration:
	// "api", "http" and "https". The node closes them.
	Inherited map[string]net.Listener
	// SearchDH searches for DH parameters; nil does it in this process. See [dhparams.Child].
	SearchDH func(context.Context, dhparams.Options) (*dhparams.Params, error)
	// Log may be nil.
	Log *zap.Logger
}

// Node is one node. Make it with New.
type Node struct {
	config    *config.Config
	log       *zap.Logger
	inherited map[string]net.Listener

	keyring     *secret.Keyring
	store       state.Store
	certificate *certificate
	library     *bundle.Library
	web         webserver.Server
	webAddrs    []net.Addr
	reconciler  *reconcile.Reconciler
	// prober is nil without a web server.
	prober *health.Prober
	// shared is nil for a node with its state in a file.
	shared *shared
	// loaded is closed once there is a state, firstPass once it was applied for the first time, and complete once the
	// web server knows all sites; see begin.
	loaded              <-chan struct{}
	firstPass, complete chan struct{}

	elector leader.Elector
	group   cluster.Group
	duties  map[string]leader.Duty
	dh      *dhparams.Duty

	apiListener net.Listener
	api         *http.Server
	// server is set before the web server can ask for anything.
	server *server.Server

	// closers release what New took, last first.
	closers []closer
}

// closer is one step of the teardown.
type closer struct {
	what  string
	close func() error
}

// shutdownTimeout bounds how long requests to the API may go on after the context of Run ended.
const shutdownTimeout = 10 * time.Second

// New makes a node. Everything that can be wrong with the configuration or the machine is found here: files that
// cannot be read, ports that are taken, a state of another encryption key. On an error nothing stays open.
func New(c *config.Config, o Options) (_ *Node, err error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	n := &Node{
		config: c, log: o.Log, inherited: o.Inherited, firstPass: make(chan struct{}), complete: make(chan struct{}),
	}
	for name, l := range o.Inherited {
		n.onClose("the inherited port "+name, closeListener(l))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.keyring, err = secret.NewKeyring(c.SecretsEncryptionKey, c.SecretsEncryptionOldKeys...); err != nil {
		return nil, fmt.Errorf("secretsEncryptionKey: %w", err)
	}
	dirs, err := makeFolders(c.AppRoot)
	if err != nil {
		return nil, err
	}
	if err := n.openListenersAndStore(dirs, o); err != nil {
		return nil, err
	}
	return n, nil
}

// openListenersAndStore makes the parts in the order in which they depend on each other.
func (n *Node) openListenersAndStore(dirs folders, o Options) (err error) {
	c := n.config
	if err := n.openState(dirs); err != nil {
		return err
	}
	if n.certificate, err = openCertificate(c, dirs.misc, n.log); err != nil {
		return err
	}
	if n.library, err = openLibrary(c, n.store, server.Peers(func() cluster.Group { return n.group }), dirs, n.log.Named("bundle")); err != nil {
		return err
	}
	n.onClose("the repository", closeRepository(n.library.Repository))
	if n.apiListener, err = n.listen("api", net.JoinHostPort(c.BindAddress, fmt.Sprint(c.Port)), "port"); err != nil {
		return err
	}
	n.onClose("the API's listener", closeListener(n.apiListener))
	if n.web, err = n.openWebServer(); err != nil {
		return err
	}
	n.onClose("the web server", n.web.Close)
	n.reconciler = reconcile.New(reconcile.Options{
		Store: n.store, Keyring: n.keyring, Bundles: n.library, Server: n.web, Dir: dirs.served,
		ManifestFile: c.ManifestFile, AllowProxy: c.Manifest.AllowProxy, DHBits: c.TLS.DHParams.Bits, Changed: n.changed,
		FirstPass: func() { close(n.firstPass) }, Log: n.log.Named("reconcile"),
	})
	if err := n.makeProber(); err != nil {
		return err
	}
	if err := n.join(o, dirs); err != nil {
		return err
	}
	options := server.Options{
		Store: n.store, Keyring: n.keyring, Reconciler: n.reconciler, Library: n.library, WebServer: n.web.Status,
		NodeName: c.NodeName, Leader: n.elector.Leader, Version: o.Version, PSK: psk(c),
		CORSOrigins: c.CORS.Origins, TemporaryDomain: c.TemporarySites.Domain, KeepVersions: c.Repo.KeepVersions,
		MaxStateSize: c.API.MaxStateSize, MaxUpload: c.Bundle.MaxUploadSize,
		AllowWeakDH: c.TLS.DHParams.AllowWeak, DHBits: c.TLS.DHParams.Bits, Log: n.log.Named("api"),
		Cluster: n.group, Ready: n.ready, Generating: n.dhProgress,
		Certificate: n.certificate.status,
	}
	if n.shared != nil {
		options.LeaderState, options.StepDown = n.shared.elector.State, n.shared.elector.StepDown
	}
	if n.prober != nil {
		options.Health = n.prober
	}
	if n.server, err = server.New(options); err != nil {
		return err
	}
	n.api = n.apiServer()
	return nil
}

func psk(c *config.Config) string {
	if c.Auth.PSK.Enabled {
		return c.Auth.PSK.Key
	}
	return ""
}

// Run serves until ctx ends, then stops in order: leading first, so that another node leads; then, after the time for
// which load balancers are told to send visitors elsewhere (key drainDelay), the API, so that nothing new is accepted,
// then the reconciler, and the web server last. It returns nil if it was ctx that ended it. Run must be called once.
func (n *Node) Run(ctx context.Context) error {
	// Each part is stopped by its own context, ended after that of the part that needs it.
	g, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	apiCtx, stopAPI := context.WithCancel(failed)
	workCtx, stopWork := context.WithCancel(failed)
	webCtx, stopWeb := context.WithCancel(failed)
	defer stopWeb()

	apiDone, workDone := make(chan struct{}), make(chan struct{})
	g.Go(func() error { defer close(apiDone); return n.runAPI(apiCtx) })
	work, workFailed := errgroup.WithContext(workCtx)
	work.Go(func() error { return n.reconcileWhenLoaded(workFailed) })
	if n.prober != nil {
		work.Go(func() error { return n.prober.Run(workFailed) })
	}
	// Leading ends first, whatever the API still has to answer, such as an upload: another node takes over at once.
	leadCtx, stopLeading := context.WithCancel(workFailed)
	defer stopLeading()
	work.Go(func() error { return n.elector.Run(leadCtx, n.duties) })
	work.Go(func() error { n.watchRepository(workFailed); return nil })
	work.Go(func() error { return n.group.Run(workFailed) })
	work.Go(func() error { n.certificate.watch(workFailed); return nil })
	work.Go(func() error { return n.keepBundles(workFailed) })
	work.Go(func() error { n.begin(workFailed); return nil })
	g.Go(func() error { defer close(workDone); return work.Wait() })
	if n.shared != nil {
		// The lease outlives what hangs on it, so that leaving is said and not only noticed.
		g.Go(func() error { return n.shared.sessions.Run(webCtx) })
	}
	g.Go(func() error { return n.web.Run(webCtx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			n.log.Info("stopping")
		case <-failed.Done():
		}
		stopLeading()
		n.drain(failed)
		stopAPI()
		<-apiDone
		stopWork()
		<-workDone
		stopWeb()
		return nil
	})
	n.log.Info("the node is up",
		zap.String("node", n.config.NodeName), zap.String("api", n.URL()), zap.String("pin", n.Pin()))
	return g.Wait()
}

// Close releases what New took. It is idempotent; call it after Run has returned.
func (n *Node) Close() error {
	var errs []error
	for i := len(n.closers) - 1; i >= 0; i-- {
		if err := n.closers[i].close(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", n.closers[i].what, err))
		}
	}
	n.closers = nil
	return errors.Join(errs...)
}

func (n *Node) onClose(what string, f func() error) {
	n.closers = append(n.closers, closer{what, f})
}
