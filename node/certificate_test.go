package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"statiko/api"
	"statiko/certs"
	"statiko/config"
)

// writePair writes a pair as tools do, in two steps, and returns its leaf.
func writePair(t testing.TB, dir, name string, life time.Duration) *x509.Certificate {
	t.Helper()
	cert, key, err := certs.SelfSigned(certs.Request{Names: []string{name}, Life: life})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "node.crt"), string(cert))
	writeFile(t, filepath.Join(dir, "node.key"), string(key))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func opened(t testing.TB, c *config.Config, dir string) *certificate {
	t.Helper()
	n, err := openCertificate(c, dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Without files the node's own pair is in use; one that is configured later is taken up, and stays in use when its
// files break or go, which the status tells.
func TestCertificate_ConfiguredPairComesAndGoes(t *testing.T) {
	t.Parallel()
	dir, misc := t.TempDir(), t.TempDir()
	n := opened(t, testConfig(t, dir), misc)
	if s := n.status(); !s.Renewed || s.Error != "" || n.get().Leaf.VerifyHostname("node.test") != nil {
		t.Errorf("without files: %+v", s)
	}
	leaf := writePair(t, dir, "configured.test", 0)
	n.look()
	if s := n.status(); s.Renewed || s.Error != "" || !s.NotAfter.Equal(leaf.NotAfter) || !n.get().Leaf.Equal(leaf) {
		t.Errorf("with files: %+v", s)
	}
	for what, spoil := range map[string]func(){
		"are gone": func() {
			_ = os.Remove(filepath.Join(dir, "node.crt"))
			_ = os.Remove(filepath.Join(dir, "node.key"))
		},
		"both files":               func() { writePair(t, dir, "x.test", 0); _ = os.Remove(filepath.Join(dir, "node.key")) },
		"load the node's certific": func() { writePair(t, dir, "x.test", 0); writeFile(t, filepath.Join(dir, "node.crt"), "none") },
	} {
		spoil()
		n.look()
		if s := n.status(); !strings.Contains(s.Error, what) || !strings.Contains(s.Error, "tls.node.certificate") || !n.get().Leaf.Equal(leaf) {
			t.Errorf("%s: %+v, presents %s", what, s, n.get().Leaf.Subject)
		}
	}
	next := writePair(t, dir, "next.test", 0)
	n.look()
	if s := n.status(); s.Error != "" || !n.get().Leaf.Equal(next) {
		t.Errorf("repaired: %+v", s)
	}
}

// The node's own certificate is renewed while a third of its life is left, with the same key: whoever trusts the pin
// goes on to.
func TestCertificate_RenewedWithTheSameKey(t *testing.T) {
	t.Parallel()
	c, misc := testConfig(t, t.TempDir()), t.TempDir()
	n := opened(t, c, misc)
	first, pin := n.get().Leaf, n.pin()
	n.look()
	if !n.get().Leaf.Equal(first) {
		t.Error("renewed without need")
	}
	n.request.Now = first.NotAfter.Add(-time.Hour)
	n.look()
	if now := n.get().Leaf; now.Equal(first) || n.pin() != pin || now.NotAfter.Before(first.NotAfter) || n.status().Error != "" {
		t.Errorf("after its time: pin %s, before %s, until %s", n.pin(), pin, now.NotAfter)
	}
}

// A pair that is replaced disturbs no connection, and one that is broken is told in the status.
func TestNode_CertificateIsReplacedUnderOpenConnections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := writePair(t, dir, "first.test", 0)
	made, err := New(testConfig(t, dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	made.certificate.every = 5 * time.Millisecond
	n := launch(t, made, dir, nil)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(n.URL(), "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	n.ok(err)
	defer conn.Close()
	ask := func() {
		t.Helper()
		n.ok(conn.SetDeadline(time.Now().Add(patience)))
		_, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))
		n.ok(err)
		b := make([]byte, 4096)
		if got, err := conn.Read(b); err != nil || !strings.HasPrefix(string(b[:got]), "HTTP/1.1 200") {
			t.Errorf("on the open connection: %q, %v", b[:got], err)
		}
	}
	ask()
	second := writePair(t, dir, "second.test", 0)
	n.eventually(func() error {
		if n.certificate.get().Leaf.Equal(first) {
			return errors.New("the first certificate is still in use")
		}
		return nil
	})
	ask()
	writeFile(t, filepath.Join(dir, "node.key"), "no key")
	client, err := api.New(api.Options{BaseURL: n.URL(), Token: testPSK, Pin: certs.PinOf(second)})
	n.ok(err)
	defer client.Close()
	n.eventually(func() error {
		s, err := client.Status(n.ctx(), "", false)
		if err != nil {
			return err
		}
		if s.Certificate == nil || s.Certificate.Error == "" || !s.Certificate.NotAfter.Equal(second.NotAfter) {
			return errors.New("the status does not tell of the broken pair")
		}
		return nil
	})
	ask()
	stranger, err := api.New(api.Options{BaseURL: n.URL(), Insecure: true})
	n.ok(err)
	defer stranger.Close()
	if s, err := stranger.Status(n.ctx(), "", false); err != nil || s.Certificate != nil {
		t.Errorf("strangers see %+v, %v", s, err)
	}
}
