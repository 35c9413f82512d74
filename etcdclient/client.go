package etcdclient

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Options say how etcd is reached. Only Endpoints is required.
type Options struct {
	// Endpoints are client URLs, http:// or https://, of any members; without a scheme http is meant.
	Endpoints []string
	// Timeout bounds one request; 0 means 10 seconds.
	Timeout time.Duration
	// CA is a PEM file with the authorities that sign etcd's certificates; "" means the system's.
	CA string
	// ClientCertificate and ClientKey are PEM files of what this client shows; both or none. All files are read
	// again for each connection, so that renewed certificates need no restart.
	ClientCertificate, ClientKey string
	// SkipVerify accepts any certificate of etcd.
	SkipVerify bool
	// Username and Password are for etcd's own authentication; "" for none.
	Username, Password string
	// Log may be nil.
	Log *zap.Logger
}

// Times of gRPC's keepalive: a member that hangs is worse than one that is gone, as nothing else notices it. gRPC takes no
// shorter time than this. etcd takes keepalives on a connection that has no stream for abuse, and closes it; there the first
// is sent with the next request.
const (
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 3 * time.Second
	// reconnectMax bounds the pause between attempts to connect, so that changes work soon after etcd is back.
	reconnectMax = 400 * time.Millisecond
)

// Bounds of a request and an answer, in bytes: etcd takes 1.5 MiB by default, its answers are paged.
const (
	maxSend    = 8 << 20
	maxReceive = 256 << 20
)

// Client is a connection to etcd. It is safe for concurrent use.
type Client struct {
	options Options
	config  clientv3.Config
	// connections is what Connections returns.
	connections atomic.Int64

	mu     sync.Mutex
	etcd   *clientv3.Client
	closed bool
}

// Open returns a client. It fails only for options that can never work; whether etcd is there shows when it is used.
func Open(o Options) (*Client, error) {
	c := &Client{options: o.withDefaults()}
	var err error
	if c.config, err = c.options.config(c.options.Endpoints); err != nil {
		return nil, err
	}
	c.config.DialOptions = append(c.config.DialOptions, grpc.WithContextDialer(c.dial))
	return c, nil
}

// Etcd returns etcd's own client. Without authentication it does not touch the network; with it, the first call
// that succeeds has logged in.
func (c *Client) Etcd() (*clientv3.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, errors.New("the connection to etcd is closed")
	case c.etcd != nil:
		return c.etcd, nil
	}
	etcd, err := clientv3.New(c.config)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", Plain(err))
	}
	c.etcd = etcd
	return etcd, nil
}

// Close ends the connection. It is idempotent.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.etcd == nil {
		return nil
	}
	etcd := c.etcd
	c.etcd = nil
	if err := etcd.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.Endpoints = slices.Clone(o.Endpoints)
	for i, e := range o.Endpoints {
		if !strings.Contains(e, "://") {
			o.Endpoints[i] = "http://" + e
		}
	}
	return o
}

// Timeout returns the bound of one request.
func (c *Client) Timeout() time.Duration { return c.options.Timeout }

// config makes etcd's own configuration.
func (o Options) config(endpoints []string) (clientv3.Config, error) {
	if len(endpoints) == 0 {
		return clientv3.Config{}, errors.New("no address of etcd is given")
	}
	secure := 0
	for _, e := range endpoints {
		scheme, _, _ := strings.Cut(e, "://")
		switch scheme {
		case "http":
		case "https":
			secure++
		default:
			return clientv3.Config{}, fmt.Errorf("the address %q of etcd begins with neither http:// nor https://", e)
		}
	}
	config := clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second,
		DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout, PermitWithoutStream: false,
		MaxCallSendMsgSize: maxSend, MaxCallRecvMsgSize: maxReceive,
		Username: o.Username, Password: o.Password,
		// etcd's client reports every failed attempt; what matters is reported by whoever uses it.
		Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectMax},
			MinConnectTimeout: 3 * time.Second,
		})},
	}
	if secure > 0 || o.CA != "" || o.SkipVerify || o.ClientCertificate != "" {
		if secure != len(endpoints) {
			return clientv3.Config{}, errors.New("the addresses of etcd mix http:// and https://, or TLS is configured for http://; use one of them")
		}
		// Faults of the files are found now.
		if _, err := o.tlsConfig(); err != nil {
			return clientv3.Config{}, err
		}
		config.DialOptions = append(config.DialOptions, grpc.WithTransportCredentials(fileCredentials{o}))
	}
	return config, nil
}
