package builtin

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"statiko/webserver/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	t.Parallel()
	servertest.Run(t, func(t *testing.T, f servertest.Fixture) servertest.Endpoints {
		s := start(t, Options{
			NodeHandler:     f.NodeHandler,
			NodeCertificate: func() *tls.Certificate { return f.NodeCertificate },
			PublicHTTPSPort: f.PublicHTTPSPort,
			ManifestFile:    f.ManifestFile,
			AllowProxy:      f.AllowProxy,
		})
		return servertest.Endpoints{Server: s, HTTP: s.opt.HTTP[0].Addr().String(), HTTPS: s.opt.HTTPS[0].Addr().String(), Long: os.Getenv("STATIKO_SOAK") != ""}
	})
}

// start makes a server on loopback, if the options have no listeners, and runs it until the end of the test.
func start(t testing.TB, opt Options) *Server {
	t.Helper()
	if opt.HTTP == nil && opt.HTTPS == nil {
		opt.HTTP, opt.HTTPS = []net.Listener{listen(t, "127.0.0.1:0")}, []net.Listener{listen(t, "127.0.0.1:0")}
	}
	if opt.Log == nil {
		if tt, ok := t.(*testing.T); ok && testing.Verbose() {
			opt.Log = zaptest.NewLogger(tt)
		}
	}
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", address, err)
	}
	return l
}
