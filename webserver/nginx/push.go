package nginx

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"crypto/x509"

	"statiko/webserver"
)

// fix makes what of the configuration never changes.
func (s *Server) fix() error {
	d := &s.fixed
	d.CheckHost, d.CheckPair, d.Managed = s.prober.host, digestPair(s.prober.pair), s.opt.Managed
	d.Pid, d.Temp, d.Socket, d.Store = s.paths.pid, s.paths.temp, s.paths.socket, s.paths.store
	d.Welcome, d.Roots = filepath.Join(s.paths.welcome, "files"), s.paths.roots
	d.PairFile = filepath.Join(s.paths.pairs, "$statiko_pair"+pairSuffix)
	if s.owner.user != "" {
		d.User = plain(s.owner.user) + " " + plain(s.owner.group)
	}
	d.ShutdownTimeout = int(max(s.opt.Timeouts.Worker/time.Second, 1))
	d.Connections = 4096
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		d.OpenFiles = min(limit.Max, 65536)
	}
	if port := s.opt.PublicHTTPSPort; port != 0 && port != 443 {
		d.PublicPort = ":" + strconv.Itoa(port)
	}
	if err := s.fixListeners(); err != nil {
		return err
	}
	return d.fixed(s.opt.ManifestFile)
}

// fixListeners renders the addresses, in the way that this version of nginx wants.
func (s *Server) fixListeners() error {
	d := &s.fixed
	var v version
	if m, ok := s.eng.(*managed); ok {
		v = m.program.version
		d.UnusedTemp = m.program.unusedTemp()
		for _, l := range s.opt.HTTP {
			d.Plain = append(d.Plain, inherited(l.Addr().String()))
		}
		for _, l := range s.opt.HTTPS {
			d.Secure = append(d.Secure, inherited(l.Addr().String()))
		}
	} else {
		// The nginx that runs may be another one than that of this machine, in a container for instance: the older form
		// is understood by all versions.
		if path, err := Find(); err == nil {
			if p, err := inspect(path); err == nil {
				v = p.version
			}
		}
		for _, x := range []struct {
			address string
			to      *[]listenData
		}{{s.opt.HTTPAddress, &d.Plain}, {s.opt.HTTPSAddress, &d.Secure}} {
			all, err := addresses(x.address)
			if err != nil {
				return err
			}
			for _, a := range all {
				*x.to = append(*x.to, listenData{Address: a})
			}
		}
	}
	if v.atLeast(1, 25, 1) {
		d.HTTP2 = true
	} else {
		d.SecureOptions = " http2"
	}
	d.CertificateCache = v.atLeast(1, 27, 4)
	return nil
}

// inherited is the address of a listener that nginx gets: one for all addresses is for both families.
func inherited(address string) listenData {
	l := listenData{Address: address}
	if strings.HasPrefix(address, "[::]:") {
		l.Once = " ipv6only=off"
	}
	return l
}

// head is what stands first in the server block of a class.
func (s *Server) head(c *class) string {
	return s.listens() + fmt.Sprintf("\troot %s/%s/$host;\n", s.paths.roots, c.id)
}

// listens is what all server blocks of sites have in common.
func (s *Server) listens() string {
	var b strings.Builder
	for _, l := range s.fixed.Secure {
		fmt.Fprintf(&b, "\tlisten %s ssl%s;\n", l.Address, s.fixed.SecureOptions)
	}
	if s.fixed.HTTP2 {
		b.WriteString("\thttp2 on;\n")
	}
	if !s.opt.Managed {
		if err := s.renderer.main.ExecuteTemplate(&b, "common", s.fixed); err != nil {
			s.log.Error("render nginx's configuration", zap.Error(err)) // not with a template that was parsed and tested
		}
	}
	return b.String()
}

// render makes the text of the configuration that the model asks for, and writes its parts.
func (s *Server) render() (string, error) {
	if s.dh == "" {
		if _, err := s.takeDH(); err != nil {
			return "", fmt.Errorf("the DH parameters for nginx: %w", err)
		}
	}
	d := s.fixed
	d.Revision, d.NodePair, d.DHParams = s.nextRevision(), s.nodePair, s.dh
	if d.NodePair == "" {
		d.NodePair = `""`
	}
	d.HashSize = 2048
	for d.HashSize < 4*s.model.names.n {
		d.HashSize *= 2
	}
	write := func(name string, content []byte) error {
		s.stored[name] = true
		return s.writeOnce(filepath.Join(s.paths.store, name), content)
	}
	var err error
	files := func(l *list) (names []string) {
		if err == nil {
			names, err = l.files(write)
		}
		return names
	}
	d.Names, d.Pairs, d.Classes = files(s.model.names), files(s.model.pairs), files(s.model.small)
	for _, id := range slices.Sorted(maps.Keys(s.model.classes)) {
		if u := s.model.classes[id]; u.large != nil {
			d.Large = append(d.Large, largeData{
				Before: u.class.before, Head: s.head(u.class), Body: u.class.body, Names: files(u.large),
			})
		}
	}
	d.Shared = s.model.shared.data(files, s.listens())
	if err != nil {
		return "", fmt.Errorf("write nginx's configuration: %w", err)
	}
	var b bytes.Buffer
	if err := s.renderer.main.Execute(&b, d); err != nil {
		return "", err
	}
	return b.String(), nil
}

func (s *Server) nextRevision() string { return strconv.FormatUint(s.revision+1, 10) }

// pending tells whether there is something besides sites that nginx does not use yet. s.applying is held.
func (s *Server) pending() bool {
	check := joinPair(s.prober.pair)
	err := s.writeOnce(s.pairFile(s.fixed.CheckPair), check)
	if s.opt.Managed {
		err = errors.Join(err, s.writeOnce(s.paths.check, check))
	}
	if err != nil {
		s.log.Error("the pair for checks cannot be written for nginx", zap.Error(err))
	}
	dh, err := s.takeDH()
	if err != nil {
		s.log.Error("DH parameters cannot be written", zap.Error(err))
	}
	node, err := s.takeNodePair()
	if err != nil {
		s.log.Error("the node's certificate cannot be written for nginx", zap.Error(err))
	}
	return dh || node
}

// unpend goes back to the DH parameters and the node's pair of before a push that failed.
func (s *Server) unpend(dh, nodePair string) {
	if s.dh != dh {
		s.discard(s.dh)
	}
	if s.nodePair != nodePair {
		s.discard(s.pairFile(s.nodePair))
	}
	s.dh, s.nodePair = dh, nodePair
}

// takeNodePair writes the node's own pair, and tells whether it is another than the one in use.
func (s *Server) takeNodePair() (changed bool, err error) {
	if s.opt.NodeCertificate == nil {
		return false, nil
	}
	c := s.opt.NodeCertificate()
	if c == nil {
		return false, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return false, err
	}
	p := webserver.Pair{KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}
	for _, der := range c.Certificate {
		p.CertificatePEM = append(p.CertificatePEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	digest := digestPair(p)
	if err := s.writeOnce(s.pairFile(digest), joinPair(p)); err != nil {
		return false, err
	}
	if digest == s.nodePair {
		return false, nil
	}
	if s.nodePair != "" {
		s.discard(s.pairFile(s.nodePair))
	}
	s.nodePair = digest
	return true, nil
}

// startPatience is for how long a change waits for an nginx that is being started.
const startPatience = 3 * time.Second

// awaitRunning waits a little for nginx. There must be one to see that a configuration takes effect.
func (s *Server) awaitRunning(ctx context.Context) error {
	for began := time.Now(); ; {
		st := s.Status()
		if st.Running {
			return nil
		}
		if time.Since(began) > startPatience {
			return fmt.Errorf("nginx does not serve: %w", st.Err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// push brings what the model says into force: rendered, tested, put in its place, reloaded, and seen to be used. sni and
// leaf are a name and the certificate that it must be answered with; "" to look at the revision alone. On an error
// the old configuration is in its place and in use.
func (s *Server) push(ctx context.Context, sni string, leaf []byte) error {
	if s.dh == "" {
		s.pending()
	}
	// What is put in its place is what nginx starts with; connections wait for that.
	before := s.opt.Managed && (!s.begun || !s.startable.Load())
	if s.opt.Managed && !before {
		if err := s.awaitRunning(ctx); err != nil {
			return err
		}
		if s.continues(ctx) {
			s.took(s.kept)
			return nil
		}
	} // An external one may be down because of what we wrote before; to reload starts it.
	text, err := s.render()
	if err != nil {
		return err
	}
	if err := s.eng.install(ctx, text); err != nil {
		return err
	}
	if before {
		s.took(text)
		return nil
	}
	err = s.breathe(ctx)
	if err == nil {
		err = s.takeEffect(ctx, sni, leaf)
	}
	if err != nil {
		s.revision++ // workers may have it
		return errors.Join(err, s.putBack(ctx))
	}
	s.took(text)
	s.lastReload = time.Now()
	return nil
}
