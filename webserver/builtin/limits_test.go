package builtin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const hugeBody = 64 << 20

func hugeSite(t *testing.T, s *Server) {
	t.Helper()
	site := stage(t, newSite(t, "huge.test"), map[string]string{"huge.bin": "", "small.txt": "small"})
	if err := os.Truncate(site.Root+"/files/huge.bin", hugeBody); err != nil {
		t.Fatal(err)
	}
	apply(t, s, site)
}

func TestSlowPeer_ThatStopsReadingLosesItsConnection(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timeouts: Timeouts{Stall: 200 * time.Millisecond}})
	hugeSite(t, s)
	c := dial(t, s, "huge.test")
	_, _ = io.WriteString(c, "GET /huge.bin HTTP/1.1\r\nHost: huge.test\r\n\r\n")
	first := make([]byte, 1000)
	if _, err := io.ReadFull(c, first); err != nil {
		t.Fatal(err)
	}
	// Not reading for much longer than the limit; what was sent already can still be read, then it ends.
	<-time.After(2 * time.Second)
	n, err := io.Copy(io.Discard, c)
	if n >= hugeBody-1000 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes more, error %v: the connection was kept", n, err)
	}
}

func TestSlowPeer_ThatReadsOnIsNotCut(t *testing.T) {
	t.Parallel()
	const stall = 1200 * time.Millisecond // above what a busy machine may make of a moment
	s := start(t, Options{Timeouts: Timeouts{Stall: stall}})
	hugeSite(t, s)
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			transport := &http.Transport{
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					c, err := new(net.Dialer).DialContext(ctx, network, s.opt.HTTPS[0].Addr().String())
					if err == nil {
						err = c.(*net.TCPConn).SetReadBuffer(64 << 10)
					}
					return c, err
				},
				TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
				ForceAttemptHTTP2: protocol == "h2",
			}
			res, err := (&http.Client{Transport: transport}).Get("https://huge.test/huge.bin")
			if err != nil {
				t.Fatal(err)
			}
			began, got := time.Now(), int64(0)
			for time.Since(began) < 2*stall { // slowly, for longer than the limit
				n, err := io.CopyN(io.Discard, res.Body, 1<<20)
				got += n
				if err != nil {
					t.Fatalf("%s: after %d bytes: %v", protocol, got, err)
				}
				<-time.After(stall / 10)
			}
			n, err := io.Copy(io.Discard, res.Body)
			if got += n; err != nil || got != hugeBody {
				t.Errorf("%s: %d bytes of %d: %v", protocol, got, hugeBody, err)
			}
			_ = res.Body.Close()
			transport.CloseIdleConnections()
		})
	}
}

// TestSlowPeer_HTTP2StreamThatIsNeverRead: a client that grants no window holds its connection by pings.
func TestSlowPeer_HTTP2StreamThatIsNeverRead(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timeouts: Timeouts{Stall: 200 * time.Millisecond}})
	hugeSite(t, s)
	c := dial(t, s, "huge.test", "h2")
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "huge.test"}, {Name: ":path", Value: "/small.txt"}} {
		if err := enc.WriteField(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("waiting for the end of the stream: %v", err)
		}
		if frame.Header().Type == http2.FrameRSTStream && frame.Header().StreamID == 1 {
			return
		}
	}
}

func TestSlowPeer_HeaderThatNeverEnds(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timeouts: Timeouts{ReadHeader: 150 * time.Millisecond, Idle: 100 * time.Millisecond}})
	apply(t, s, newSite(t, "h.test"))
	plain, err := net.Dial("tcp", s.opt.HTTP[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	handshake, err := net.Dial("tcp", s.opt.HTTPS[0].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer handshake.Close()
	idle := dial(t, s, "h.test")
	_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: h.test\r\n\r\n")
	_, _ = io.WriteString(plain, "GET / HTTP/1.1\r\nHost: h.te")
	for name, c := range map[string]net.Conn{"header": plain, "handshake": handshake, "idle connection": idle} {
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection was kept", name)
		}
	}
}

func TestHeader_TooLarge(t *testing.T) {
	t.Parallel()
	s := start(t, Options{MaxHeaderBytes: 8 << 10})
	apply(t, s, newSite(t, "h.test"))
	c := dial(t, s, "h.test")
	_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: h.test\r\nX-Large: %s\r\n\r\n", strings.Repeat("x", 20<<10))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%v %v, want 431", res, err)
	}
}

// TestBody_IsNotWaitedFor: the client announces a body that it never sends.
func TestBody_IsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	apply(t, s, stage(t, newSite(t, "b.test", "www.b.test"), map[string]string{"index.html": "answer"}))
	for _, row := range []struct {
		method, host, header string
		want                 int
	}{
		{"GET", "b.test", "Content-Length: 100", 200},
		{"GET", "b.test", "Transfer-Encoding: chunked", 200},
		{"POST", "b.test", "Content-Length: 1000000000", 405},
		{"POST", "b.test", "Content-Length: 100\r\nExpect: 100-continue", 405},
		{"GET", "www.b.test", "Content-Length: 100", 301},
		{"GET", "unknown.test", "Content-Length: 100", 421},
	} {
		t.Run(row.method+" "+row.host+" "+row.header, func(t *testing.T) {
			t.Parallel()
			c := dial(t, s, "b.test")
			_, _ = fmt.Fprintf(c, "%s / HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", row.method, row.host, row.header)
			began := time.Now()
			in := bufio.NewReader(c)
			res, err := http.ReadResponse(in, nil)
			if err != nil || res.StatusCode != row.want {
				t.Fatalf("%v %v, want %d", res, err, row.want)
			}
			if took := time.Since(began); took > bodyDrain/2 {
				t.Errorf("answered after %v", took)
			}
			if row.method != "GET" || row.host != "b.test" {
				return // that the connection ends as well is seen on the others
			}
			if _, err := io.Copy(io.Discard, in); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection was kept")
			}
		})
	}
}

// TestFile_ThatChangedIsNotServed: a bundle never changes once it is staged; if somebody does it all the same,
// an answer must not be half of one and half of the other.
func TestFile_ThatChangedIsNotServed(t *testing.T) {
	t.Parallel()
	s := start(t, Options{})
	large := strings.Repeat("x", maxCachedBody+1)
	site := stage(t, newSite(t, "c.test"), map[string]string{"large.txt": large})
	apply(t, s, site)
	get := func() int {
		c := dial(t, s, "c.test")
		_, _ = io.WriteString(c, "GET /large.txt HTTP/1.1\r\nHost: c.test\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("body: %v", err)
		}
		return res.StatusCode
	}
	if got := get(); got != 200 {
		t.Fatalf("before: %d", got)
	}
	if err := os.WriteFile(site.Root+"/files/large.txt", []byte("shorter"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := get(); got != 500 {
		t.Errorf("changed: %d, want 500", got)
	}
	if err := os.Remove(site.Root + "/files/large.txt"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", site.Root+"/files/link"); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s, "c.test")
	_, _ = io.WriteString(c, "GET /link HTTP/1.1\r\nHost: c.test\r\nConnection: close\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 404") {
		t.Errorf("link: %.100q %v", b, err)
	}
}
