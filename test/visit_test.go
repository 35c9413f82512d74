package test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// visitor asks a node for pages as a browser would that resolves every name to it. It trusts every certificate: the
// tests look at them themselves.
type visitor struct{ http *http.Client }

// newVisitor returns a visitor of the node. Close it when done.
func newVisitor(n *node) *visitor {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	to := map[string]string{"80": n.address(n.httpPort), "443": n.address(n.httpsPort)}
	return &visitor{&http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				return dialer.DialContext(ctx, "tcp", to[port])
			},
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			ForceAttemptHTTP2: true,
			// What is sent is compared byte for byte.
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func visit(t testing.TB, n *node) *visitor {
	v := newVisitor(n)
	t.Cleanup(v.close)
	return v
}

func (v *visitor) close() { v.http.CloseIdleConnections() }

// page is an answer.
type page struct {
	status int
	proto  int
	header http.Header
	body   []byte
}

// get asks for a URL, such as "https://docs.example.org/". Ports are the node's.
func (v *visitor) get(url string) (*page, error) {
	resp, err := v.http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	return &page{resp.StatusCode, resp.ProtoMajor, resp.Header, body}, nil
}

// mustGet asks for a URL that must answer with this status.
func (v *visitor) mustGet(t testing.TB, status int, url string) *page {
	t.Helper()
	p, err := v.get(url)
	if err != nil {
		t.Fatal(err)
	}
	if p.status != status {
		t.Fatalf("%s: status %d, want %d\n%.300s", url, p.status, status, p.body)
	}
	return p
}

// certificateOf returns the certificate that the node shows for a name.
func (n *node) certificateOf(name string) (*x509.Certificate, error) {
	d := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(d, "tcp", n.address(n.httpsPort), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}
