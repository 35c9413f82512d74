package builtin

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// countingListener counts the writes on its connections.
type countingListener struct {
	net.Listener
	writes *atomic.Int64
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return countingConn{c, l.writes}, nil
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestHeldBack_IsAlwaysSent: an answer that stayed behind would let its client wait for ever.
func TestHeldBack_IsAlwaysSent(t *testing.T) {
	t.Parallel()
	var writes atomic.Int64
	s := start(t, Options{HTTPS: []net.Listener{countingListener{listen(t, "127.0.0.1:0"), &writes}}})
	files := map[string]string{}
	sizes := []int{0, 1, 1000, 2900, 3 << 10, 4000, 4096, 10_000, 16 << 10, maxHeldBody - 1, maxHeldBody, maxHeldBody + 1, 32 << 10, 60_000, 100_000}
	for _, n := range sizes {
		files[fmt.Sprintf("%d.txt", n)] = strings.Repeat("x", n)
	}
	apply(t, s, stage(t, newSite(t, "h.test"), files))
	check := func(in *bufio.Reader, n int, how string) {
		t.Helper()
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s, %d bytes: %v", how, n, err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || len(b) != n {
			t.Fatalf("%s, %d bytes: got %d, %v", how, n, len(b), err)
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		connect := func() net.Conn {
			c, err := tls.Dial("tcp", s.opt.HTTPS[0].Addr().String(), &tls.Config{InsecureSkipVerify: true, ServerName: "h.test", MaxVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			return c
		}
		kept := connect()
		in := bufio.NewReader(kept)
		var pipelined strings.Builder
		for _, n := range sizes {
			request := fmt.Sprintf("GET /%d.txt HTTP/1.1\r\nHost: h.test\r\n", n)
			pipelined.WriteString(request + "\r\n")
			_, _ = io.WriteString(kept, request+"\r\n")
			check(in, n, "kept connection")
			for _, end := range []string{"Connection: close\r\n\r\n", "Content-Length: 5\r\n\r\n"} {
				once := connect()
				_, _ = io.WriteString(once, request+end)
				check(bufio.NewReader(once), n, strings.TrimSpace(end))
				_ = once.Close()
			}
			old := connect()
			_, _ = fmt.Fprintf(old, "GET /%d.txt HTTP/1.0\r\nHost: h.test\r\n\r\n", n)
			check(bufio.NewReader(old), n, "HTTP/1.0")
			_ = old.Close()
		}
		_, _ = io.WriteString(kept, pipelined.String())
		for _, n := range sizes {
			check(in, n, "pipelined")
		}
		before := writes.Load()
		for range 100 {
			_, _ = io.WriteString(kept, "GET /10000.txt HTTP/1.1\r\nHost: h.test\r\n\r\n")
			check(in, 10_000, "again")
		}
		if did := writes.Load() - before; did > 180 {
			t.Errorf("100 answers of 10 kB took %d writes, want about one each", did)
		}
		_ = kept.Close()
	}
}
