package nginx

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

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
		return servertest.Endpoints{Server: s, HTTP: s.opt.HTTP[0].Addr().String(), HTTPS: s.opt.HTTPS[0].Addr().String(), Product: "nginx", Reloads: true, Long: os.Getenv("STATIKO_SOAK") != ""}
	})
}

// needNginx skips a test where there is no nginx, but in CI, which has to have one.
func needNginx(t testing.TB) {
	t.Helper()
	if _, err := Find(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// folder is a short one: a socket's path has a bound.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ngx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the folder: %v", err)
		}
	})
	return filepath.Join(dir, "nginx")
}

// complete gives options a folder, listeners on loopback and short times.
func complete(t testing.TB, opt Options) Options {
	t.Helper()
	needNginx(t)
	if opt.Dir == "" {
		opt.Dir = folder(t)
	}
	opt.Managed = true
	opt.User = "root" // the tests' folders are closed to others
	if opt.HTTP == nil && opt.HTTPS == nil {
		opt.HTTP, opt.HTTPS = []net.Listener{listen(t, "127.0.0.1:0")}, []net.Listener{listen(t, "127.0.0.1:0")}
	}
	if opt.Timeouts.Between == 0 {
		opt.Timeouts.Between = time.Millisecond
	}
	if opt.Log == nil {
		if tt, ok := t.(*testing.T); ok && testing.Verbose() {
			opt.Log = zaptest.NewLogger(tt)
		}
	}
	return opt
}

// start makes and runs a server until the end of the test, and waits until nginx answers.
func start(t testing.TB, opt Options) *Server {
	t.Helper()
	return launch(t, complete(t, opt))
}

// launch is start with complete options.
func launch(t testing.TB, opt Options) *Server {
	t.Helper()
	s := launchOnly(t, opt)
	awaitServing(t, s)
	return s
}

func awaitServing(t testing.TB, s *Server) {
	t.Helper()
	eventually(t, func() error {
		if st := s.Status(); !st.Running {
			return fmt.Errorf("not running: %w", st.Err)
		}
		return nil
	})
}

// launchOnly is launch without waiting.
func launchOnly(t testing.TB, opt Options) *Server {
	t.Helper()
	s, _ := launchUntil(t, opt)
	return s
}

// launchUntil is launchOnly with a function that ends the server before the test is over.
func launchUntil(t testing.TB, opt Options) (s *Server, stop func()) {
	t.Helper()
	s, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// eventually waits until try succeeds.
func eventually(t testing.TB, try func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if err = try(); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal(err)
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", address, err)
	}
	return l
}
