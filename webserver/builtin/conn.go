package builtin

import (
	"net"
	"sync/atomic"
	"time"
)

// stallConn is a connection on which each write has a deadline of its own, so that a client that stops reading
// loses its connection, and one that reads slowly does not. TLS writes at most 16 KiB at a time.
type stallConn struct {
	net.Conn
	stall time.Duration
	// own is the last deadline that was set on the connection, in nanoseconds since 1970; 0 means none.
	own atomic.Int64
}

// Write keeps a deadline that is near: it was set to end the connection or to bound the handshake. A distant one
// is that of the whole response, which progress moves on.
func (c *stallConn) Write(p []byte) (int, error) {
	now := time.Now()
	if own := c.own.Load(); own == 0 || own > now.Add(c.stall/2).UnixNano() {
		if err := c.Conn.SetWriteDeadline(now.Add(c.stall)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

func (c *stallConn) SetWriteDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetWriteDeadline(t)
}

func (c *stallConn) SetDeadline(t time.Time) error {
	c.note(t)
	return c.Conn.SetDeadline(t)
}

func (c *stallConn) note(t time.Time) {
	if t.IsZero() {
		c.own.Store(0)
		return
	}
	c.own.Store(max(t.UnixNano(), 1))
}

// CloseWrite lets net/http end a connection in the order that does not lose the last response.
func (c *stallConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

type stallListener struct {
	net.Listener
	stall time.Duration
}

func (l stallListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &stallConn{Conn: c, stall: l.stall}, nil
}

func (s *Server) watched(l net.Listener) net.Listener {
	return stallListener{Listener: l, stall: s.opt.Timeouts.Stall}
}
