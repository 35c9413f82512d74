package etcdclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
)

// tlsConfig reads all files as they are now.
func (o Options) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.SkipVerify} // asked for by the configuration
	if o.CA != "" {
		data, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("the certificate authority of etcd: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("the certificate authority of etcd: %s has no certificate in PEM", o.CA)
		}
	}
	if (o.ClientCertificate == "") != (o.ClientKey == "") {
		return nil, errors.New("the client certificate for etcd needs both its files, certificate and key")
	}
	if o.ClientCertificate != "" {
		pair, err := tls.LoadX509KeyPair(o.ClientCertificate, o.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("the client certificate for etcd: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// fileCredentials are gRPC's for TLS with files that may change: each handshake uses them as they are then. (etcd's
// own client reads the client's certificate anew, but fixes the authorities for its life.)
type fileCredentials struct{ options Options }

// ClientHandshake is [credentials.TransportCredentials]'s.
func (c fileCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := c.options.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

// ServerHandshake is there for the interface.
func (c fileCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a client's")
}

// Info is [credentials.TransportCredentials]'s.
func (c fileCredentials) Info() credentials.ProtocolInfo {
	return credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12}).Info()
}

// Clone is [credentials.TransportCredentials]'s.
func (c fileCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName is there for the interface; gRPC has another way.
func (c fileCredentials) OverrideServerName(string) error {
	return errors.New("the name of the server is that of its address")
}
