package node

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"statiko/state"
	"statiko/webserver"
	"statiko/webserver/nginx"
)

// openNginx makes the web server that drives an nginx.
func (n *Node) openNginx() (webserver.Server, error) {
	c := n.config
	o := nginx.Options{
		Dir: filepath.Join(c.AppRoot, "nginx"), User: c.Nginx.User, Managed: c.Nginx.Mode == "managed",
		ConfigPath: c.Nginx.ConfigPath, HTTPAddress: c.Web.HTTPAddress, HTTPSAddress: c.Web.HTTPSAddress,
		Commands: nginx.Commands{
			Start: c.Nginx.Commands.Start, Reload: c.Nginx.Commands.Restart, Status: c.Nginx.Commands.Status, Test: c.Nginx.Commands.Test,
		},
		NodeHandler: n.publicHandler(), NodeCertificate: n.certificate.get, Complete: n.complete,
		Empty:           func() bool { return n.store.Snapshot().Len(state.KindSite) == 0 },
		PublicHTTPSPort: c.Web.PublicHTTPSPort, ManifestFile: c.ManifestFile, AllowProxy: c.Manifest.AllowProxy,
		Log: n.log.Named("nginx"),
	}
	if !o.Managed {
		plain, err := net.ResolveTCPAddr("tcp", c.Web.HTTPAddress)
		if err != nil {
			return nil, fmt.Errorf("web.httpAddress: %w", err)
		}
		secure, err := net.ResolveTCPAddr("tcp", c.Web.HTTPSAddress)
		if err != nil {
			return nil, fmt.Errorf("web.httpsAddress: %w", err)
		}
		if o.PublicHTTPSPort == 0 {
			o.PublicHTTPSPort = secure.Port
		}
		n.webAddrs = []net.Addr{plain, secure}
		return nginx.New(o)
	}
	nginx.EndLeftover(o.Dir)
	plain, err := n.listen("http", c.Web.HTTPAddress, "web.httpAddress")
	if err != nil {
		return nil, err
	}
	secure, err := n.listen("https", c.Web.HTTPSAddress, "web.httpsAddress")
	if err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	if o.PublicHTTPSPort == 0 {
		o.PublicHTTPSPort = secure.Addr().(*net.TCPAddr).Port
	}
	o.HTTP, o.HTTPS = []net.Listener{plain}, []net.Listener{secure}
	s, err := nginx.New(o)
	if err != nil {
		return nil, errors.Join(err, plain.Close(), secure.Close())
	}
	n.webAddrs = []net.Addr{plain.Addr(), secure.Addr()}
	return s, nil
}
