package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TLS has the files of a cluster that speaks https.
type TLS struct {
	// CA is the file with the authority of server and clients.
	CA string
	// Server is what the members show.
	Server Pair
	// Client is a pair that they accept.
	Client Pair
}

// Pair has the files of a certificate and its key, in PEM.
type Pair struct{ Certificate, Key string }

// Authority signs certificates for tests.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// File is its certificate in PEM.
	File string
}

// NewAuthority returns an authority whose file is in a folder of the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-48 * time.Hour),
		NotAfter: time.Now().Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &Authority{key: key, File: filepath.Join(t.TempDir(), "ca.pem")}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.File, "CERTIFICATE", der)
	return a
}

// Issue returns a pair for 127.0.0.1 that is good for server and client until notAfter, in a folder of the test.
func (a *Authority) Issue(t testing.TB, notAfter time.Time, hosts ...string) Pair {
	t.Helper()
	folder := t.TempDir()
	p := Pair{filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")}
	a.Renew(t, p, notAfter, hosts...)
	return p
}

// Renew replaces the files of a pair by a new one. Without hosts, it is for 127.0.0.1.
func (a *Authority) Renew(t testing.TB, p Pair, notAfter time.Time, hosts ...string) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: hosts,
	}
	if len(hosts) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, p.Certificate, "CERTIFICATE", der)
	writePEM(t, p.Key, "EC PRIVATE KEY", raw)
}

// NewTLS returns the files of a cluster that speaks https, and their authority.
func NewTLS(t testing.TB) (*TLS, *Authority) {
	t.Helper()
	a := NewAuthority(t)
	later := time.Now().Add(24 * time.Hour)
	return &TLS{CA: a.File, Server: a.Issue(t, later), Client: a.Issue(t, later)}, a
}

// clientConfig trusts any server: it is for the tests' own client, not for what is tested.
func (c *TLS) clientConfig() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		p, err := tls.LoadX509KeyPair(c.Client.Certificate, c.Client.Key)
		return &p, err
	}}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
