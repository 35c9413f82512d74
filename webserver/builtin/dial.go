package builtin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"statiko/bundle"
)

// proxies is what all proxied requests share: connections and buffers. It implements httputil.BufferPool.
type proxies struct {
	transport *http.Transport
	allow     []string
	stall     time.Duration
	dial      time.Duration
	buffers   sync.Pool
}

func newProxies(opt Options) (*proxies, error) {
	for _, entry := range opt.AllowProxy {
		if strings.TrimSpace(entry) == "" || strings.Contains(entry, "/") {
			return nil, fmt.Errorf("allowed proxy host %q: not a host or host:port", entry)
		}
	}
	p := &proxies{allow: opt.AllowProxy, stall: opt.Timeouts.Stall, dial: opt.Timeouts.ProxyDial}
	p.transport = &http.Transport{
		Proxy:                  nil, // a proxy from the environment would evade the check of addresses
		DialContext:            p.dialContext,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what the client accepts decides
		TLSHandshakeTimeout:    opt.Timeouts.ProxyDial,
		ResponseHeaderTimeout:  opt.Timeouts.Stall,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        opt.Timeouts.Idle,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    32,
		MaxResponseHeaderBytes: 256 << 10,
	}
	return p, nil
}

func (p *proxies) close() { p.transport.CloseIdleConnections() }

// Get and Put implement httputil.BufferPool.
func (p *proxies) Get() []byte {
	if b, ok := p.buffers.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *proxies) Put(b []byte) { p.buffers.Put(&b) }

// dialContext resolves at the time of the request. It refuses addresses that only this machine or its network
// segment can reach, as other services trust them (etcd may be one), unless the administrator allowed exactly
// this address or localhost. The check is on the address itself, so that a name which changes between looking
// it up and connecting gains nothing.
func (p *proxies) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	// https makes ProxyAllowed assume nothing: the port is always in the address.
	if !bundle.ProxyAllowed(&url.URL{Scheme: "https", Host: address}, p.allow) {
		return nil, fmt.Errorf("host %s is not allowed", address)
	}
	d := net.Dialer{Timeout: p.dial}
	if _, err := netip.ParseAddr(host); err != nil && !strings.EqualFold(host, "localhost") {
		d.ControlContext = refuseLocal
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &bothStallConn{Conn: c, stall: p.stall}, nil
}

// refuseLocal is called with the resolved address before each connection attempt.
func refuseLocal(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if localAddress(ap.Addr()) {
		return fmt.Errorf("resolves to %s, which must be allowed by address", ap.Addr())
	}
	return nil
}

// localAddress tells whether an address is one of this machine or of its network segment.
func localAddress(a netip.Addr) bool {
	a = a.Unmap()
	if b := a.As16(); a.Is6() && netip.MustParsePrefix("64:ff9b::/96").Contains(a) { // NAT64, RFC 6052
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	return a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() ||
		netip.MustParsePrefix("0.0.0.0/8").Contains(a) || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// bothStallConn is a connection to a proxied host that fails if it is silent for too long.
type bothStallConn struct {
	net.Conn
	stall time.Duration
}

func (c *bothStallConn) Read(p []byte) (int, error) {
	if err := c.Conn.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write also moves the deadline of a read that waits already, since before the request.
func (c *bothStallConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
