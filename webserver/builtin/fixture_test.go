package builtin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"statiko/bundle"
	"statiko/webserver"
)

func newSite(t testing.TB, domain string, aliases ...string) *webserver.Site {
	t.Helper()
	return &webserver.Site{Domain: domain, Aliases: aliases, Certificate: newPair(t, append([]string{domain}, aliases...)...)}
}

// stage returns the site with these files as its bundle.
func stage(t testing.TB, s *webserver.Site, files map[string]string) *webserver.Site {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, bundle.FilesDir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	next := *s
	next.Root, next.Version = root, fmt.Sprintf("%x", root)
	return &next
}

func newPair(t testing.TB, names ...string) webserver.Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return webserver.Pair{
		CertificatePEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}
