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

	"statiko/certs"
	"statiko/config"
	"statiko/state"
)

// certificate is the node's own: that of the API, and of names that are no site.
type certificate struct {
	log *zap.Logger
	// every is certificateEvery, but for tests.
	every   time.Duration
	load    func() (*tls.Certificate, error)
	current atomic.Pointer[tls.Certificate]
}

// certificateEvery is how often the files are looked at again, for a renewed pair and for one that is due.
const certificateEvery = time.Minute

// openCertificate loads the configured pair if both files exist; otherwise the node's self-signed pair, which is made
// if there is none and renewed with the same key, so that its pin survives.
func openCertificate(c *config.Config, dir string, log *zap.Logger) (*certificate, error) {
	n := &certificate{log: log, every: certificateEvery}
	configured, err := bothExist(c.TLS.Node.Certificate, c.TLS.Node.Key)
	if err != nil {
		return nil, err
	}
	if configured {
		n.load = func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.TLS.Node.Certificate, c.TLS.Node.Key)
			if err != nil {
				return nil, fmt.Errorf("load the node's certificate (keys tls.node.certificate and tls.node.key): %w", err)
			}
			return &pair, nil
		}
	} else {
		names := ownNames(c)
		n.load = func() (*tls.Certificate, error) {
			pair, created, err := certs.LoadOrCreate(filepath.Join(dir, "node.crt"), filepath.Join(dir, "node.key"), certs.Request{
				Names: names, KeyType: c.TLS.SelfSigned.KeyType, Life: time.Duration(c.TLS.SelfSigned.Days) * 24 * time.Hour,
			})
			if err != nil {
				return nil, fmt.Errorf("the node's own certificate: %w", err)
			}
			if created {
				log.Info("made a self-signed certificate for the API", zap.String("pin", certs.PinOf(pair.Leaf)))
			}
			loaded, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
			if err != nil {
				return nil, fmt.Errorf("the node's own certificate: %w", err)
			}
			return &loaded, nil
		}
	}
	pair, err := n.load()
	if err != nil {
		return nil, err
	}
	n.current.Store(pair)
	return n, nil
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

func (n *certificate) get() *tls.Certificate { return n.current.Load() }

// pin returns the pin of the certificate's key.
func (n *certificate) pin() string { return certs.PinOf(n.get().Leaf) }

// watch takes up a certificate that was replaced or renewed, until ctx ends. One that cannot be loaded leaves the
// last one in use.
func (n *certificate) watch(ctx context.Context) {
	ticker := time.NewTicker(n.every)
	defer ticker.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		pair, err := n.load()
		if err != nil {
			if text := err.Error(); text != last {
				last = text
				n.log.Error("the node's certificate cannot be loaded; the last one stays in use", zap.Error(err))
			}
			continue
		}
		last = ""
		if !pair.Leaf.Equal(n.get().Leaf) {
			n.log.Info("the node's certificate was replaced", zap.String("pin", certs.PinOf(pair.Leaf)))
			n.current.Store(pair)
		}
	}
}
