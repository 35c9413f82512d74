package builtin

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"statiko/webserver"
)

// apply makes sites current, none of which may fail.
func apply(t testing.TB, s *Server, sites ...*webserver.Site) {
	t.Helper()
	for _, site := range sites {
		failed, err := s.Apply(context.Background(), []webserver.Change{{Domain: site.Domain, Site: site}})
		if err != nil || len(failed) > 0 {
			t.Fatalf("apply %s: %v %v", site.Domain, err, failed)
		}
	}
}

// dial opens a TLS connection to the server with a deadline.
func dial(t testing.TB, s *Server, sni string, protocols ...string) *tls.Conn {
	t.Helper()
	c, err := tls.Dial("tcp", s.opt.HTTPS[0].Addr().String(),
		&tls.Config{InsecureSkipVerify: true, ServerName: sni, NextProtos: protocols})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestNew_FaultyOptions(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]Options{
		"port":           {PublicHTTPSPort: 65536},
		"negative port":  {PublicHTTPSPort: -1},
		"empty proxy":    {AllowProxy: []string{" "}},
		"URL for a host": {AllowProxy: []string{"https://host"}},
	} {
		if _, err := New(opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestRun_RequestInFlightEndsBeforeStop(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s, err := New(Options{
		HTTP: []net.Listener{listen(t, "127.0.0.1:0")},
		NodeHandler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			_, _ = io.WriteString(w, "finished")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if st := s.Status(); st.Running || st.Err == nil {
		t.Errorf("status before Run: %+v", st)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	answered := make(chan string, 1)
	address := s.opt.HTTP[0].Addr().String()
	go func() {
		c, err := net.Dial("tcp", address)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		b, err := io.ReadAll(c)
		answered <- fmt.Sprint(string(b), err)
	}()
	<-entered
	if st := s.Status(); !st.Running || st.Err != nil {
		t.Errorf("status while running: %+v", st)
	}
	cancel()
	waitFor(t, func() error {
		if st := s.Status(); st.Running {
			return fmt.Errorf("still running: %+v", st)
		}
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return errors.New("still accepts")
		}
		return nil
	})
	close(release)
	if got := <-answered; !strings.Contains(got, "finished") {
		t.Errorf("request in flight: %s", got)
	}
	if err := <-ran; err != nil {
		t.Errorf("run: %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := s.Run(context.Background()); err == nil {
		t.Error("ran again after Close")
	}
}

func TestRun_StuckRequestDoesNotHoldTheStop(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan struct{})
	s, err := New(Options{
		HTTP:            []net.Listener{listen(t, "127.0.0.1:0")},
		ShutdownTimeout: 50 * time.Millisecond,
		NodeHandler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-r.Context().Done()
			close(left)
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	c, err := net.Dial("tcp", s.opt.HTTP[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := s.Close(); err != nil { // ends Run as well
		t.Errorf("close: %v", err)
	}
	if err := <-ran; err != nil {
		t.Errorf("run: %v", err)
	}
	<-left
}

func TestRun_ListenerThatFailsIsReported(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	s, err := New(Options{HTTP: []net.Listener{l}, HTTPS: []net.Listener{listen(t, "127.0.0.1:0")}})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	waitFor(t, func() error { return s.Status().Err })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ran; err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("run: %v, want an error that names %s", err, l.Addr())
	}
	if st := s.Status(); st.Running || st.Err == nil {
		t.Errorf("status: %+v", st)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestClose_WithoutRun(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	s, err := New(Options{HTTPS: []net.Listener{l}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listener: %v, want that it is closed", err)
	}
	if err := s.Run(context.Background()); err == nil {
		t.Error("ran after Close")
	}
}

func TestHandshake_UnknownNameWithoutNodeCertificate(t *testing.T) {
	t.Parallel()
	for name, certificate := range map[string]func() *tls.Certificate{
		"no function": nil, "no certificate": func() *tls.Certificate { return nil },
	} {
		s := start(t, Options{NodeCertificate: certificate})
		_, err := tls.Dial("tcp", s.opt.HTTPS[0].Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: "unknown.test"})
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%s: %v, want the alert unrecognized_name", name, err)
		}
	}
}

func TestPanic_EndsOnlyItsRequest(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.ErrorLevel)
	s := start(t, Options{Log: zap.New(core), NodeHandler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/info" {
			panic("broken handler")
		}
		_, _ = io.WriteString(w, "well")
	})})
	get := func(path string) (*http.Response, error) {
		c, err := net.Dial("tcp", s.opt.HTTP[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
		return http.ReadResponse(bufio.NewReader(c), nil)
	}
	if res, err := get("/info"); err == nil {
		t.Errorf("the panic was answered with %s", res.Status)
	}
	if n := logs.FilterMessage("request ended by a panic").Len(); n != 1 {
		t.Errorf("%d log entries for the panic, want 1", n)
	}
	if res, err := get("/status"); err != nil || res.StatusCode != 200 {
		t.Errorf("afterwards: %v %v", res, err)
	}
}

// TestW43_IPv6: weakness W43 of the earlier program.
func TestW43_IPv6(t *testing.T) {
	t.Parallel()
	plain, secure := listen(t, "[::1]:0"), listen(t, "[::1]:0")
	s := start(t, Options{HTTP: []net.Listener{plain}, HTTPS: []net.Listener{secure}})
	apply(t, s, newSite(t, "six.test"))
	for _, row := range []struct {
		address, host, want string
	}{
		{plain.Addr().String(), "unknown.test", "404"},
		{plain.Addr().String(), "[::1]:8080", "404"},
		{plain.Addr().String(), "six.test", "301"},
	} {
		c, err := net.Dial("tcp", row.address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", row.host)
		b, err := io.ReadAll(c)
		_ = c.Close()
		if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 "+row.want) {
			t.Errorf("%s: %.40q %v, want %s", row.host, b, err, row.want)
		}
	}
	c := dial(t, s, "six.test")
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: six.test\r\nConnection: close\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200") {
		t.Errorf("HTTPS: %.40q %v", b, err)
	}
}

func TestRedirect_PortIsLeftOutIfUsual(t *testing.T) {
	t.Parallel()
	for port, want := range map[int]string{0: "https://p.test/x", 443: "https://p.test/x", 444: "https://p.test:444/x"} {
		s := start(t, Options{PublicHTTPSPort: port})
		apply(t, s, newSite(t, "p.test"))
		c, err := net.Dial("tcp", s.opt.HTTP[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET /x HTTP/1.1\r\nHost: p.test\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		_ = c.Close()
		if err != nil || res.Header.Get("Location") != want {
			t.Errorf("port %d: %v %v, want %s", port, res, err, want)
		}
	}
}

// waitFor waits until check returns nil.
func waitFor(t testing.TB, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if err = check(); err == nil {
			return
		}
		<-time.After(2 * time.Millisecond)
	}
	t.Fatalf("gave up waiting: %v", err)
}
