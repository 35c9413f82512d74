package builtin

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"statiko/webserver"
)

// ask asks the server for a name over HTTPS, and returns the status and the first name of the certificate.
func ask(t *testing.T, s *Server, name string) (status int, certificate string) {
	t.Helper()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", s.opt.HTTPS[0].Addr().String())
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Get("https://" + name)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return 0, ""
	}
	defer r.Body.Close()
	if names := r.TLS.PeerCertificates[0].DNSNames; len(names) > 0 {
		certificate = names[0]
	}
	return r.StatusCode, certificate
}

// A server that was just started, and does not know its sites yet, does not say that they are not there: who asks for one is
// answered when it is.
func TestBegin_VisitorsWaitForSites(t *testing.T) {
	t.Parallel()
	complete := make(chan struct{})
	pair := newPair(t, "node.test")
	own, err := tls.X509KeyPair(pair.CertificatePEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{Complete: complete, NodeCertificate: func() *tls.Certificate { return &own }, Timeouts: Timeouts{Begin: 15 * time.Second}})
	if _, err := s.Apply(t.Context(), []webserver.Change{{Domain: "early.test", Site: newSite(t, "early.test")}}); err != nil {
		t.Fatal(err)
	}
	if status, name := ask(t, s, "early.test"); status != 200 || name != "early.test" {
		t.Errorf("a site that is known already: status %d, certificate of %s", status, name)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if status, name := ask(t, s, "late.test"); status != 200 || name != "late.test" {
			t.Errorf("a site that comes: status %d, certificate of %s", status, name)
		}
	}()
	select {
	case <-answered:
		t.Fatal("it was answered before the site was there")
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := s.Apply(t.Context(), []webserver.Change{{Domain: "late.test", Site: newSite(t, "late.test")}}); err != nil {
		t.Fatal(err)
	}
	close(complete)
	<-answered
	if status, name := ask(t, s, "never.test"); status != 404 || name != "node.test" {
		t.Errorf("what is no site, later: status %d, certificate of %s", status, name)
	}
}

// When that takes too long, the answer is that the server is not ready, and not that there is no such site.
func TestBegin_AnswersInTime(t *testing.T) {
	t.Parallel()
	pair := newPair(t, "node.test")
	own, err := tls.X509KeyPair(pair.CertificatePEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{
		Complete: make(chan struct{}), NodeCertificate: func() *tls.Certificate { return &own }, Timeouts: Timeouts{Begin: 50 * time.Millisecond},
		NodeHandler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
	})
	if status, _ := ask(t, s, "late.test"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d", status)
	}
	if status, _ := ask(t, s, "late.test/status?"); status != http.StatusTeapot {
		t.Errorf("the node's own path: status %d", status)
	}
}
