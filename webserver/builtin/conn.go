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
	// ending: the deadline that was set last is to end the connection or to bound its handshake.
	ending atomic.Bool
}

func (c *stallConn) Write(p []byte) (int, error) {
	if !c.ending.Load() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
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

// note judges a deadline at the time when it is set. A distant one is that of the whole response, from
// http.Server.WriteTimeout, which progress moves on.
func (c *stallConn) note(t time.Time) {
	c.ending.Store(!t.IsZero() && time.Until(t) < c.stall/2)
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
