package programs

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between a client and a server, so that the line of one client alone can be cut, silenced and slowed.
type Proxy struct {
	target   string
	listener net.Listener
	done     sync.WaitGroup
	// passed counts the bytes that went in both directions.
	passed atomic.Int64

	mu       sync.Mutex
	line     line
	accepted int
	conns    map[*net.TCPConn]struct{}
	// changed is closed, and replaced, when the line changes.
	changed chan struct{}
	// after is how many bytes may still pass until a cut; 0 means that none is waiting.
	after int64
}

// line says what becomes of what is sent.
type line struct {
	// cut refuses connections; silent keeps them, and lets nothing through.
	cut, silent bool
	// delay is what each piece takes, one way; rate is how many bytes a second pass, any number if 0.
	delay time.Duration
	rate  int
}

// NewProxy returns a proxy of the server at host:port, which ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, listener: l, conns: map[*net.TCPConn]struct{}{}, changed: make(chan struct{})}
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
	l, _ := p.now()
	return l.cut
}

// Passed returns how many bytes went through, in both directions.
func (p *Proxy) Passed() int64 { return p.passed.Load() }

// count counts bytes on their way.
func (p *Proxy) count(n int) {
	p.passed.Add(int64(n))
	p.mu.Lock()
	reached := p.after > 0 && p.after <= int64(n)
	p.after = max(p.after-int64(n), 0)
	p.mu.Unlock()
	if reached {
		p.Cut()
	}
}

// set changes the line. If drop is set, the connections that there are end; with reset they end in the middle of
// what is sent, as the receiver sees too.
func (p *Proxy) set(l line, drop, reset bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = l
	close(p.changed)
	p.changed = make(chan struct{})
	if !drop {
		return
	}
	for c := range p.conns {
		if reset {
			// Nothing lingers: the other side gets a reset.
			_ = c.SetLinger(0)
		}
		c.Close()
	}
}

func (p *Proxy) now() (line, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line, p.changed
}

// Cut closes all connections, and new ones at once, until Mend.
func (p *Proxy) Cut() { p.set(line{cut: true}, true, false) }

// Reset is Cut with a reset of each connection.
func (p *Proxy) Reset() { p.set(line{cut: true}, true, true) }

// Silence keeps all connections, and new ones too, and lets nothing through until Mend: what a firewall does that drops
// packets. What was sent meanwhile arrives after Mend.
func (p *Proxy) Silence() { p.set(line{silent: true}, false, false) }

// Slow makes each way take so long, and lets so many bytes a second through each connection (any number if 0), until
// Mend.
func (p *Proxy) Slow(delay time.Duration, rate int) {
	p.set(line{delay: delay, rate: rate}, false, false)
}

// Drop closes the connections that there are now.
func (p *Proxy) Drop() {
	l, _ := p.now()
	p.set(l, true, false)
}

// Mend ends what Cut, Reset, Silence or Slow began.
func (p *Proxy) Mend() { p.set(line{}, false, false) }

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.accepted++
		p.mu.Unlock()
		p.done.Go(func() { p.serve(in.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(in *net.TCPConn) {
	defer in.Close()
	conn, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	out := conn.(*net.TCPConn)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer p.release(in, out)
	if !p.hold(in, out) {
		return
	}
	end := func() {
		cancel()
		in.Close()
		out.Close()
	}
	var both sync.WaitGroup
	both.Go(func() { p.pipe(ctx, end, in, out) })
	p.pipe(ctx, end, out, in)
	both.Wait()
}

// piece is what was read at once, and when it shall arrive.
type piece struct {
	data []byte
	due  time.Time
}

// pipe copies until either side ends, and then ends both. Reading goes on while what was read is held up, so that a
// long line carries as much as a short one.
func (p *Proxy) pipe(ctx context.Context, end func(), to, from net.Conn) {
	defer end()
	pieces := make(chan piece, 64)
	var writer sync.WaitGroup
	defer writer.Wait()
	defer close(pieces)
	writer.Go(func() {
		defer end()
		for one := range pieces {
			if !p.pass(ctx, one) {
				return
			}
			if _, err := to.Write(one.data); err != nil {
				return
			}
		}
	})
	for {
		buffer := make([]byte, 32<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			p.count(n)
			l, _ := p.now()
			select {
			case pieces <- piece{buffer[:n], time.Now().Add(l.delay)}:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until the piece may go on. It is false if the connection ends first.
func (p *Proxy) pass(ctx context.Context, one piece) bool {
	for {
		l, changed := p.now()
		wait := time.Until(one.due)
		if l.rate > 0 {
			wait += time.Duration(len(one.data)) * time.Second / time.Duration(l.rate)
		}
		var over <-chan time.Time
		if !l.silent {
			timer := time.NewTimer(max(wait, 0))
			defer timer.Stop()
			over = timer.C
		}
		select {
		case <-over:
			return true
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// Accepted returns how many connections clients made so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

func (p *Proxy) hold(conns ...*net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return !p.line.cut
}

func (p *Proxy) release(conns ...*net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}
