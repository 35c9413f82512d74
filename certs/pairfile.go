package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Pair is a private key and its certificates. Printed, it shows nothing of the key.
type Pair struct {
	// CertPEM has the certificate and its chain.
	CertPEM []byte
	// KeyPEM has the private key.
	KeyPEM []byte
	// Leaf is the certificate.
	Leaf *x509.Certificate
}

// Format names the certificate, for every verb.
func (p Pair) Format(f fmt.State, _ rune) {
	name := "none"
	if p.Leaf != nil {
		name = p.Leaf.Subject.CommonName
	}
	_, _ = fmt.Fprintf(f, "[pair of %s]", name)
}

// modeKey and modeCertificate are those of the files.
const (
	modeKey         fs.FileMode = 0o600
	modeCertificate fs.FileMode = 0o644
)

// LoadOrCreate returns the self-signed pair that is kept in two files. It makes the files and their folders when they
// do not exist, and a new certificate, with the same key so that the key's pin survives, when the one there is damaged,
// lost, not for all of r.Names, or has a third of its life or less left. created tells that the key is new, and so the
// pin.
//
// A key that cannot be read, and a certificate of somebody else's making, are errors and stay as they are. The files
// must not be shared with another process that does the same.
func LoadOrCreate(certPath, keyPath string, r Request) (pair Pair, created bool, err error) {
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	keyPEM, err := os.ReadFile(keyPath)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return createPair(certPath, keyPath, r)
	case err != nil:
		return Pair{}, false, fmt.Errorf("read the key: %w", err)
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return Pair{}, false, fmt.Errorf("%s: %w; repair it, or move it away for a new one", keyPath, err)
	}
	if err := tighten(keyPath); err != nil {
		return Pair{}, false, err
	}
	certPEM, err := os.ReadFile(certPath)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Pair{}, false, fmt.Errorf("read the certificate: %w", err)
	}
	if chain, err := parseChain(certPEM); err == nil {
		leaf := chain[0]
		if !bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
			return Pair{}, false, fmt.Errorf("%s was issued by %q, it is not one that this program made; move it away or configure it as the node's own",
				certPath, clip(leaf.Issuer.String()))
		}
		if samePublic(key.Public(), leaf.PublicKey) && len(notCovered(leaf, r.Names)) == 0 && !dueAt(leaf, r.Now) {
			return Pair{certPEM, keyPEM, leaf}, false, nil
		}
	}
	if certPEM, err = selfSign(key, r); err != nil {
		return Pair{}, false, err
	}
	if err := writeFile(certPath, certPEM, modeCertificate); err != nil {
		return Pair{}, false, err
	}
	pair, err = newPair(certPEM, keyPEM)
	return pair, false, err
}

// createPair writes the key first: a key without certificate is completed at the next start.
func createPair(certPath, keyPath string, r Request) (Pair, bool, error) {
	if old, err := os.ReadFile(certPath); err == nil {
		if chain, err := parseChain(old); err == nil && !isSelfSigned(chain[0]) {
			return Pair{}, false, fmt.Errorf("%s is there without its key %s; restore the key, or move the certificate away", certPath, keyPath)
		}
	}
	certPEM, keyPEM, err := SelfSigned(r)
	if err != nil {
		return Pair{}, false, err
	}
	for _, p := range []string{keyPath, certPath} {
		if err := os.MkdirAll(filepath.Dir(p), 0o750); err != nil {
			return Pair{}, false, fmt.Errorf("make the folder of the certificate: %w", err)
		}
	}
	if err := writeFile(keyPath, keyPEM, modeKey); err != nil {
		return Pair{}, false, err
	}
	if err := writeFile(certPath, certPEM, modeCertificate); err != nil {
		return Pair{}, false, err
	}
	pair, err := newPair(certPEM, keyPEM)
	return pair, true, err
}

func newPair(certPEM, keyPEM []byte) (Pair, error) {
	block, _ := pem.Decode(certPEM)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Pair{}, fmt.Errorf("read the certificate just made: %w", err)
	}
	return Pair{certPEM, keyPEM, leaf}, nil
}

// dueAt tells whether a certificate has a third of its life or less left.
func dueAt(c *x509.Certificate, now time.Time) bool {
	return !now.Before(renewalOf(c))
}

// renewalOf returns when a third of the certificate's life is left.
func renewalOf(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

// tighten takes the key away from everybody but its owner.
func tighten(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	if st.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(path, modeKey); err != nil {
		return fmt.Errorf("others can read the key, and that cannot be changed: %w", err)
	}
	return nil
}

// writeFile replaces a file as a whole: nobody, and no crash, ever sees half of it.
func writeFile(path string, data []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp") // 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // closed before, or the first error counts
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// syncFolder makes a rename in the folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
