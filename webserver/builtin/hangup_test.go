package builtin

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
)

// A server that is drained answers what it is asked, and then closes the connection: at once over HTTP/1.1, with a
// GOAWAY over HTTP/2, so that clients lose no request.
func TestHangUp_ConnectionsEndAfterTheAnswer(t *testing.T) {
	t.Parallel()
	var drained atomic.Bool
	s := start(t, Options{HangUp: drained.Load})
	apply(t, s, newSite(t, "a.test"))

	c := dial(t, s, "a.test", "http/1.1")
	r := bufio.NewReader(c)
	for i := range 3 {
		drained.Store(i == 2)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 || res.Close != (i == 2) {
			t.Errorf("answer %d: %s, closes: %t, %v", i, res.Status, res.Close, err)
		}
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the answer: %v", err)
	}

	drained.Store(false)
	var dialled atomic.Int64
	tr := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"}}
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	defer tr.CloseIdleConnections()
	for i := range 5 {
		drained.Store(i == 2)
		req, err := http.NewRequest(http.MethodGet, "https://"+s.opt.HTTPS[0].Addr().String()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "a.test"
		res, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != 200 || res.ProtoMajor != 2 || len(body) == 0 {
			t.Errorf("answer %d over HTTP/%d: %s, %v", i, res.ProtoMajor, res.Status, err)
		}
	}
	if n := dialled.Load(); n != 2 {
		t.Errorf("%d connections, want one before it was drained and one after", n)
	}
}
