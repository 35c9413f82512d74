package servertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"statiko/bundle"
	"statiko/webserver"
)

// uploaded is the upload time of all bundles, and so the modification time of their files: 0x6553f100 seconds.
var uploaded = time.Unix(1700000000, 0)

// httpsPort is what redirects must name.
const httpsPort = 8443

// world is a server with what is around it.
type world struct {
	Endpoints
	fixture Fixture
	backend string // host:port of an HTTP server that proxy rules may reach and that says what it was asked
}

func newWorld(t *testing.T) *world {
	t.Helper()
	backend := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(backend.Close)
	w := &world{backend: backend.Listener.Addr().String()}
	pair := newPair(t, "node.test")
	node, err := tls.X509KeyPair(pair.CertificatePEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	w.fixture = Fixture{
		NodeHandler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = fmt.Fprintf(w, "node %s %s", r.Host, r.URL.Path)
		}),
		NodeCertificate: &node,
		PublicHTTPSPort: httpsPort,
		ManifestFile:    "_statiko.yaml",
		AllowProxy:      []string{w.backend},
	}
	return w
}

// echo answers with what it was asked.
func echo(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/missing") {
		http.Error(w, "the backend's own 404", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Server", "backend")
	w.Header().Set("X-Backend", "yes")
	_, _ = fmt.Fprintf(w, "%s %s host=%s for=%s proto=%s xhost=%s body=%s", r.Method, r.RequestURI, r.Host,
		r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-Host"), body)
}

// apply applies changes of which none may fail.
func (w *world) apply(t *testing.T, sites ...*webserver.Site) {
	t.Helper()
	changes := make([]webserver.Change, len(sites))
	for i, s := range sites {
		changes[i] = webserver.Change{Domain: s.Domain, Site: s}
	}
	w.applyChanges(t, changes...)
}

func (w *world) applyChanges(t *testing.T, changes ...webserver.Change) {
	t.Helper()
	failed, err := w.Server.Apply(context.Background(), changes)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	for domain, err := range failed {
		t.Fatalf("apply %s: %v", domain, err)
	}
}

// newSite is a site with a certificate for its names.
func newSite(t *testing.T, domain string, aliases ...string) *webserver.Site {
	t.Helper()
	return &webserver.Site{Domain: domain, Aliases: aliases, Certificate: newPair(t, append([]string{domain}, aliases...)...)}
}

// deploy stages files as a bundle of the site. Names that begin with "gzip:" or "br:" are those forms.
func deploy(t *testing.T, s *webserver.Site, files map[string]string) *webserver.Site {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		folder := bundle.FilesDir
		if rest, ok := strings.CutPrefix(name, "gzip:"); ok {
			folder, name = bundle.GzipDir, rest
		} else if rest, ok := strings.CutPrefix(name, "br:"); ok {
			folder, name = bundle.BrotliDir, rest
		}
		path := filepath.Join(root, folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, uploaded, uploaded); err != nil {
			t.Fatal(err)
		}
	}
	next := *s
	next.Root, next.Version, next.Manifest = root, fmt.Sprintf("%x", root), nil
	if text, ok := files["_statiko.yaml"]; ok {
		m, err := bundle.ParseManifest("_statiko.yaml", []byte(text))
		if err != nil {
			t.Fatalf("manifest: %v", err)
		}
		next.Manifest = m
	}
	return &next
}

// newPair makes a self-signed P-256 certificate.
func newPair(t testing.TB, names ...string) webserver.Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
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
