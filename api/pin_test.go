package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// selfSigned returns a new self-signed certificate for key, valid for a day from then.
func selfSigned(t *testing.T, key *ecdsa.PrivateKey, from time.Time, hosts ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(from.UnixNano()), Subject: pkix.Name{CommonName: "node"}, DNSNames: hosts,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: from, NotAfter: from.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// tlsNode is a node behind TLS that counts requests.
func tlsNode(t *testing.T, cert tls.Certificate) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		io.WriteString(w, "[]")
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, requests
}

func TestPin_SurvivesRenewalAndRefusesAnotherKey(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	first, renewed := selfSigned(t, key, time.Now().Add(-time.Hour)), selfSigned(t, key, time.Now().Add(-48*time.Hour))
	pin := PinOf(first.Leaf)
	if got := PinOf(renewed.Leaf); got != pin {
		t.Fatalf("the renewed certificate's pin is %s, not %s", got, pin)
	}
	// It is expired too: with a pin, only the key counts.
	url, requests := tlsNode(t, renewed)
	for name, o := range map[string]Options{"pin": {Pin: pin}, "bare pin": {Pin: strings.TrimPrefix(pin, pinPrefix)}, "insecure": {Insecure: true}} {
		o.BaseURL, o.Token = url, "secret"
		before := requests.Load()
		if _, err := client(t, o).Sites(context.Background()); err != nil || requests.Load() != before+1 {
			t.Errorf("%s: %v", name, err)
		}
	}

	other := PinOf(selfSigned(t, newKey(t), time.Now()).Leaf)
	before := requests.Load()
	_, err := client(t, Options{BaseURL: url, Token: "secret", Pin: other}).Sites(context.Background())
	if mismatch, ok := errors.AsType[*PinMismatchError](err); !ok || mismatch.Want != other || mismatch.Got != pin {
		t.Errorf("another pin: %v", err)
	}
	if _, err := client(t, Options{BaseURL: url, Token: "secret"}).Sites(context.Background()); err == nil {
		t.Error("an unknown certificate is trusted")
	}
	if requests.Load() != before {
		t.Error("the key was sent to a node that is not trusted")
	}
}

func TestFetchPeer_SendsNothingAndJudges(t *testing.T) {
	t.Parallel()
	cert := selfSigned(t, newKey(t), time.Now().Add(-time.Hour), "localhost")
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type heard struct {
		data []byte
		err  error
	}
	said := make(chan heard, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			data, err := io.ReadAll(conn)
			conn.Close()
			said <- heard{data, err}
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	port := l.Addr().(*net.TCPAddr).Port
	for name, test := range map[string]struct {
		roots   *x509.CertPool
		trusted bool
	}{
		"known root": {roots, true}, "system": {nil, false},
	} {
		peer, err := FetchPeer(context.Background(), "127.0.0.1", port, test.roots)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h := <-said; len(h.data) != 0 {
			t.Errorf("%s: the node heard %q", name, h.data)
		}
		if peer.Pin != PinOf(cert.Leaf) || (peer.Untrusted == nil) != test.trusted {
			t.Errorf("%s: %+v", name, peer)
		}
	}
}

func TestFetchPeer_NodeWithoutTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	host, port, err := ParseNode(strings.TrimPrefix(s.URL, "http://"), 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = FetchPeer(context.Background(), host, port, nil)
	if _, ok := errors.AsType[tls.RecordHeaderError](err); !ok {
		t.Errorf("got %v", err)
	}
}
