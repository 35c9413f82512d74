package builtin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"statiko/bundle"
)

// proxySite applies a site that passes everything on to a URL.
func proxySite(t *testing.T, s *Server, to string) {
	t.Helper()
	m, err := bundle.ParseManifest("m", []byte(fmt.Sprintf("rules: [{prefix: /, options: {proxy: %q}}]", to)))
	if err != nil {
		t.Fatal(err)
	}
	site := stage(t, newSite(t, "p.test"), map[string]string{"index.html": "not this"})
	site.Manifest = m
	apply(t, s, site)
}

func TestProxy_NameOfALocalAddressIsRefused(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "reached") }))
	t.Cleanup(backend.Close)
	_, port, err := net.SplitHostPort(backend.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, allow, to string
		want            int
	}{
		{"address that is allowed", "127.0.0.1", "http://127.0.0.1:" + port, 200},
		{"address and port that are allowed", "127.0.0.1:" + port, "http://127.0.0.1:" + port, 200},
		{"localhost that is allowed", "localhost", "http://localhost:" + port, 200},
		{"nothing allowed", "", "http://127.0.0.1:" + port, 502},
		{"another port", "127.0.0.1:1", "http://127.0.0.1:" + port, 502},
		{"another name", "example.test", "http://localhost:" + port, 502},
		// With its final dot it is looked up like any other name, and is one that resolves to a loopback address.
		{"name of a loopback address", "localhost.", "http://localhost.:" + port, 502},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			opt := Options{}
			if row.allow != "" {
				opt.AllowProxy = []string{row.allow}
			}
			s := start(t, opt)
			proxySite(t, s, row.to)
			c := dial(t, s, "p.test")
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: p.test\r\nConnection: close\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || res.StatusCode != row.want {
				t.Errorf("%v %v, want %d", res, err, row.want)
			}
		})
	}
}

func TestLocalAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "0.0.0.0": true, "0.1.2.3": true, "::": true,
		"169.254.169.254": true, "fe80::1": true, "224.0.0.1": true, "ff02::1": true, "255.255.255.255": true,
		"64:ff9b::7f00:1": true, "64:ff9b::a9fe:a9fe": true,
		"10.0.0.1": false, "192.168.1.1": false, "93.184.216.34": false, "2001:db8::1": false, "64:ff9b::5db8:d822": false, "fd00::1": false,
	} {
		if got := localAddress(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestProxy_SilentBackend(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	done := make(chan struct{})
	go func() { // accepts and says nothing
		defer close(done)
		var all []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			all = append(all, c)
		}
		for _, c := range all {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	s := start(t, Options{AllowProxy: []string{"127.0.0.1"}, Timeouts: Timeouts{Stall: 200 * time.Millisecond}})
	proxySite(t, s, "http://"+l.Addr().String())
	c := dial(t, s, "p.test")
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: p.test\r\nConnection: close\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("silent: %v %v, want 504", res, err)
	}
	proxySite(t, s, "http://127.0.0.1:1")
	c = dial(t, s, "p.test")
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: p.test\r\nConnection: close\r\n\r\n")
	res, err = http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusBadGateway {
		t.Errorf("not there: %v %v, want 502", res, err)
	}
}

// TestProxy_ConnectionIsUsedAgainAfterAPause: the deadline of a silent connection must not hit the next request.
func TestProxy_ConnectionIsUsedAgainAfterAPause(t *testing.T) {
	t.Parallel()
	const stall = 1200 * time.Millisecond
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-time.After(stall / 2)
		}
		_, _ = io.WriteString(w, "fine")
	}))
	t.Cleanup(backend.Close)
	s := start(t, Options{AllowProxy: []string{"127.0.0.1"}, Timeouts: Timeouts{Stall: stall}})
	proxySite(t, s, backend.URL)
	c := dial(t, s, "p.test")
	in := bufio.NewReader(c)
	for _, path := range []string{"/", "/slow"} {
		_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: p.test\r\n\r\n", path)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "fine" {
			t.Errorf("%s: %s %q %v", path, res.Status, b, err)
		}
		<-time.After(stall * 3 / 4)
	}
}

func TestProxy_BodyThatStallsIsNotWaitedForForever(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, err)
	}))
	t.Cleanup(backend.Close)
	s := start(t, Options{AllowProxy: []string{"127.0.0.1"}, Timeouts: Timeouts{Stall: 200 * time.Millisecond}})
	proxySite(t, s, backend.URL)
	c := dial(t, s, "p.test")
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: p.test\r\nContent-Length: 100\r\n\r\npart")
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection was kept")
	}
}

func TestProxy_WebSocket(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		line, err := rw.ReadString('\n')
		_, _ = fmt.Fprintf(rw, "echo %s %v", line, err)
		_ = rw.Flush()
	}))
	t.Cleanup(backend.Close)
	s := start(t, Options{AllowProxy: []string{"127.0.0.1"}})
	proxySite(t, s, backend.URL)
	c := dial(t, s, "p.test")
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: p.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v, want 101", res, err)
	}
	_, _ = io.WriteString(c, "hello\n")
	if b, err := io.ReadAll(in); err != nil || !strings.HasPrefix(string(b), "echo hello") {
		t.Errorf("%q %v", b, err)
	}
}

func TestDial_HostThatIsNotAllowed(t *testing.T) {
	t.Parallel()
	p, err := newProxies(Options{AllowProxy: []string{"a.test:80"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"b.test:80", "a.test:81", "127.0.0.1:80", "a.test"} {
		if c, err := p.dialContext(context.Background(), "tcp", address); err == nil {
			_ = c.Close()
			t.Errorf("%s was reached", address)
		}
	}
}
