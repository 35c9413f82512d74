package nginx

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"statiko/bundle"
	"statiko/webserver"
)

func newSite(t testing.TB, domain string, aliases ...string) *webserver.Site {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &webserver.Site{Domain: domain, Aliases: aliases, Certificate: newPair(t, key, append([]string{domain}, aliases...)...)}
}

// newRSAPair is for cipher suites that need one.
func newRSAPair(t testing.TB, names ...string) webserver.Pair {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return newPair(t, key, names...)
}

func newPair(t testing.TB, key crypto.Signer, names ...string) webserver.Pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
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

// stage returns the site with these files as its bundle, and the manifest in _statiko.yaml.
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
	next.Root, next.Version, next.Manifest = root, fmt.Sprintf("%x", root), nil
	if text, ok := files["_statiko.yaml"]; ok {
		next.Manifest = parse(t, text)
	}
	return &next
}

func parse(t testing.TB, text string) *bundle.Manifest {
	t.Helper()
	m, err := bundle.ParseManifest("_statiko.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// apply makes sites current, none of which may fail.
func apply(t testing.TB, s *Server, sites ...*webserver.Site) {
	t.Helper()
	failed, err := tryApply(t, s, sites...)
	if err != nil || len(failed) > 0 {
		t.Fatalf("apply: %v %v", err, failed)
	}
}

func tryApply(t testing.TB, s *Server, sites ...*webserver.Site) (map[string]error, error) {
	t.Helper()
	changes := make([]webserver.Change, len(sites))
	for i, site := range sites {
		changes[i] = webserver.Change{Domain: site.Domain, Site: site}
	}
	return s.Apply(t.Context(), changes)
}

// get asks for a path over HTTPS, on a connection of its own.
func get(s *Server, host, path string) (status int, body string, err error) {
	v, err := visit(s, host)
	if err != nil {
		return 0, "", err
	}
	defer v.Close()
	return v.get(path, "Connection: close\r\n")
}

// visitor is a connection of a visitor to one site.
type visitor struct {
	net.Conn
	host    string
	answers *bufio.Reader
}

func visit(s *Server, host string) (*visitor, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", s.eng.address(),
		&tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	return &visitor{c, host, bufio.NewReader(c)}, nil
}

// get asks for a path; headers are lines of the request.
func (v *visitor) get(path, headers string) (status int, body string, err error) {
	if err := v.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return 0, "", err
	}
	if _, err := fmt.Fprintf(v, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, v.host, headers); err != nil {
		return 0, "", err
	}
	res, err := http.ReadResponse(v.answers, nil)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func wantBody(t testing.TB, s *Server, host, path, want string) {
	t.Helper()
	if status, body, err := get(s, host, path); err != nil || status != 200 || body != want {
		t.Errorf("https://%s%s: %d %.200q %v, want %q", host, path, status, body, err, want)
	}
}

type manifest = *bundle.Manifest

func fileExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// handler answers all with a text.
func handler(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

// ownerOf returns the user that a process runs as.
func ownerOf(t testing.TB, pid int) string {
	t.Helper()
	info, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid)
}
