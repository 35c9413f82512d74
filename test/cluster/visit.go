package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Visitor asks a node for pages as a browser would that resolves every name to it. It trusts every certificate: the
// tests look at them themselves. Ports other than 80 and 443 are taken as they are.
type Visitor struct {
	HTTP *http.Client
	// again tells that a request which was not sent is made once more.
	again bool
}

// NewVisitor returns a visitor of the node. Close it when done.
func NewVisitor(n *Node) *Visitor {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	to := map[string]string{"80": n.Address(n.HTTPPort), "443": n.Address(n.HTTPSPort)}
	return &Visitor{again: n.HasNginx(), HTTP: &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				return dialer.DialContext(ctx, "tcp", cmp.Or(to[port], addr))
			},
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			ForceAttemptHTTP2: true,
			// What is sent is compared byte for byte.
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Visit returns a visitor that ends with the test.
func Visit(t testing.TB, n *Node) *Visitor {
	v := NewVisitor(n)
	t.Cleanup(v.Close)
	return v
}

// Close closes the connections that nothing uses.
func (v *Visitor) Close() { v.HTTP.CloseIdleConnections() }

// Page is an answer.
type Page struct {
	Status int
	Proto  int
	Header http.Header
	Body   []byte
}

// Get asks for a URL, such as "https://docs.example.org/". Ports are the node's.
func (v *Visitor) Get(url string) (*Page, error) {
	resp, err := v.HTTP.Get(url)
	if err != nil && v.again && strings.Contains(err.Error(), unsent) {
		resp, err = v.HTTP.Get(url)
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	return &Page{resp.StatusCode, resp.ProtoMajor, resp.Header, body}, nil
}

// unsent is what net/http says of a new connection that was closed before the first request was sent on it: nginx does so to
// those of HTTP/2 when its workers change. Browsers take another connection then; net/http does so for used ones only.
const unsent = "http2: client conn could not be established"

// MustGet asks for a URL that must answer with this status.
func (v *Visitor) MustGet(t testing.TB, status int, url string) *Page {
	t.Helper()
	p, err := v.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	if p.Status != status {
		t.Fatalf("%s: status %d, want %d\n%.300s", url, p.Status, status, p.Body)
	}
	return p
}

// CertificateOf returns the certificate that the node shows for a name.
func (n *Node) CertificateOf(name string) (*x509.Certificate, error) {
	d := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(d, "tcp", n.Address(n.HTTPSPort), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}
