package etcdclient

import (
	"context"
	"net"
	"sync/atomic"
)

// dial makes a connection that is counted once the other side has said something: a member that hangs accepts
// connections too, again and again, and nobody follows a watch on those.
func (c *Client) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn, count: &c.connections}, nil
}

// countedConn counts itself before it returns the first bytes.
type countedConn struct {
	net.Conn
	count *atomic.Int64
	seen  atomic.Bool
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.seen.Load() && !c.seen.Swap(true) {
		c.count.Add(1)
	}
	return n, err
}

// Connections returns how often a connection was made that answered. Behind a new connection may be another etcd, or
// the same one with an older copy of its data, and etcd's client resumes watches there without a word: whoever follows
// a watch compares this number before believing what comes.
func (c *Client) Connections() int64 { return c.connections.Load() }
