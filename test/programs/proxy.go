package programs

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between a client and a server, so that the connections of one client alone can be cut, or be slow.
type Proxy struct {
	target   string
	listener net.Listener
	done     sync.WaitGroup
	// passed counts the bytes that went in both directions.
	passed atomic.Int64

	mu  sync.Mutex
	cut bool
	// after is how many bytes may still pass until a cut; 0 means that none is waiting.
	after int64
	conns map[net.Conn]struct{}
}

// NewProxy returns a proxy of the server at host:port, which ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, listener: l, conns: map[net.Conn]struct{}{}}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.Cut()
		p.done.Wait()
	})
	return p
}

// Endpoint returns the proxy's URL.
func (p *Proxy) Endpoint() string { return "http://" + p.Address() }

// Address returns the proxy's host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// CutAfter has the proxy [Proxy.Cut] itself when this many further bytes have passed.
func (p *Proxy) CutAfter(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after = bytes
}

// IsCut tells whether the connections are cut.
func (p *Proxy) IsCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// Passed returns how many bytes went through, in both directions.
func (p *Proxy) Passed() int64 { return p.passed.Load() }

// pass counts bytes on their way.
func (p *Proxy) pass(n int) {
	p.passed.Add(int64(n))
	p.mu.Lock()
	if p.after == 0 {
		p.mu.Unlock()
		return
	}
	p.after -= int64(n)
	reached := p.after <= 0
	p.after = max(p.after, 0)
	p.mu.Unlock()
	if reached {
		p.Cut()
	}
}

// counted counts what is read.
type counted struct {
	net.Conn
	p *Proxy
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.p.pass(n)
	return n, err
}

// Cut closes all connections, and new ones at once, until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		c.Close()
	}
}

// Drop closes the connections that there are now.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Mend ends what Cut began.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(in) })
	}
}

func (p *Proxy) serve(in net.Conn) {
	defer in.Close()
	out, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	if !p.hold(in, out) {
		return
	}
	defer p.release(in, out)
	var both sync.WaitGroup
	both.Go(func() { pipe(in, counted{out, p}) })
	pipe(out, counted{in, p})
	both.Wait()
}

// pipe copies until either side ends, and then ends both.
func pipe(to, from net.Conn) {
	// Why it ended does not matter to who copies.
	_, _ = io.Copy(to, from)
	to.Close()
	from.Close()
}

func (p *Proxy) hold(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return !p.cut
}

func (p *Proxy) release(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}
