package node

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"

	"statiko/bundle"
	"statiko/bundle/objectstore"
	"statiko/config"
	"statiko/filestore"
	"statiko/secret"
	"statiko/state"
	"statiko/webserver"
	"statiko/webserver/builtin"
)

// folders are those below appRoot.
type folders struct {
	apps, archives, spool, served, misc, copy string
}

// makeFolders makes appRoot and what is below it. appRoot and the unpacked bundles may be read by others, as another
// web server has to; the rest is the node's own.
func makeFolders(root string) (folders, error) {
	f := folders{
		apps: filepath.Join(root, "apps"), archives: filepath.Join(root, "archives"), spool: filepath.Join(root, "uploads"),
		served: filepath.Join(root, "served"), misc: filepath.Join(root, "misc"),
		copy: filepath.Join(root, "state"),
	}
	if err := os.MkdirAll(f.apps, 0o755); err != nil {
		return f, fmt.Errorf("make the data folder (key appRoot): %w", err)
	}
	for _, d := range []string{f.spool, f.served, f.misc, f.copy} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return f, fmt.Errorf("make the data folder (key appRoot): %w", err)
		}
	}
	return f, nil
}

// emptyFolder removes what is in a folder of the node's own.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// openStore is the one place that knows which stores there are.
func openStore(c *config.Config, k *secret.Keyring, log *zap.Logger) (state.Store, error) {
	switch c.State.Store {
	case "file":
		s, err := filestore.Open(filestore.Options{Path: c.State.File.Path, KeyID: k.ID(), KnownKeyIDs: k.IDs(), Log: log})
		if err != nil {
			return nil, fmt.Errorf("open the state (key state.file.path): %w", err)
		}
		return s, nil
	default:
		return nil, fmt.Errorf("state.store: %q is not a store of this version", c.State.Store)
	}
}

// openLibrary is the one place that knows which repositories there are.
func openLibrary(c *config.Config, store state.Store, peers bundle.Peers, dirs folders, log *zap.Logger) (*bundle.Library, error) {
	signers, err := openSigners(c)
	if err != nil {
		return nil, err
	}
	var repo, cache bundle.Repository
	switch c.Repo.Type {
	case "local":
		local, err := bundle.OpenLocal(c.Repo.Local.Path, log)
		if err != nil {
			return nil, fmt.Errorf("open the repository (key repo.local.path): %w", err)
		}
		repo = local
	default:
		store, err := openRemote(c, objectstore.Policy{}, log)
		if err != nil {
			return nil, err
		}
		repo = store
		// What this node has fetched, for the other nodes and for itself.
		if cache, err = bundle.OpenLocal(dirs.archives, log); err != nil {
			return nil, fmt.Errorf("open the cache of bundles (key appRoot): %w", err)
		}
	}
	if err := emptyFolder(dirs.spool); err != nil {
		return nil, fmt.Errorf("remove what a crash left of uploads (key appRoot): %w", err)
	}
	stager, err := bundle.NewStager(bundle.StagerOptions{
		Dir: dirs.apps,
		Limits: bundle.Limits{
			MaxBytes: c.Bundle.MaxUnpackedSize, MaxFiles: c.Bundle.MaxFiles, MaxRatio: float64(c.Bundle.MaxRatio),
		},
		Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the folder of unpacked bundles (key appRoot): %w", err)
	}
	return bundle.NewLibrary(bundle.LibraryOptions{
		Store: store, Repository: repo, Cache: cache, Stager: stager, SpoolDir: dirs.spool, MaxUpload: c.Bundle.MaxUploadSize,
		Peers: peers, Replicas: c.Repo.Replicas, Strict: c.Repo.StrictReplicas, Signers: signers,
		ManifestFile: c.ManifestFile, AllowProxy: c.Manifest.AllowProxy, Log: log,
	}), nil
}

// openSigners reads the keys whose signatures count.
func openSigners(c *config.Config) (*bundle.Signers, error) {
	text := []byte(c.Codesign.PublicKey)
	if len(text) > 0 && !bytes.Contains(text, []byte("-----BEGIN")) {
		var err error
		if text, err = os.ReadFile(c.Codesign.PublicKey); err != nil {
			return nil, fmt.Errorf("read the keys of signers (key codesign.publicKey): %w", err)
		}
	}
	signers, err := bundle.NewSigners(c.Codesign.Required, text)
	if err != nil {
		return nil, fmt.Errorf("the keys of signers (key codesign.publicKey): %w", err)
	}
	return signers, nil
}

// openWebServer is the one place that knows which web servers there are.
func (n *Node) openWebServer() (webserver.Server, error) {
	c := n.config
	if c.WebServer == "none" {
		return webserver.None{Since: time.Now()}, nil
	}
	if c.WebServer == "nginx" {
		return n.openNginx()
	}
	if c.WebServer != "builtin" {
		return nil, fmt.Errorf("webserver: %q is not a web server of this version", c.WebServer)
	}
	plain, err := n.listen("http", c.Web.HTTPAddress, "web.httpAddress")
	if err != nil {
		return nil, err
	}
	secure, err := n.listen("https", c.Web.HTTPSAddress, "web.httpsAddress")
	if err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	publicPort := c.Web.PublicHTTPSPort
	if publicPort == 0 {
		publicPort = secure.Addr().(*net.TCPAddr).Port
	}
	s, err := builtin.New(builtin.Options{
		HTTP: []net.Listener{plain}, HTTPS: []net.Listener{secure},
		NodeHandler: n.publicHandler(), NodeCertificate: n.certificate.get, Complete: n.complete,
		HangUp:          func() bool { return n.server.Draining() },
		PublicHTTPSPort: publicPort, ManifestFile: c.ManifestFile, AllowProxy: c.Manifest.AllowProxy,
		Log: n.log.Named("web"),
	})
	if err != nil {
		return nil, errors.Join(err, plain.Close(), secure.Close())
	}
	n.webAddrs = []net.Addr{plain.Addr(), secure.Addr()}
	return s, nil
}

// listen returns the port that the node inherited under the name, or else opens the one that the configuration's key has.
func (n *Node) listen(name, address, key string) (net.Listener, error) {
	if l, ok := n.inherited[name]; ok {
		return l, nil
	}
	return listen(address, key)
}

// listen opens a TCP port. key is that of the configuration, for the error.
func listen(address, key string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s (key %s): another program has this port; stop it or choose another: %w", address, key, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s (key %s): this user may not use the port; run as root, give the program CAP_NET_BIND_SERVICE or choose one above 1023: %w", address, key, err)
	default:
		return nil, fmt.Errorf("listen on %s (key %s): %w", address, key, err)
	}
}

// closeListener makes closing idempotent: a server that was given the listener closes it too.
func closeListener(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

// URL returns the address of the API on this machine.
func (n *Node) URL() string {
	scheme := "https"
	if !n.config.TLS.Node.Enabled {
		scheme = "http"
	}
	addr := n.apiListener.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// WebAddrs returns the addresses of the web server's ports: plain HTTP, then HTTPS; none if there is none.
func (n *Node) WebAddrs() []net.Addr { return n.webAddrs }

// Pin returns the pin of the API's key, as stkcli shows it; "" without TLS.
func (n *Node) Pin() string {
	if !n.config.TLS.Node.Enabled {
		return ""
	}
	return n.certificate.pin()
}
