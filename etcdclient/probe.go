package etcdclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// probeTimeout bounds the probing of one endpoint.
const probeTimeout = 5 * time.Second

// Probe asks each endpoint by itself whether it answers, as part of a cluster that has a leader, and returns why not
// for those that do not, by endpoint.
func Probe(ctx context.Context, o Options) map[string]error {
	o = o.withDefaults()
	failed := map[string]error{}
	var mu sync.Mutex
	var probes sync.WaitGroup
	for _, e := range o.Endpoints {
		probes.Go(func() {
			if err := probe(ctx, o, e); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[e] = err
			}
		})
	}
	probes.Wait()
	return failed
}

func probe(ctx context.Context, o Options, endpoint string) error {
	config, err := o.config([]string{endpoint})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, min(o.Timeout, probeTimeout))
	defer cancel()
	config.Context = ctx
	c, err := clientv3.New(config)
	if err == nil {
		defer c.Close()
		_, err = c.Get(ctx, "statiko-probe", clientv3.WithCountOnly())
	}
	switch {
	case err == nil, errors.Is(err, rpctypes.ErrPermissionDenied):
		// It answers. What a user may do on which keys is not asked here.
		return nil
	case errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthNotEnabled):
		return Plain(err)
	}
	return o.explain(ctx, endpoint, err)
}

// explain finds the cause of a failed request: gRPC says no more than that the connection failed, so one is made by
// hand.
func (o Options) explain(ctx context.Context, endpoint string, err error) error {
	u, parseErr := url.Parse(endpoint)
	if parseErr != nil {
		return Plain(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepAliveTimeout)
	defer cancel()
	conn, dialErr := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if dialErr != nil {
		return dialErr
	}
	defer conn.Close()
	if u.Scheme == "https" {
		if err := o.tryHandshake(ctx, conn, u.Hostname()); err != nil {
			return err
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "context deadline exceeded") {
		also := ""
		if u.Scheme == "http" {
			also = ", or speaks https"
		}
		return fmt.Errorf("it accepts connections and does not answer: it hangs, or has no leader, as too few members of its cluster are up%s", also)
	}
	return Plain(err)
}

func (o Options) tryHandshake(ctx context.Context, conn net.Conn, host string) error {
	config, err := o.tlsConfig()
	if err != nil {
		return err
	}
	config.ServerName = host
	config.NextProtos = []string{"h2"}
	client := tls.Client(conn, config)
	err = client.HandshakeContext(ctx)
	var noTLS tls.RecordHeaderError
	switch {
	case errors.Is(err, io.EOF), errors.As(err, &noTLS):
		return fmt.Errorf("it does not speak TLS (%w): perhaps its address begins with http://", err)
	case err != nil:
		return err
	}
	// With TLS 1.3, a server says that it refuses the client's certificate after the handshake.
	if err := client.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := client.Read(make([]byte, 1)); err != nil && strings.Contains(err.Error(), "tls:") {
		return fmt.Errorf("etcd refuses the connection, probably for the client certificate: %w", err)
	}
	return nil
}
