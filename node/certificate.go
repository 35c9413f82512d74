package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"statiko/api"
	"statiko/certs"
	"statiko/config"
	"statiko/state"
)

// certificate is the node's own: that of the API, and of names that are no site.
type certificate struct {
	log *zap.Logger
	// every is certificateEvery, but for tests.
	every time.Duration
	// certFile and keyFile are the configured pair's; dir is for the node's own.
	certFile, keyFile, dir string
	request                certs.Request
	current                atomic.Pointer[ownPair]
	// problem says why what should be in use is not; nil or "" for nothing.
	problem atomic.Pointer[string]
}

// ownPair is a certificate, and whether the node renews it itself.
type ownPair struct {
	*tls.Certificate
	renewed bool
}

// certificateEvery is how often the files are looked at again, for a renewed pair and for one that is due.
const certificateEvery = time.Minute

// openCertificate loads the configured pair if both files exist; otherwise the node's self-signed pair, which is made
// if there is none and renewed with the same key, so that its pin survives. A configured pair that appears later is
// taken up then; one that disappears stays in use.
func openCertificate(c *config.Config, dir string, log *zap.Logger) (*certificate, error) {
	n := &certificate{
		log: log, every: certificateEvery, certFile: c.TLS.Node.Certificate, keyFile: c.TLS.Node.Key, dir: dir,
		request: certs.Request{
			Names: ownNames(c), KeyType: c.TLS.SelfSigned.KeyType, Life: time.Duration(c.TLS.SelfSigned.Days) * 24 * time.Hour,
		},
	}
	pair, err := n.load()
	if err != nil {
		return nil, err
	}
	n.current.Store(pair)
	return n, nil
}

// load reads the pair that should be in use now.
func (n *certificate) load() (*ownPair, error) {
	configured, err := bothExist(n.certFile, n.keyFile)
	if err != nil {
		return nil, err
	}
	if configured {
		pair, err := tls.LoadX509KeyPair(n.certFile, n.keyFile)
		if err != nil {
			return nil, fmt.Errorf("load the node's certificate (keys tls.node.certificate and tls.node.key): %w", err)
		}
		return &ownPair{&pair, false}, nil
	}
	if now := n.current.Load(); now != nil && !now.renewed {
		return nil, fmt.Errorf("the files of the node's certificate (keys tls.node.certificate and tls.node.key) are gone: %s, %s", n.certFile, n.keyFile)
	}
	pair, created, err := certs.LoadOrCreate(filepath.Join(n.dir, "node.crt"), filepath.Join(n.dir, "node.key"), n.request)
	if err != nil {
		return nil, fmt.Errorf("the node's own certificate: %w", err)
	}
	if created {
		n.log.Info("made a self-signed certificate for the API", zap.String("pin", certs.PinOf(pair.Leaf)))
	}
	loaded, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return nil, fmt.Errorf("the node's own certificate: %w", err)
	}
	return &ownPair{&loaded, true}, nil
}

// bothExist tells whether a pair is configured. One file without the other is a mistake.
func bothExist(certificate, key string) (bool, error) {
	if certificate == "" || key == "" {
		return false, nil
	}
	_, certErr := os.Stat(certificate)
	_, keyErr := os.Stat(key)
	switch {
	case certErr == nil && keyErr == nil:
		return true, nil
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("the node's certificate needs both files (keys tls.node.certificate and tls.node.key): %w",
		errors.Join(certErr, keyErr))
}

// ownNames returns the names of the self-signed certificate: those of tls.node.address and nodeName that are host
// names, and localhost.
func ownNames(c *config.Config) []string {
	var names []string
	seen := map[string]bool{}
	for _, n := range []string{c.TLS.Node.Address, c.NodeName, "localhost"} {
		if n, err := state.CheckDomain(n); err == nil && !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	return names
}

func (n *certificate) get() *tls.Certificate { return n.current.Load().Certificate }

// pin returns the pin of the certificate's key.
func (n *certificate) pin() string { return certs.PinOf(n.get().Leaf) }

// status tells of it, for the node's status.
func (n *certificate) status() *api.NodeCertificate {
	pair := n.current.Load()
	s := &api.NodeCertificate{NotAfter: pair.Leaf.NotAfter.UTC(), Renewed: pair.renewed}
	if problem := n.problem.Load(); problem != nil {
		s.Error = *problem
	}
	return s
}

// watch takes up a certificate that was replaced or renewed, until ctx ends. One that cannot be loaded leaves the
// last one in use, and the status says why.
func (n *certificate) watch(ctx context.Context) {
	ticker := time.NewTicker(n.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		n.look()
	}
}

// look takes up what should be in use now.
func (n *certificate) look() {
	before := ""
	if problem := n.problem.Load(); problem != nil {
		before = *problem
	}
	pair, err := n.load()
	if err != nil {
		text := err.Error()
		n.problem.Store(&text)
		if text != before {
			n.log.Error("the node's certificate cannot be loaded; the last one stays in use", zap.Error(err))
		}
		return
	}
	n.problem.Store(nil)
	if !pair.Leaf.Equal(n.get().Leaf) {
		n.log.Info("the node's certificate was replaced", zap.String("pin", certs.PinOf(pair.Leaf)))
		n.current.Store(pair)
	}
}
